"""Configs in which each thing is said once."""
import ast
import json
import shutil
import sys

import pytest
from mmengine.config import Config

from mmlowformer import get_config_path
from mmlowformer.config.loading import read_config
from mmlowformer.datasets.custom_config import custom_detection
from mmlowformer.engine.config_overrides import apply_options
from mmlowformer.errors import UserError

from ..helpers import write_custom_data

NAMES = ('retinanet_lowformer_b0_custom', 'fpn_lowformer_b0_custom',
         'lowformer_b0_custom')
CHILD = """
_base_ = __import__('mmlowformer').get_config_path('{name}')
data_root = '{{{{ fileDirname }}}}/mine'
classes = ('a', 'b')
epochs = 5
"""


@pytest.fixture(scope='module')
def mine(tmp_path_factory, shapes):
    """A folder with data, and copies of the configs."""
    folder = tmp_path_factory.mktemp('variables') / 'mine'
    write_custom_data(folder, shapes)
    for name in NAMES:
        shutil.copy(get_config_path(name), folder)
        (folder.parent / f'{name}_child.py').write_text(
            CHILD.format(name=name))
    return folder


def count_of(cfg):
    for head in ('bbox_head', 'decode_head', 'head'):
        if head in cfg.model:
            return cfg.model[head].num_classes
    return None


def length_of(cfg):
    epochs = cfg.train_cfg.get('max_epochs')
    return epochs or cfg.train_cfg.max_iters / cfg.iterations


@pytest.mark.parametrize(('name', 'classes'), list(zip(NAMES, (
    ('circle', 'square', 'triangle', 'star'), ('ground', 'circle'),
    ('circle', 'square')))))
def test_a_copy_needs_no_change(mine, name, classes):
    """With MMEngine alone, too."""
    for read in (Config.fromfile, read_config):
        cfg = read(str(mine / f'{name}.py'))
        assert cfg.classes == classes
        assert count_of(cfg) == len(classes)
        assert length_of(cfg) == cfg.epochs == 50
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            assert loader.dataset.data_root == str(mine)
            assert loader.dataset.metainfo.classes == classes


@pytest.mark.parametrize('name', NAMES)
def test_options(mine, name):
    options = dict(epochs=3, classes=['x', 'y', 'z'], batch_size=2,
                   image_size=(96, 64), other=1)
    cfg = read_config(str(mine / f'{name}.py'), options)
    assert options == dict(other=1)
    assert cfg.classes == ('x', 'y', 'z')
    assert count_of(cfg) == 3
    assert length_of(cfg) == cfg.epochs == 3
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.auto_scale_lr.base_batch_size == 2
    assert '96' in str(cfg.train_pipeline)
    assert '96' in str(cfg.test_pipeline)
    assert '512' not in str(cfg.train_pipeline)


@pytest.mark.parametrize('name', NAMES)
def test_configs_that_build_upon_it(mine, name):
    path = str(mine.parent / f'{name}_child.py')
    cfg = read_config(path)
    assert count_of(cfg) == 2
    assert length_of(cfg) == cfg.epochs == 5
    assert cfg.train_dataloader.dataset.data_root == str(mine)
    cfg = read_config(path, dict(epochs=2))
    assert length_of(cfg) == cfg.epochs == 2
    # MMEngine alone ends with an error, not with another training.
    with pytest.raises(UserError, match='data not found'):
        Config.fromfile(path)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('epochs', 'batch_size'), [(1, 1), (50, 1), (7, 3),
                                                    (100, 64)])
def test_warm_up_is_a_tenth_or_twenty(mine, name, epochs, batch_size):
    cfg = read_config(str(mine / f'{name}.py'),
                      dict(epochs=epochs, batch_size=batch_size))
    total = epochs * cfg.iterations
    ends = [item.end for item in cfg.param_scheduler
            if item.type == 'LinearLR']
    # Half of a short training is at full rate.
    assert len(ends) == (total >= 2)
    assert all(0 < end <= max(total / 10, min(20, total / 2)) for end in ends)
    assert cfg.default_hooks.logger.interval <= max(1, total)


def test_rates_follow(mine):
    path = str(mine / 'retinanet_lowformer_b0_custom.py')
    plain, large, scratch = (
        read_config(path, options).optim_wrapper.optimizer.lr
        for options in ({}, dict(batch_size=16), dict(weights=None)))
    assert large == 2 * plain
    assert scratch > plain
    cfg = read_config(path, dict(weights='x.pth'))
    assert cfg.model.backbone.init_cfg.checkpoint == 'x.pth'


def test_tta_scales_follow(mine):
    cfg = read_config(str(mine / 'retinanet_lowformer_b0_custom.py'),
                      dict(image_size=256))
    assert [step.scale for step in cfg.tta_pipeline[1].transforms[0]] == [
        (192, 192), (256, 256), (320, 320)]


def test_what_was_written_down_is_a_plain_config(mine, tmp_path):
    cfg = read_config(str(mine / 'retinanet_lowformer_b0_custom.py'),
                      dict(epochs=3))
    cfg.dump(tmp_path / 'dumped.py')
    again = read_config(str(tmp_path / 'dumped.py'))
    assert again.train_cfg == cfg.train_cfg
    with pytest.raises(UserError, match='epochs would change nothing'):
        apply_options(again, dict(epochs=4))


@pytest.mark.parametrize(('options', 'error'), [
    (dict(epochs=0), 'epochs must be an integer of at least 1, not 0'),
    (dict(epochs='many'), "not 'many'"), (dict(batch_size=1.5), 'batch_size'),
    (dict(image_size=0), 'image_size must be'),
    (dict(image_size=[64]), 'image_size must be'),
    (dict(classes=[]), 'classes must be names'),
    (dict(classes=['a', 'a']), 'classes holds a name twice'),
    (dict(data_root=5), 'data_root must be a folder, not 5'),
    (dict(data_root='/none'), 'data not found: /none/train.json'),
    (dict(train_ann_file='train.txt'), 'is not a COCO annotation file'),
])
def test_values_that_cannot_be(mine, options, error):
    with pytest.raises(UserError, match=error) as caught:
        read_config(str(mine / 'retinanet_lowformer_b0_custom.py'), options)
    assert 'retinanet_lowformer_b0_custom.py: ' in str(caught.value)


def test_a_parser_disturbed_by_another_thread(mine, monkeypatch):
    failures = [SystemError('AST constructor recursion depth mismatch')]
    parse = ast.parse

    def disturbed(*args, **kwargs):
        if failures:
            raise failures.pop()
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, 'parse', disturbed)
    cfg = read_config(str(mine / f'{NAMES[0]}.py'), {'epochs': 3})
    assert cfg.train_cfg.max_epochs == 3


def test_a_single_class(mine):
    cfg = read_config(str(mine / 'retinanet_lowformer_b0_custom.py'),
                      dict(classes='circle'))
    assert cfg.classes == ('circle', )


def test_several_processes_have_fewer_iterations(mine, monkeypatch):
    values = dict(data_root=str(mine), train_ann_file='train.json',
                  classes=None, image_size=64, epochs=1, batch_size=1)
    assert custom_detection(values)['iterations'] == 4
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert custom_detection(values)['iterations'] == 2


def test_files_without_classes(mine, tmp_path):
    (tmp_path / 'train.json').write_text(json.dumps(
        dict(images=[], annotations=[], categories=[])))
    with pytest.raises(UserError, match='has no categories'):
        read_config(str(mine / 'retinanet_lowformer_b0_custom.py'),
                    dict(data_root=str(tmp_path)))
    shutil.copytree(mine / 'images', tmp_path / 'images')
    with pytest.raises(UserError, match='write the name'):
        read_config(str(mine / 'fpn_lowformer_b0_custom.py'),
                    dict(data_root=str(tmp_path), train_list=None))


def test_the_old_name_in_copied_configs():
    sys.modules.pop('mmlowformer.data.own', None)
    with pytest.warns(FutureWarning, match='custom_config'):
        from mmlowformer.data.own import own_boxes as old
    assert old is custom_detection


def test_a_copied_config_imports_the_old_name(mine):
    config = mine / 'retinanet_lowformer_b0_custom.py'
    copy = mine / 'copied_custom.py'
    copy.write_text(config.read_text().replace('custom_detection',
                                               'own_boxes'))
    with pytest.warns(FutureWarning, match='called custom_detection'):
        old = read_config(str(copy))
    assert old.to_dict() == read_config(str(config)).to_dict()
