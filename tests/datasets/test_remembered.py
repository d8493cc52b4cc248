"""Annotation files are parsed once, and checked only when they change."""
import builtins
import gc
import json
import os
import shutil
from collections import Counter

import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from mmlowformer import engine, get_config
from mmlowformer.datasets.checks import check_datasets, coco, masks
from mmlowformer.engine import UserError
from mmlowformer.errors import is_first_process
from mmlowformer.utils.files import cache_file

from ..helpers import ROOT

CONFIGS = dict(coco='retinanet_lowformer_b0_shapes',
               ade='fpn_lowformer_b0_shapes')


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    # The data of these tests are a moment old.
    monkeypatch.setattr(check_datasets, 'COARSE', 0)


@pytest.fixture
def looked_at(monkeypatch):
    """The images and masks whose sizes were compared."""
    names = []

    def upright_size(path):
        names.append(os.path.basename(path))
        return masks_upright_size(path)

    masks_upright_size = masks.upright_size
    for module in (coco, masks):
        monkeypatch.setattr(module, 'upright_size', upright_size)
    return names


@pytest.fixture(params=CONFIGS)
def data(request, shapes, tmp_path):
    """A folder of data, and its config."""
    root = tmp_path / 'data'
    shutil.copytree(shapes / request.param, root)
    cfg = get_config(CONFIGS[request.param])
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.data_root = str(root)
    return root, cfg


def check(cfg):
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader'])


def test_the_second_start_looks_at_nothing(data, looked_at):
    _, cfg = data
    check(cfg)
    assert len(looked_at) == 6
    check(cfg)
    # Neither the model nor the transforms matter.
    cfg.model.backbone.arch = 'b1'
    cfg.train_dataloader.dataset.pipeline.pop()
    cfg.train_dataloader.batch_size += 1
    check(cfg)
    assert len(looked_at) == 6


def rewrite(file, change):
    """Change a file, but not its times as far as a program can set them."""
    before = file.stat()
    content = file.read_bytes()
    file.write_bytes(change(content))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def resize(file):
    image = Image.open(file)
    image.resize((image.width, image.height + 1)).save(file)


def of_equal_length(content):
    return content.replace(b'"image_id": 1,', b'"image_id": 7,')


def first_in(root, folder):
    return next((root / folder).iterdir())


CHANGES = [
    ('coco', lambda root: first_in(root, 'train2017').unlink(), 'not in its'),
    ('coco', lambda root: first_in(root, 'val2017').write_bytes(b''),
     'empty'),
    ('coco', lambda root: resize(first_in(root, 'train2017')), 'differs'),
    ('coco', lambda root: rewrite(
        root / 'annotations/instances_train2017.json', of_equal_length),
     'not in the file'),
    ('ade', lambda root: first_in(root, 'annotations/training').unlink(),
     'mask not found'),
    ('ade', lambda root: shutil.copy(
        first_in(root, 'images/training'), root / 'images/training/new.jpg'),
     'mask not found'),
    ('ade', lambda root: resize(first_in(root, 'images/validation')),
     'another size than its image'),
    ('ade', lambda root: Image.new('L', (64, 64), 77).save(
        first_in(root, 'annotations/validation')), 'a value beyond')]


@pytest.mark.parametrize(('data', 'change', 'error'), CHANGES,
                         indirect=['data'])
def test_each_change_is_seen(data, change, error):
    root, cfg = data
    check(cfg)
    change(root)
    with pytest.raises(UserError, match=error):
        check(cfg)


def test_other_classes_are_another_question(data):
    _, cfg = data
    check(cfg)
    for name in ('train_dataloader', 'val_dataloader'):
        classes = cfg[name].dataset.metainfo.classes
        cfg[name].dataset.metainfo.classes = tuple(classes[:1])
    with pytest.raises(UserError):
        check(cfg)


@pytest.mark.parametrize('data', ['ade'], indirect=True)
def test_a_warning_is_repeated(data, log):
    root, cfg = data
    for mask in root.glob('annotations/training/*'):
        Image.new('L', (64, 64), 1).save(mask)
    for _ in range(2):
        log.clear()
        check(cfg)
        assert '4 of 5 classes cannot be learned' in log.text


def records():
    return list(cache_file('checks').glob('*'))


@pytest.mark.parametrize('content', [
    b'', b'\xff', b'[]', b'{}', b'{"paths": []}', b'[' * 100_000])
def test_a_broken_record(data, content, looked_at):
    _, cfg = data
    check(cfg)
    assert len(records()) == 2
    for record in records():
        record.write_bytes(content)
    check(cfg)
    assert len(looked_at) == 12
    check(cfg)
    assert len(looked_at) == 12


def test_records_can_be_deleted(data, looked_at):
    _, cfg = data
    check(cfg)
    shutil.rmtree(cache_file('checks'))
    check(cfg)
    assert len(looked_at) == 12


def test_without_a_place_for_records(data, looked_at, monkeypatch, tmp_path):
    _, cfg = data
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    check(cfg)
    check(cfg)
    assert len(looked_at) == 12


def test_files_that_are_being_written_are_not_trusted(
        data, looked_at, monkeypatch):
    _, cfg = data
    monkeypatch.setattr(check_datasets, 'COARSE', 3600 * 10**9)
    check(cfg)
    assert not records()


def test_another_version_checks_again(data, looked_at, monkeypatch):
    _, cfg = data
    check(cfg)
    check_datasets._version.cache_clear()
    monkeypatch.setattr(check_datasets, '__version__', 'newer')
    check(cfg)
    check_datasets._version.cache_clear()
    assert len(looked_at) == 12


@pytest.fixture
def parsed(monkeypatch):
    """How often each annotation file is opened."""
    counts = Counter()

    def opened(path, *arguments, **kwargs):
        if str(path).endswith('.json') and 'annotations' in str(path):
            counts[os.path.basename(path)] += 1
        return plain(path, *arguments, **kwargs)

    plain = builtins.open
    monkeypatch.setattr(builtins, 'open', opened)
    return counts


TRAIN, VAL = 'instances_train2017.json', 'instances_val2017.json'
CUSTOM = """
_base_ = {base!r}
data_root = {root!r}
train_ann_file = 'annotations/instances_train2017.json'
val_ann_file = 'annotations/instances_val2017.json'
train_images = 'train2017'
val_images = 'val2017'
"""


def start(cfg):
    """Do what a tool does until its data sets are built; return them."""
    check(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return [engine.QuietRunner.build_dataloader(dict(
            cfg[name], num_workers=0, persistent_workers=False)).dataset
            for name in ('train_dataloader', 'val_dataloader')]


@pytest.mark.parametrize('rank', ['0', '1'])
@pytest.mark.parametrize('custom', [False, True])
@pytest.mark.parametrize('data', ['coco'], indirect=True)
def test_a_file_is_parsed_once_a_start(
        data, custom, rank, parsed, monkeypatch, tmp_path):
    root, cfg = data
    monkeypatch.setenv('RANK', rank)
    assert is_first_process() == (rank == '0')
    config = tmp_path / 'mine.py'
    config.write_text(CUSTOM.format(root=str(root), base=str(
        ROOT / 'configs/retinanet_lowformer_b0_custom.py')))
    datasets = []
    for _ in range(2):
        parsed.clear()
        with engine.parse_once():
            if custom:
                cfg = engine.read_config(str(config))
            datasets.append(start(cfg))
        assert parsed == {TRAIN: 1, VAL: 1}
    alone = [DATASETS.build(dict(cfg[name].dataset, _scope_='mmdet'))
             for name in ('train_dataloader', 'val_dataloader')]
    for ours in datasets:
        for mine, other in zip(ours, alone):
            assert len(mine) == len(other) > 0
            for index in range(len(other)):
                assert mine.get_data_info(index) == other.get_data_info(index)


@pytest.mark.parametrize('data', ['coco'], indirect=True)
def test_nothing_is_kept_after_a_tool(data, parsed):
    _, cfg = data
    with engine.parse_once():
        check(cfg)
    start(cfg)
    assert parsed == {TRAIN: 2, VAL: 2}


@pytest.mark.parametrize('data', ['coco'], indirect=True)
def test_nothing_is_kept_while_a_training_runs(data, parsed):
    """As for data sets that have a parser of their own."""
    _, cfg = data
    with engine.parse_once():
        check(cfg)
        assert not gc.isenabled()
        with pytest.raises(AttributeError):  # No Runner was made.
            engine.QuietRunner.load_or_resume(object.__new__(
                engine.QuietRunner))
        assert gc.isenabled()
        start(cfg)
    assert gc.isenabled()
    assert parsed == {TRAIN: 2, VAL: 2}


@pytest.mark.parametrize('data', ['coco'], indirect=True)
def test_a_file_that_changes_after_its_check_is_parsed_again(data, parsed):
    root, cfg = data
    with engine.parse_once():
        check(cfg)
        file = root / 'annotations' / TRAIN
        content = json.loads(file.read_text())
        content['images'].pop()
        file.write_text(json.dumps(content))
        parsed.clear()
        with DefaultScope.overwrite_default_scope('mmdet'):
            built = DATASETS.build(dict(cfg.train_dataloader.dataset,
                                        filter_cfg=None))
    assert parsed[TRAIN] == 1
    assert len(built) == len(content['images'])
