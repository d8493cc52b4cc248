"""MMDetection's own tools on checkpoints of this project's trainings."""
import pickle
import re
from pathlib import Path

import mmdet
import pytest

from mmlowformer.utils.safe_load import FORCE_NOT

from ..helpers import FORKS, ROOT, TINY_DETECTOR, restored_process, run_tool

TEST = Path(mmdet.__path__[0], '.mim', 'tools', 'test.py')
ARGUMENTS = ('tiny.py', 'epoch_1.pth', '--work-dir', 'tested')
ERROR = 'Weights only load failed'
SECTION = re.search(
    rf'^### `UnpicklingError: {ERROR}`.*?(?=^#)',
    (ROOT / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8'),
    re.M | re.S).group()


@pytest.fixture(scope='module')
def folder(tmp_path_factory, shapes):
    """The checkpoint of a training, and its config."""
    folder = tmp_path_factory.mktemp('trained')
    (folder / 'tiny.py').write_text(
        TINY_DETECTOR + 'train_cfg = dict(max_epochs=1, val_interval=2)\n')
    result = run_tool('train.py', 'tiny.py', '--work-dir', 'run',
                      '--cfg-options', f'data_root={shapes}/coco/', cwd=folder)
    assert result.returncode == 0, result.stdout
    for name in ('tiny.py', 'epoch_1.pth'):
        (folder / 'run' / name).replace(folder / name)
    return folder


def is_tested(folder):
    result = run_tool(TEST, *ARGUMENTS, cwd=folder)
    return (result.returncode == 0
            and 'tensors of the model from epoch_1.pth' in result.stdout)


def test_error_of_the_page(folder):
    if FORKS:  # They let such files run code.
        assert is_tested(folder)
        return
    with pytest.raises(pickle.UnpicklingError, match=ERROR):
        run_tool(TEST, *ARGUMENTS, cwd=folder)


def test_own_checkpoint(folder, monkeypatch):
    assert f'{FORCE_NOT}=1 ' in SECTION
    monkeypatch.setenv(FORCE_NOT, '1')
    assert is_tested(folder)


def test_without_running_code(folder):
    with restored_process():
        exec(re.search(r'```python\n(.*?)```', SECTION, re.S).group(1), {})
        assert is_tested(folder)
