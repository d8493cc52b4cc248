import copy
import json
import os
import shutil

import pytest
from pycocotools import mask as coco_masks

from mmlowformer import engine, get_config
from mmlowformer.datasets.checks.coco_annotations import rle_counts
from mmlowformer.datasets.synthetic.shapes import CLASSES
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


def test_masks_of_all_classes_that_nobody_reads(cfg):
    dataset = cfg.train_dataloader.dataset
    dataset.data_prefix.seg = 'annotations/panoptic_train2017/'
    check(cfg)
    for step in (dict(type='LoadAnnotations', with_seg=True),
                 dict(type='mmdet.LoadPanopticAnnotations')):
        dataset.pipeline = [step]
        with pytest.raises(UserError, match='panoptic_train2017 .*prefix.seg'):
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
    with pytest.raises(UserError, match='1 x image that is not .*000001.jpg'):
        check(cfg)


def test_truncated_annotations(cfg, root):
    file = root / 'annotations' / 'instances_val2017.json'
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match='val2017.json is not a COCO'):
        check(cfg)


def test_other_json(cfg, root):
    (root / 'annotations' / 'instances_val2017.json').write_text('[]')
    with pytest.raises(UserError, match='COCO annotation'):
        check(cfg)


def test_other_categories(cfg, root):
    edit(root, lambda content: content['categories'][2].update(name='ring'))
    with pytest.raises(UserError, match='do not match') as error:
        check(cfg)
    assert 'file: circle, square, ring, star' in str(error.value)
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
     '1 x duplicate image id'),
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
    message = f'(?s)val2017.json.*{message}'
    with pytest.raises(UserError, match=message):
        check(cfg)


@pytest.mark.parametrize('name', ['train', 'val'])
@pytest.mark.parametrize(('change', 'message'), [
    (lambda c: c.update(annotations=[]), 'holds no annotations'),
    (lambda c: [a.update(iscrowd=1) for a in c['annotations']],
     'none of .* can be learned .* ignored'),
    (lambda c: [a.update(bbox=[v / 64 for v in a['bbox']])
                for a in c['annotations']], 'normalized, 0 to 1'),
    (lambda c: [a.update(bbox=[64, 3, 5, 5]) for a in c['annotations']],
     'beyond their images'),
    (lambda c: [a.update(bbox=[3, 3, .5, 5]) for a in c['annotations']],
     'smaller than a pixel'),
    (lambda c: [a.update(area=0) for a in c['annotations']],
     'smaller than a pixel')])
def test_nothing_to_learn(cfg, root, name, change, message):
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.train_dataloader.dataset.update({
        key: cfg.val_dataloader.dataset[key]
        for key in ('ann_file', 'data_prefix')})
    edit(root, change)
    with pytest.raises(UserError, match=f'val2017.json.* {message}'):
        engine.check_datasets(cfg, [f'{name}_dataloader'])
    # Images to test on need no boxes.
    engine.check_datasets(cfg, ['test_dataloader'])


def test_small_images_are_filtered(cfg):
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=65)
    with pytest.raises(UserError, match='below filter_cfg.min_size, 65'):
        check(cfg)


@pytest.mark.parametrize(('change', 'message'), [
    (lambda c: first_image(c).update(width=32, height=128),
     'size that differs from the image, first: 000000.jpg: 32x128, the '
     'file has 64x64'),
    (lambda c: c['images'].append(dict(
        first_image(c), id=99, file_name='./000000.jpg')),
     'with two ids, first: ./000000.jpg'),
    (lambda c: first_image(c).update(file_name='../val2017/000000.jpg'),
     'name contains ..'),
    (lambda c: c['categories'][1].update(id=c['categories'][0]['id']),
     "two categories with the id 1: 'circle' and 'square'"),
    (lambda c: c['categories'][1].update(name='Circle '),
     "two classes of one name: 'circle' and 'Circle '"),
    (lambda c: c['annotations'][1].update(id=first_box(c)['id']),
     'duplicate annotation id'),
    (lambda c: first_box(c).pop('area'), 'annotation without area'),
    (lambda c: first_box(c).update(iscrowd='0'), 'iscrowd that is neither'),
    (lambda c: first_box(c).update(bbox=[1, 2, 10**400, 4]),
     'not four numbers'),
    (lambda c: first_box(c).update(bbox=[1, 2, 1e300, 4]),
     'not four numbers'),
    (lambda c: first_box(c).update(bbox=[True, 2, 3, 4]), 'not four numbers'),
    (lambda c: first_box(c).update(image_id=[]), 'image that is not in'),
    (lambda c: first_box(c).update(category_id={}), 'category id that is not'),
    (lambda c: first_box(c).update(id=[1]), 'whose id is not an integer'),
    (lambda c: c['annotations'].insert(3, None), 'annotations.3. is not'),
    (lambda c: c.update(annotations={'a': 1}), 'annotations is not a list'),
    (lambda c: c.update(images={'a': 1}), 'images is not a list'),
    (lambda c: first_image(c).update(file_name=None),
     'file_name of images is null, it must be printable'),
    (lambda c: first_image(c).update(file_name='\ud800.jpg'),
     r'file_name of images is .*ud800.* must be printable text'),
    (lambda c: first_image(c).update(id=None), 'id of images is null'),
    (lambda c: c['categories'][0].update(name=['x' * 10**6]),
     'name of categories is')])
def test_records_that_would_be_misread(cfg, root, change, message):
    edit(root, change)
    with pytest.raises(UserError, match=f'(?s)val2017.json.*{message}') as \
            error:
        check(cfg)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize('content', ['[' * 100_000, '{"images":' * 100_000,
                                     '{"images": ' + '9' * 5000 + '}'])
def test_nested_json(cfg, root, content):
    (root / 'annotations' / 'instances_val2017.json').write_text(content)
    with pytest.raises(UserError, match='val2017.json is not a COCO'):
        check(cfg)


@pytest.mark.parametrize('file', ['annotations/instances_val2017.json',
                                  'val2017/000000.jpg'])
def test_pipe(cfg, root, file):
    """Opening one waits for ever."""
    (root / file).unlink()
    os.mkfifo(root / file)
    with pytest.raises(UserError, match='regular file|image that is not in'):
        check(cfg)


@pytest.mark.parametrize('counts', [
    [0, 4096], [7, 9, 4080], [1, 1, 1, 1, 1, 4091], [4000, 96]])
def test_run_lengths(counts):
    runs = coco_masks.frPyObjects(dict(size=[64, 64], counts=counts), 64, 64)
    assert rle_counts(runs['counts'].decode()) == counts


@pytest.mark.parametrize(('segmentation', 'message'), [
    ([1, 2, 3, 4, 5, 6], 'not a list of polygons'),
    ([[1, 2, 3, 4, 5, 6, 7]], 'three points'),
    ([[1, 2, 3, 4]], 'three points'),
    ([[]], 'three points'),
    ([[1, 2, 3, 4, 5, None]], 'not made of numbers'),
    ([[1, 2, 3, 4, 5, float('nan')]], 'not made of numbers'),
    ('text', 'neither polygons nor RLE'),
    (dict(size=[64, 64]), 'cannot be read'),
    (dict(size=[64, 32], counts=[2048]), 'height and width'),
    (dict(size=[64, 64], counts=[100]), 'do not add up'),
    (dict(size=[64, 64], counts=[-1, 4097]), 'cannot be read'),
    (dict(size=[64, 64], counts='PP'), 'cannot be read'),
    (dict(size=[64, 64], counts='o' * 99), 'cannot be read'),
    (dict(size=[64, 64], counts='\ud800'), 'cannot be read')])
def test_segmentation(cfg, root, segmentation, message):
    edit(root, lambda c: first_box(c).update(segmentation=segmentation))
    check(cfg)  # No mask is learned.
    cfg.val_dataloader.dataset.pipeline[-2].with_mask = True
    with pytest.raises(UserError, match=f'segmentation .*{message}'):
        check(cfg)
