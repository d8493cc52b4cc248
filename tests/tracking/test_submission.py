"""TrackingNet's archives; test_sot_tools.py tests GOT-10k's."""
import zipfile

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from mmlowformer.errors import UserError
from mmlowformer.tracking.datasets.sot_datasets import GOT10k, TrackingNet
from mmlowformer.tracking.evaluation import submission
from mmlowformer.tracking.evaluation.submission import write_submission
from mmlowformer.tracking.saved_tracks import KEYS, track_file


@pytest.fixture
def dataset(tmp_path):
    """Two videos of three frames, with the first box."""
    for name in ('abc', 'xyz'):
        frames = tmp_path / 'TEST/frames' / name
        frames.mkdir(parents=True)
        for index in range(3):
            (frames / f'{index}.jpg').write_bytes(b'')
        anno = tmp_path / 'TEST/anno' / f'{name}.txt'
        anno.parent.mkdir(exist_ok=True)
        anno.write_text('1,2,30,40\n')
    init_default_scope('mmlowformer')
    return DATASETS.build(dict(
        type='mmlowformer.TrackingNet', data_root=str(tmp_path),
        chunks=('TEST', ), test_mode=True))


def write_track(folder, name, count=3, value=1.5):
    boxes = np.full((count, 4), value) + np.arange(count)[:, None]
    np.savez(track_file(folder, name), **{
        **dict.fromkeys(KEYS, np.zeros(count)), 'pred_boxes': boxes})


def test_trackingnet(dataset, tmp_path):
    for name in ('abc', 'xyz'):
        write_track(tmp_path, name)
    assert write_submission(dataset, tmp_path, tmp_path / 'a.zip') == 2
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert archive.namelist() == ['abc.txt', 'xyz.txt']
        lines = archive.read('xyz.txt').decode().splitlines()
    assert lines == [','.join([f'{1.5 + index:.3f}'] * 4)
                     for index in range(3)]


@pytest.mark.parametrize(('kind', 'dataset', 'option'), [
    (GOT10k, dict(split='test'), None), (GOT10k, dict(split='val'),
                                         'split=test'),
    (TrackingNet, dict(chunks=('TEST', )), None),
    (TrackingNet, dict(chunks=('TRAIN_0', )), 'chunks=[TEST]')])
def test_only_test_sets_are_submitted(kind, dataset, option, monkeypatch):
    warnings = []
    monkeypatch.setattr(submission, 'warn', warnings.append)
    submission.check_submission('a.zip', kind, dataset)
    assert [text.rpartition('dataset.')[2] for text in warnings] == \
        [option] * bool(option)


@pytest.mark.parametrize(('broken', 'message'), [
    (None, 'lacks video xyz'), (dict(count=2), 'the track of xyz has'),
    (dict(value=np.nan), 'the track of xyz has')])
def test_no_archive_of_less(dataset, tmp_path, broken, message):
    write_track(tmp_path, 'abc')
    if broken:
        write_track(tmp_path, 'xyz', **broken)
    with pytest.raises(UserError, match=message):
        write_submission(dataset, tmp_path, tmp_path / 'a.zip')
    assert not list(tmp_path.glob('a.zip*'))
