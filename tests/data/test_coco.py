import copy
import json
import shutil

import pytest

from mmlowformer import engine, get_config
from mmlowformer.data.shapes import CLASSES
from mmlowformer.engine import UserError


@pytest.fixture
def root(tmp_path, shapes):
    shutil.copytree(shapes / 'coco', tmp_path / 'coco')
    return tmp_path / 'coco'


@pytest.fixture
def cfg(root):
    cfg = get_config('retinanet_lowformer_b0_shapes')
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.data_root = str(root)
    return cfg


def check(cfg):
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader', 'none'])


def edit(root, change):
    file = root / 'annotations' / 'instances_val2017.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_complete(cfg):
    check(cfg)


def test_wrapped(cfg, root):
    dataset = cfg.train_dataloader.dataset
    other = copy.deepcopy(dataset)
    other.data_root = 'nowhere'
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(
            type='ConcatDataset', datasets=[dataset, other]))
    with pytest.raises(UserError, match='nowhere/annotations'):
        check(cfg)


def test_missing(tmp_path, cfg):
    cfg.val_dataloader.dataset.data_root = 'data/coco/'
    with pytest.raises(UserError) as error:
        check(cfg)
    message = str(error.value)
    assert '\n' not in message
    assert '/data/coco/' in message
    assert 'val_dataloader' in message
    assert 'annotations_trainval2017.zip of https://cocodataset.org' in message
    assert 'data_root=' in message


def test_remote_data_are_not_looked_for(cfg):
    cfg.val_dataloader.dataset.data_root = 's3://bucket/coco'
    cfg.val_dataloader.dataset.backend_args = dict(backend='petrel')
    check(cfg)


def test_missing_image(cfg, root):
    (root / 'val2017' / '000001.jpg').unlink()
    with pytest.raises(UserError, match='1 of 2 images .* 000001.jpg'):
        check(cfg)


def test_truncated_annotations(cfg, root):
    file = root / 'annotations' / 'instances_val2017.json'
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match='instances_val2017.json is no COCO'):
        check(cfg)


def test_other_json(cfg, root):
    (root / 'annotations' / 'instances_val2017.json').write_text('[]')
    with pytest.raises(UserError, match='no COCO annotation file'):
        check(cfg)


def test_other_categories(cfg, root):
    edit(root, lambda content: content['categories'][2].update(name='ring'))
    with pytest.raises(UserError, match='do not match') as error:
        check(cfg)
    assert 'file:   circle, square, ring, star' in str(error.value)
    assert f'config: {", ".join(CLASSES)}' in str(error.value)


def test_other_order(cfg, root):
    edit(root, lambda content: content['categories'].reverse())
    with pytest.raises(UserError, match='not in the order'):
        check(cfg)


def test_some_of_the_categories(cfg):
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.metainfo.classes = ('circle', 'star')
    check(cfg)


def test_tuple_without_comma(cfg):
    cfg.train_dataloader.dataset.metainfo.classes = ('circle')
    with pytest.raises(UserError, match=r"needs a comma: \('circle', \)"):
        check(cfg)


def test_remedy_moves_what_is_missing(tmp_path):
    cfg = get_config('retinanet_lowformer_b1_coco')
    cfg.data_root = str(tmp_path)
    with pytest.raises(UserError, match='--cfg-options train_dataloader.'
                       'dataset.data_root=FOLDER'):
        engine.check_datasets(cfg, ['train_dataloader'])


def first_image(content):
    return content['images'][0]


def first_box(content):
    return content['annotations'][0]


@pytest.mark.parametrize(('change', 'message'), [
    (lambda c: first_image(c).update(id=c['images'][1]['id']),
     '1 x image id given to an image before'),
    (lambda c: first_image(c).pop('width'),
     '1 x image without width and height, first: 000000.jpg'),
    (lambda c: first_image(c).update(height=0),
     '1 x image without width and height'),
    (lambda c: first_box(c).update(bbox=[1, 2, float('nan'), 4]),
     '1 x box that is not four numbers .* annotation .*nan'),
    (lambda c: first_box(c).update(bbox=[1, 2, -3, 4]), '1 x box that is not'),
    (lambda c: first_box(c).update(bbox=[1, 2, 3]), '1 x box that is not'),
    (lambda c: first_box(c).pop('bbox'), '1 x box that is not'),
    (lambda c: first_box(c).update(category_id=99),
     '1 x category id that is not in the file, first: .*category 99'),
    (lambda c: first_box(c).update(image_id=99),
     '1 x annotation of an image that is not in the file'),
    (lambda c: [a.update(bbox=[]) for a in c['annotations'][:2]],
     '2 x box that is not')])
def test_broken_records(cfg, root, change, message):
    edit(root, change)
    message = f'(?s)val2017.json is broken.*{message}'
    with pytest.raises(UserError, match=message):
        check(cfg)


def test_no_annotations(cfg, root):
    """Images to test on need none."""
    edit(root, lambda content: content.update(annotations=[]))
    check(cfg)
    cfg.val_dataloader.dataset.test_mode = False
    with pytest.raises(UserError, match='val2017.json holds no annotations'):
        check(cfg)
