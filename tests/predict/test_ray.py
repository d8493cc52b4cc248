"""The program for Ray Data in docs/scale.md.

``make test-slow`` installs Ray.
"""
import json
import os
import re
import runpy

import pytest

from mmlowformer import Predictor

from ..helpers import ROOT


@pytest.fixture
def cluster():
    """Two workers for the model, and two for reading and writing."""
    ray = pytest.importorskip('ray')
    ray.init(num_cpus=4, include_dashboard=False,
             object_store_memory=200 * 2 ** 20)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures('cluster')
def test_two_workers(tiny, photos, tmp_path, monkeypatch):
    page = (ROOT / 'docs/scale.md').read_text(encoding='utf-8')
    program = tmp_path / 'predict_with_ray.py'
    program.write_text(re.search(
        r'```python\n(import json\n.*?)```', page, re.S)[1])
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(60):
        os.link(photos[number % len(photos)], folder / f'{number:02}.jpg')
    (folder / '60.jpg').write_text('no image')
    monkeypatch.setattr('sys.argv', [
        str(program), str(tiny('detection')), str(folder),
        str(tmp_path / 'results')])
    runpy.run_path(str(program), run_name='__main__')
    rows = {row['path']: row for file in (tmp_path / 'results').iterdir()
            for row in map(json.loads, file.open())}
    assert 'cannot be decoded' in rows.pop(str(folder / '60.jpg'))['error']
    predictor = Predictor(tiny('detection'), device='cpu')
    assert {path: json.loads(row['predictions']) for path, row in rows.items()
            } == {result.name: result.json()
                  for result in predictor(sorted(map(str, folder.glob(
                      '[0-5]*'))))}
