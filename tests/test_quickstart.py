"""The notebook docs/quickstart.ipynb."""
import json
import re
import shutil

import pytest

from .helpers import ROOT

NOTEBOOK = ROOT / 'docs/quickstart.ipynb'
CELLS = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
CODE = {cell['id']: ''.join(cell['source']) for cell in CELLS
        if cell['cell_type'] == 'code'}


def test_it_is_committed_without_outputs():
    for cell in CELLS:
        assert not cell.get('outputs'), cell['id']
        assert cell.get('execution_count') is None, cell['id']


def test_it_installs_the_packages_of_the_readme():
    line = re.compile(r'apt-get (?:-qq )?install (.*)')
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert line.search(CODE['setup'])[1] == line.search(readme)[1]


@pytest.mark.slow
def test_it_runs_as_it_is(tmp_path, monkeypatch):
    """With fewer images to train on, and in a clone of its own."""
    import nbformat
    from nbclient import NotebookClient

    docs = tmp_path / 'clone/docs'
    docs.mkdir(parents=True)
    shutil.copy(NOTEBOOK, docs)
    for name in ('configs', 'tools'):
        (docs.parent / name).symlink_to(ROOT / name)
    monkeypatch.setenv('IMAGES', '16')
    # No kernels, settings or history of the user.
    for name in ('IPYTHONDIR', 'JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR',
                 'JUPYTER_RUNTIME_DIR'):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(docs / NOTEBOOK.name, 4)
    NotebookClient(notebook, timeout=300,
                   resources=dict(metadata=dict(path=docs))).execute()
    outputs = {cell.id: cell.get('outputs', []) for cell in notebook.cells}
    for cell in ('generate', 'train', 'predict'):
        printed = ''.join(output.get('text', '') for output in outputs[cell])
        assert '.py: error: ' not in printed
        assert 'Traceback' not in printed
    assert ['image/jpeg' in output['data'] for output in outputs['show']
            ] == [True] * 3
