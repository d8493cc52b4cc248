import pytest
from mmengine.config import Config

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.engine.hooks.run_summary import describe_batch


def config(batch_size=2, accumulation=None, base=16):
    optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4))
    if accumulation:
        optim_wrapper['accumulative_counts'] = accumulation
    return Config(dict(
        train_dataloader=dict(batch_size=batch_size),
        optim_wrapper=optim_wrapper,
        auto_scale_lr=dict(enable=False, base_batch_size=base)))


@pytest.mark.parametrize(('cfg', 'world_size', 'lr'), [
    (config(), 8, 1e-4),
    (config(), 1, 1.25e-5),
    (config(accumulation=4), 1, 5e-5),
    (config(batch_size=4, accumulation=2), 4, 2e-4),
    # No batch is larger than the data set.
    (config(batch_size=64), 1, 2e-4),
    (config(batch_size=64, accumulation=2), 8, 4e-4),
])
def test_scales_linearly_and_counts_accumulation(cfg, world_size, lr):
    engine.scale_learning_rate(cfg, world_size, 32)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)


def test_needs_a_base_batch_size():
    cfg = config()
    cfg.pop('auto_scale_lr')
    with pytest.raises(UserError, match='base_batch_size'):
        engine.scale_learning_rate(cfg, 1, 32)
    del cfg.optim_wrapper.optimizer['lr']
    cfg.auto_scale_lr = dict(base_batch_size=16)
    with pytest.raises(UserError, match='optimizer.lr'):
        engine.scale_learning_rate(cfg, 1, 32)


def test_says_what_is_about_to_happen():
    text, warning = describe_batch(config(accumulation=2), 4, 1e-4, 32)
    assert 'batch size 16 = 4 processes x 2 images x 2 accum' in text
    assert 'base batch size 16' in text
    assert 'learning rate 0.0001' in text
    assert not warning


def test_warns_if_not_scaled():
    text, warning = describe_batch(config(), 1, 1e-4, 32)
    assert 'chosen for a batch size of 16, not 2' in warning
    assert '1.25e-05' in warning
    text, warning = describe_batch(config(), 1, 1.25e-5, 32)
    assert 'learning rate 1.25e-05, in the config 0.0001' in text
    assert not warning


def test_batch_larger_than_the_data_set():
    """Its rate is that of the images that there are."""
    text, warning = describe_batch(config(batch_size=64), 1, 1e-4, 8)
    assert 'batch size 8 = 1 process x 64 images' in text
    assert 'as there are only 8' in text
    assert 'not 8. Add --auto-scale-lr to make it 5e-05' in warning


def test_without_any_of_it():
    cfg = Config(dict(train_dataloader=dict(batch_size=3), optim_wrapper={}))
    assert describe_batch(cfg, 1, None, 3) == ('batch size 3', '')
