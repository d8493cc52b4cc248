import argparse
import itertools
import logging
from contextlib import suppress

import pytest

from mmlowformer import get_config
from mmlowformer.engine import UserError
from mmlowformer.engine.config_overrides import (
    OptionAction,
    apply_options,
    parse_value,
    warn_of_misspelt,
)


@pytest.mark.parametrize(('text', 'value'), [
    ('/a/with space', '/a/with space'), (' 5', 5), ('1e-3', 1e-3),
    ('true', True), ('None', None), ('1, 2,3', [1, 2, 3]),
    ('[a b, c]', ['a b', 'c']), ('(64, 64)', (64, 64)), ('(1,)', (1, )),
    ('[(1,2),[x, y], z]', [(1, 2), ['x', 'y'], 'z']), ('(1,2),(3,)', [
        (1, 2), (3, )]), ('"[1, 2]"', [1, 2]), ('"/a, b"', '/a, b'),
    ('/a (1)/b', '/a (1)/b'), ('', ''), ('[]', []), ('a=b', 'a=b'),
])
def test_values(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize('pair', ['a', '=1', 'a..b=1', '.=', 'a=[1,2', 'a=(1]',
                                  'a=1),2'])
def test_what_is_no_option(pair, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=OptionAction)
    with pytest.raises(SystemExit):
        parser.parse_args(['--options', pair])
    assert repr(pair) in capsys.readouterr().err


@pytest.fixture
def cfg():
    return get_config('retinanet_lowformer_b0_shapes')


def test_copies_follow_a_pipeline(cfg):
    apply_options(cfg, {
        'train_pipeline.2.scale': (64, 64), 'test_pipeline.1.scale': (32, 32),
        'test_dataloader.dataset.pipeline.1.scale': (16, 16)})
    assert cfg.train_pipeline[2].scale == (64, 64)
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (64, 64)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (32, 32)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (16, 16)
    assert cfg.tta_pipeline[1].transforms[0][0].scale == (96, 96)


@pytest.mark.parametrize(('options', 'message'), [
    ({'max_epochs': 3}, 'train_cfg.max_epochs'),
    ({'image_size': (64, 64)}, 'train_dataloader.dataset.pipeline.2.scale'),
    ({'classes': ['a']}, 'train_dataloader.dataset.metainfo.classes'),
    ({'optim_wraper.optimizer.lr': 1}, 'Did you mean optim_wrapper'),
    ({'train_cfg.max_epoch': 1}, None),
    ({'default_hooks.checkpont.interval': 1}, 'default_hooks.checkpoint'),
    ({'model.test_cfg.scor_thr': 1}, 'Did you mean model.test_cfg.score_thr'),
    ({'train_dataloader.dataset.pipeline.9.scale': 1}, 'is a list of 5'),
    ({'param_scheduler.first.end': 1}, 'is a list of 2'),
    ({'val_cfg.x.y': 1, 'tta_model': None}, None),
    ({'load_from.x': 1}, 'load_from is None'),
    ({'data_root.x': 1}, "data_root is 'data/shapes/coco/'"),
    ({'model.backbone.arch.widths': 1}, "model.backbone.arch is 'b0'"),
])
def test_options_that_cannot_be(cfg, options, message):
    if message is None:
        apply_options(cfg, options)
        return
    with pytest.raises(UserError, match=message):
        apply_options(cfg, options)


def test_all_copies_are_given(cfg):
    apply_options(cfg, {'max_epochs': 3, 'train_cfg.max_epochs': 3})
    assert cfg.train_cfg.max_epochs == 3


@pytest.mark.parametrize('key', ['dataset.data_root', 'mine', 'palette'])
def test_without_effect(cfg, key, log):
    apply_options(cfg, {key: 'x'})
    assert [record.levelno for record in log.records] == [logging.WARNING]
    assert f'{key}: nothing is known to read {key.split(".")[0]}' in \
        log.text


@pytest.mark.parametrize(('key', 'value'), [
    ('val_dataloader', None), ('model.backbone.with_cp', True),
    ('optim_wrapper.paramwise_cfg.bias_decay_mult', 0.), ('resume', True),
    ('randomness.seed', 1), ('auto_scale_lr.enable', True),
    ('tta_pipeline.0.type', 'x'), ('custom_hooks.0.type', 'x'),
    ('model.neck.in_channels.0', 8)])
def test_other_options_are_merged(cfg, key, value):
    apply_options(cfg, {key: value})
    node = cfg
    for name in key.split('.'):
        node = node[int(name) if name.isdigit() else name]
    assert node == value


def test_misspelt_in_a_config(cfg, log):
    warn_of_misspelt(cfg)
    assert not log.records
    cfg.optim_wraper = dict(optimizer=dict(lr=1))
    warn_of_misspelt(cfg)
    assert 'optim_wraper, which nothing is known to read. Did you mean ' \
        'optim_wrapper?' in log.text


@pytest.mark.parametrize(('text', 'value'), [
    ('/data/set(a,b)', '/data/set(a,b)'), ('/a[1,2]/b', '/a[1,2]/b'),
    ('x(a,b),y', ['x(a,b)', 'y']),
    ("'/a, b'", '/a, b'), ('', ''), ('""', ''), ("'", "'"), (',', ['']),
    ('[]', []), ('()', ()), ('(1,)', (1, )), ('a,', ['a']),
    ('ü(ä,ö)', 'ü(ä,ö)'),
])
def test_odd_values(text, value):
    assert parse_value(text) == value


def test_no_value_ends_in_a_traceback():
    for letters in itertools.product('a(,)["', repeat=5):
        with suppress(ValueError):
            parse_value(''.join(letters))
