"""Settings that are valid, but hardly intended."""
from types import SimpleNamespace

import pytest
from mmengine.config import ConfigDict
from mmengine.hooks import LoggerHook
from mmengine.runner import EpochBasedTrainLoop

from mmlowformer import get_config
from mmlowformer.engine.cli import use_tta
from mmlowformer.engine.hooks import config_warnings


@pytest.fixture
def warned(monkeypatch):
    """What is said of a training of 4 epochs of 20 iterations."""
    texts = []
    monkeypatch.setattr(config_warnings, 'warn', texts.append)

    def look(interval=10, **cfg):
        loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
        runner = SimpleNamespace(
            cfg=ConfigDict(cfg), max_epochs=4, max_iters=80, train_loop=loop,
            train_dataloader=range(20), hooks=[LoggerHook(interval)])
        config_warnings.ConfigWarningHook().before_train(runner)
        return ' '.join(texts)

    return look


def warm_up(end, by_epoch=False):
    return dict(type='LinearLR', start_factor=0.01, by_epoch=by_epoch, begin=0,
                end=end)


@pytest.mark.parametrize(('scheduler', 'words'), [
    ([warm_up(500)], 'warm-up (500 iterations)'),
    (warm_up(5, by_epoch=True), 'warm-up (5 epochs)'),
])
def test_warm_up_that_never_ends(warned, scheduler, words):
    assert words in warned(param_scheduler=scheduler)


def test_nothing_is_said_of_sound_settings(warned):
    assert warned(param_scheduler=[warm_up(80), warm_up(4, by_epoch=True)],
                  interval=20) == ''


def test_log_interval_beyond_an_epoch(warned):
    text = warned(interval=50)
    assert 'log interval (50)' in text
    assert 'an epoch (20)' in text
    assert '--cfg-options default_hooks.logger.interval=2' in text


def loader(*scales):
    return dict(dataset=dict(pipeline=[
        dict(type='Resize', scale=scale) for scale in scales]))


@pytest.mark.parametrize(('trained', 'tested', 'words'), [
    ((128, 128), (1333, 800), 'to 1333, 10.4 times larger'),
    ((1333, 800), (320, 320), 'to 320, 4.2 times smaller'),
])
def test_other_scales(trained, tested, words):
    cfg = dict(train_dataloader=loader(trained), test_dataloader=loader(
        tested))
    assert words in next(config_warnings.odd_scales(cfg, 'test_dataloader'))


@pytest.mark.parametrize('name', [
    'retinanet_lowformer_b0_shapes', 'retinanet_lowformer_b1_coco',
    'fpn_lowformer_b1_ade20k', 'fpn_lowformer_b0_shapes',
    'lowformer_b0_shapes', 'lowformer_b1_in1k'])
def test_the_configs_are_sound(name):
    cfg = get_config(name)
    if cfg.get('tta_model'):
        use_tta(cfg)
    assert not list(config_warnings.odd_scales(cfg, 'test_dataloader'))


def test_augmented_at_other_scales():
    cfg = get_config('retinanet_lowformer_b1_coco')
    cfg.train_dataloader = loader((320, 320))
    use_tta(cfg)
    text = next(config_warnings.odd_scales(cfg, 'test_dataloader'))
    assert 'to 666 to 2000, 6.2 times larger' in text
