"""Masks, class folders and videos of strangers, whatever is wrong there."""
import io
import json
import random
import shutil
import zlib

import mmdet.datasets  # noqa: F401
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

import mmlowformer.tracking  # noqa: F401
from mmlowformer.datasets.checks.check_datasets import check_datasets
from mmlowformer.datasets.formats import ImageFolder
from mmlowformer.datasets.inspection.folders import inspect_folders
from mmlowformer.datasets.inspection.masks import inspect_masks
from mmlowformer.errors import UserError

from ..mutations import check_message, mutated

TIMES = 120


def picture(kind, value=None):
    pixels = np.random.default_rng(0).integers(
        0, 200, (20, 40, 3)).astype(np.uint8)
    if value is not None:
        pixels = np.full((20, 40), value, np.uint8)
        pixels[:9] = 1
    exif = Image.Exif()
    exif[0x0112] = 1
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, exif=exif)
    return stream.getvalue()


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else
                         content.encode())
    return folder


def variants(files, folder):
    """Folders in which one file is not as it should be."""
    for index in range(TIMES):
        chance = random.Random(zlib.crc32(f'{sorted(files)} {index}'.encode()))
        changed = dict(files)
        name = chance.choice(sorted(files))
        if chance.random() < .7:  # What is in texts, more is made of.
            name = chance.choice([name for name in sorted(files)
                                  if isinstance(files[name], str)])
        changed[name] = mutated(chance, files[name])
        yield write(folder / str(index), changed)
        shutil.rmtree(folder / str(index))


def check(scope, dataset):
    """What is checked before a training, and the data set of it."""
    check_datasets(Config(dict(
        default_scope=scope, model={},
        train_dataloader=dict(dataset=dataset))), ['train_dataloader'])
    with DefaultScope.overwrite_default_scope(scope):
        return DATASETS.build(dict(dataset, serialize_data=False))


def answered(look, folder):
    """A result, or a line that a user can do something about."""
    try:
        look(folder)
    except UserError as error:
        check_message(str(error), folder)


MASKS = {
    'images/a.jpg': picture('JPEG'), 'images/b.png': picture('PNG'),
    'masks/a.jpg.png': picture('PNG', 0), 'masks/b.png': picture('PNG', 2),
    'masks/classes.txt': 'dog\ncat\ncow\n', 'train.txt': 'a.jpg\nb.png\n'}


def test_masks(tmp_path):
    def train(folder):
        check('mmseg', dict(
            type='mmlowformer.CustomSegDataset', data_root=str(folder),
            ann_file='train.txt', metainfo=dict(classes=('dog', 'cat', 'cow')),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            pipeline=[dict(type='LoadAnnotations')]))

    def look(folder):
        found = inspect_masks(str(folder / 'masks'),
                              ImageFolder(str(folder / 'images')), bool)
        for line in found.errors.lines():
            check_message(f'{folder}: {line}', folder)

    for road in (train, look):
        road(write(tmp_path / 'good', MASKS))
    for folder in variants(MASKS, tmp_path):
        answered(train, folder)
        answered(look, folder)


FOLDERS = {
    'images/cat/0.jpg': picture('JPEG'), 'images/cat/1.png': picture('PNG'),
    'images/dog/2.png': picture('PNG', 0),
    'train.txt': 'cat/0.jpg 0\ncat/1.png 0\ndog/2.png 1\n'}


def test_class_folders(tmp_path):
    classes = ('cat', 'dog')

    def train(folder):
        dataset = dict(
            type='mmpretrain.CustomDataset', data_root=str(folder),
            ann_file='train.txt', data_prefix='images',
            metainfo=dict(classes=classes))
        labels = check('mmpretrain', dataset).get_gt_labels()
        assert set(labels) <= {0, 1}

    def look(folder):
        found = inspect_folders(ImageFolder(str(folder / 'images')), bool)
        for line in found.errors.lines():
            check_message(f'{folder}: {line}', folder)

    for road in (train, look):
        road(write(tmp_path / 'good', FOLDERS))
    for folder in variants(FOLDERS, tmp_path):
        answered(train, folder)
        answered(look, folder)


BOX = dict(category_id=1, bbox=[1, 2, 9, 8], area=72, iscrowd=0,
           instance_id=1, mot_conf=1., visibility=.5)
CROWD = {
    f'train/v/img1/{index}.jpg': picture('JPEG') for index in (1, 2)} | {
    'ann.json': json.dumps(dict(
        categories=[dict(id=1, name='pedestrian')],
        videos=[dict(id=1, name='v')],
        images=[dict(id=index + 1, video_id=1, frame_id=index, width=40,
                     height=20, file_name=f'v/img1/{index + 1}.jpg')
                for index in (0, 1)],
        annotations=[dict(BOX, id=1, image_id=1),
                     dict(BOX, id=2, image_id=2)]))}


def test_many_objects(tmp_path):
    def train(folder):
        dataset = dict(
            type='MOTChallengeDataset', data_root=str(folder),
            ann_file='ann.json', data_prefix=dict(img_path='train'),
            metainfo=dict(classes=('pedestrian', )), test_mode=True)
        for item in check('mmdet', dataset)[0]['instances'][0]:
            np.array([item[key] for key in (
                'instance_id', 'mot_conf', 'visibility')], float)

    train(write(tmp_path / 'good', CROWD))
    for folder in variants(CROWD, tmp_path):
        answered(train, folder)


FRAMES = {f'{name}.jpg': picture('JPEG') for name in (
    '00000001', '00000002', '00000003')}
BOXES = '1,2,10,9\n2,3,10,9\n3,4,10,9\n'


def frames(folder, names):
    return {f'{folder}/{name}': content for name, content in
            zip(names, FRAMES.values())}


VIDEOS = dict(
    GOT10k=(dict(split='train'), {
        **frames('train/a', FRAMES), 'train/list.txt': 'a\n',
        'train/a/groundtruth.txt': BOXES, 'train/a/cover.label': '8\n8\n3\n',
        'train/a/absence.label': '0\n0\n1\n',
        'train/a/cut_by_image.label': '0\n0\n1\n'}),
    LaSOT=(dict(ann_file='list.txt'), {
        **frames('cat/cat-1/img', FRAMES), 'list.txt': 'cat-1\n',
        'cat/cat-1/groundtruth.txt': BOXES, 'att/cat-1.txt': '0,' * 13 + '1',
        'cat/cat-1/full_occlusion.txt': '0,1,0',
        'cat/cat-1/out_of_view.txt': '0,0,0'}),
    TrackingNet=(dict(chunks=('TEST', )), {
        **frames('TEST/frames/a', ('0.jpg', '1.jpg', '2.jpg')),
        'TEST/anno/a.txt': BOXES}),
    VideoFolders=(dict(ann_file='list.txt'), {
        **frames('ball/img', FRAMES), 'list.txt': 'ball\n',
        'ball/groundtruth_rect.txt': BOXES}),
    UAV123=({}, {
        **frames('data_seq/UAV123/bird', (
            '000003.jpg', '000004.jpg', '000005.jpg')),
        'configSeqs.m': "struct('name','bird1','path',"
        "'D:\\data_seq\\UAV123\\bird\\','startFrame',3,'endFrame',5,'nz',6)",
        'anno/UAV123/bird1.txt': BOXES,
        'anno/UAV123/att/bird1.txt': '0,' * 11 + '1'}),
    CocoObjects=(dict(ann_file='ann.json', data_prefix=dict(img='train')),
                 CROWD))


@pytest.mark.parametrize('kind', VIDEOS)
def test_one_object(kind, tmp_path):
    arguments, files = VIDEOS[kind]

    def train(folder):
        dataset = dict(type=f'mmlowformer.{kind}', data_root=str(folder),
                       **arguments)
        assert check('mmdet', dataset)[0]['visible'].any()

    train(write(tmp_path / 'good', files))
    for folder in variants(files, tmp_path):
        answered(train, folder)
