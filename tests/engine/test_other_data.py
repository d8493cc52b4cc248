"""Tests on other data than those of the config."""
import pytest

from mmlowformer import get_config
from mmlowformer.datasets.paths import paths_of
from mmlowformer.engine import testing
from mmlowformer.engine.testing import use_other_data, warn_of_scenes
from mmlowformer.errors import UserError


@pytest.fixture
def other(tmp_path):
    (tmp_path / 'all.json').touch()
    for name in ('masks', 'images'):
        (tmp_path / name).mkdir()
    return tmp_path


def test_boxes(other):
    cfg = get_config('retinanet_lowformer_b0_shapes')
    use_other_data(cfg, str(other / 'all.json'), None)
    assert paths_of(cfg.test_dataloader.dataset) == {
        'ann_file': str(other / 'all.json'),
        'data_prefix.img': str(other / 'images')}
    assert cfg.test_evaluator.ann_file == str(other / 'all.json')
    # The training's validation stays.
    assert 'shapes' in cfg.val_evaluator.ann_file


def test_masks(other):
    cfg = get_config('fpn_lowformer_b0_shapes')
    cfg.test_dataloader.dataset.type = 'mmlowformer.CustomSegDataset'
    use_other_data(cfg, str(other / 'masks'), str(other))
    assert paths_of(cfg.test_dataloader.dataset) == {
        'data_prefix.img_path': str(other),
        'data_prefix.seg_map_path': str(other / 'masks')}


def test_folders(other):
    cfg = get_config('lowformer_b0_shapes')
    use_other_data(cfg, str(other), None)
    assert paths_of(cfg.test_dataloader.dataset) == {
        'data_prefix.img_path': str(other)}


@pytest.mark.parametrize(('config', 'data', 'message'), [
    ('retinanet_lowformer_b0_shapes', 'none.json', 'none.json does not exist'),
    ('track_lowformer_tiny_shapes', 'all.json', 'not for the GOT10k')])
def test_refused(config, data, message, other):
    with pytest.raises(UserError, match=message):
        use_other_data(get_config(config), str(other / data), None)


@pytest.mark.parametrize(('side', 'warns'), [(1000, False), (2000, True)])
def test_scenes_after_tiles(side, warns, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(testing, 'warn', warnings.append)
    cfg = get_config('retinanet_lowformer_b0_shapes')
    cfg.val_dataloader.dataset.update(data_root=str(tmp_path),
                                      ann_file='val.json')

    class Scenes(list):
        get_data_info = list.__getitem__

    scenes = Scenes([dict(width=side, height=100)])
    warn_of_scenes(cfg, scenes)  # The validation's file may be elsewhere.
    assert not warnings
    (tmp_path / 'val.json').write_text(
        '{"images": [{"width": 512, "height": 500}, {}, 3]}')
    warn_of_scenes(cfg, scenes)
    assert not warnings
    (tmp_path / 'val.json').write_text(
        '{"images": [{"width": 512, "height": 500}, {}]}')
    warn_of_scenes(cfg, scenes)
    assert bool(warnings) == warns
    assert not warns or '--tile-size 512' in warnings[0]
