"""tools/data.py, as users run it."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from mmlowformer.datasets.checks.coco import check_coco
from mmlowformer.errors import UserError

from ..custom_data import read, write_custom_data
from ..helpers import ROOT

DATA = ROOT / 'tools/data.py'


@pytest.fixture
def mine(shapes, tmp_path):
    """The folder with everything, and COCO's file of it."""
    write_custom_data(shapes, tmp_path / 'mine')
    shutil.copy(shapes / 'coco/annotations/instances_train2017.json',
                tmp_path / 'mine/all.json')
    return tmp_path / 'mine'


def ran(result):
    assert result.returncode == 0, result.stdout
    return result.stdout


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_convert(run_python, mine, shapes):
    """In a process of its own."""
    result = run_python(DATA, 'convert', 'voc', 'mine/xml', '--out',
                        'mine/new.json')
    assert result.returncode == 0, result.stderr
    assert all(len(line) <= 80 for line in result.stdout.splitlines()
               if str(ROOT) not in line)
    assert '4, 0 without annotations' in result.stdout
    assert 'inspect mine/new.json --images mine/images' in \
        ' '.join(result.stdout.replace('\\\n', ' ').split())
    content, by_image, names = read(shapes)
    found = json.loads((mine / 'new.json').read_text())
    assert [record['file_name'] for record in found['images']] == [
        record['file_name'] for record in content['images']]
    theirs = {item['id']: item['name'] for item in found['categories']}
    assert [(theirs[record['category_id']], record['bbox'])
            for record in found['annotations']] == [
        (names[record['category_id']], record['bbox'])
        for records in by_image.values() for record in records]


def test_order_of_classes(run_here, mine, tmp_path):
    ran(run_here(DATA, 'convert', 'csv', 'mine/boxes.csv', '--out', 'x.json',
                 '--classes', 'star', 'square', 'triangle', 'circle', 'dog',
                 cwd=tmp_path))
    content = json.loads((tmp_path / 'x.json').read_text())
    assert [item['name'] for item in content['categories']] == [
        'star', 'square', 'triangle', 'circle', 'dog']


@pytest.mark.parametrize(('arguments', 'message'), [
    (['voc', 'mine/xml'], 'nothing to write'),
    (['voc', 'mine/xml', '--out', 'x.txt'], 'must end in .json'),
    (['voc', 'mine/xml', '--out', 'mine/all.json'], 'exists already'),
    (['voc', 'mine/none', '--out', 'x.json'], 'mine/none does not exist'),
    (['voc', 'mine/labels', '--out', 'x.json'], 'no file that ends in .xml'),
    (['voc', 'mine/xml', '--out', 'x.json', '--images', 'none'],
     'none is not a folder of images'),
    (['voc', 'mine/xml', '--out', 'x.json', '--images', 'mine/xml'],
     'mine/xml holds no images'),
    (['voc', 'mine/xml', '--out', 'x.json', '--classes', 'star'],
     'unknown class, first:'),
    (['voc', 'mine/xml', '--masks', 'm'], 'is a box without a polygon'),
    (['coco', 'mine/data.yaml', '--out', 'x.json'], 'COCO annotation'),
    (['csv', 'mine/images/000000.jpg', '--out', 'x.json', '--images',
      'mine/images'], 'cannot be read as CSV'),
    (['labelme', 'mine/labelme', '--masks', 'm', '--background', 'star'],
     "the name of a class, 'star'"),
])
def test_what_cannot_be_converted(arguments, message, error_here, mine,
                                  tmp_path):
    before = sorted(tmp_path.rglob('*'))
    said = error_here(DATA, 'convert', *arguments, cwd=tmp_path)
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob('*')) == before


def test_inspect_finds_errors(run_here, mine, tmp_path):
    (mine / 'images/000001.jpg').write_bytes(b'')
    (mine / 'images/000002.jpg').unlink()

    def spoil(content):
        one = content['annotations'][0]
        content['annotations'].append(dict(one, id=900))
        content['annotations'].append(dict(one, id=901, bbox=[60, 0, 50, 9]))
        content['annotations'].append(dict(one, id=902, bbox=[6, 0, 0, 9]))

    edit(mine / 'all.json', spoil)
    result = run_here(DATA, 'inspect', 'mine/all.json', cwd=tmp_path)
    assert result.returncode == 1
    shown = ' '.join(result.stdout.split())
    for fault in ('image that cannot be read', 'image that is not in',
                  'duplicate box', 'box beyond its image',
                  'box without an area'):
        assert f'1 x {fault}' in shown
    assert (tmp_path / 'preview.png').exists()
    # The next one has another name.
    run_here(DATA, 'inspect', 'mine/all.json', cwd=tmp_path)
    assert (tmp_path / 'preview-2.png').exists()


def test_inspect_compares_with_anchors(run_here, mine, tmp_path):
    shown = ran(run_here(DATA, 'inspect', 'mine/all.json', cwd=tmp_path))
    assert '32 to 813 pixels' in shown
    assert 'images resized to 128x128' in ' '.join(shown.split())
    assert 'No errors' in shown
    for part in ('train', 'val'):
        shutil.copy(mine / 'all.json', mine / f'{part}.json')
    ran(run_here(DATA, 'config', 'boxes', 'mine', '--arch', 'b0',
                 cwd=tmp_path))

    def shrink(content):
        for record in content['annotations']:
            record['bbox'] = [0, 0, 2, 2]
            record['image_id'] = content['annotations'][0]['image_id']
            record['bbox'][0] = record['id']

    edit(mine / 'all.json', shrink)
    shown = ' '.join(ran(run_here(
        DATA, 'inspect', 'mine/all.json', '--config',
        'mine/retinanet_lowformer_b0_custom.py', cwd=tmp_path)).split())
    assert 'are too small: a larger image_size, or tiles' in shown
    assert '0% of the boxes' in shown


def test_inspect_masks(run_here, mine, tmp_path):
    ran(run_here(DATA, 'convert', 'labelme', 'mine/labelme', '--masks',
                 'mine/masks', cwd=tmp_path))
    assert 'No errors' in ran(run_here(DATA, 'inspect', 'mine/masks',
                                       cwd=tmp_path))
    cv2.imwrite(str(mine / 'masks/000000.jpg.png'),
                np.full((64, 64), 7, np.uint8))
    cv2.imwrite(str(mine / 'masks/000001.jpg.png'), np.zeros((9, 9)))
    cv2.imwrite(str(mine / 'masks/000002.jpg.png'), np.zeros((64, 64, 3)))
    (mine / 'masks/000003.jpg.png').unlink()
    result = run_here(DATA, 'inspect', 'mine/masks', cwd=tmp_path)
    assert result.returncode == 1
    shown = ' '.join(result.stdout.split())
    for fault in ('mask that has a value beyond the 5 classes',
                  'mask that has another size than its image',
                  'mask that has several channels', 'image without a mask'):
        assert f'1 x {fault}' in shown


def test_inspect_lists_beside_folders(run_here, shapes, tmp_path):
    """Of a class that was added later, the lists know nothing."""
    shutil.copytree(shapes / 'folders/train', tmp_path / 'mine/images')
    for image in (tmp_path / 'mine/images').rglob('*.jpg'):
        shutil.copy(image, image.with_stem(f'{image.stem}_again'))
    ran(run_here(DATA, 'split', 'mine/images', cwd=tmp_path))
    ran(run_here(DATA, 'inspect', 'mine/images', cwd=tmp_path))
    (tmp_path / 'mine/images/circle').rename(tmp_path / 'mine/images/wheel')
    result = run_here(DATA, 'inspect', 'mine/images', cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert 'list whose class numbers differ' in result.stdout


def test_inspect_folders(run_here, shapes, tmp_path):
    shutil.copytree(shapes / 'folders/train', tmp_path / 'classes')
    (tmp_path / 'classes/none').mkdir()
    shutil.copy(tmp_path / 'classes/star/000003.jpg', tmp_path / 'classes')
    shown = ran(run_here(DATA, 'inspect', 'classes', cwd=tmp_path))
    assert shown.index('Warnings') < shown.index(
        '1 x class without images, first: none')
    assert "1 x image outside the class folders" in shown


@pytest.mark.parametrize(('make', 'message'), [
    (lambda root: shutil.copytree(root / 'star', root / 'Star'),
     'two classes of one name'),
    (lambda root: shutil.copy(root / 'star/000003.jpg',
                              root / 'circle/x.jpg'),
     'image in two classes, first: circle/x.jpg and star/000003.jpg'),
    (lambda root: shutil.copytree(root / 'star', root / '.cache'), 'hidden'),
    (lambda root: shutil.copytree(root / 'star', root / 'circle/.cache'),
     'hidden folder')])
def test_inspect_finds_classes_that_overlap(make, message, run_here, shapes,
                                            tmp_path):
    shutil.copytree(shapes / 'folders/train', tmp_path / 'classes')
    make(tmp_path / 'classes')
    result = run_here(DATA, 'inspect', 'classes', cwd=tmp_path)
    # A training accepts an image in two classes.
    assert result.returncode == (not message.startswith('image in'))
    assert message in ' '.join(result.stdout.split())


def test_inspect_finds_masks_that_overlap(run_here, mine, tmp_path):
    ran(run_here(DATA, 'convert', 'labelme', 'mine/labelme', '--masks',
                 'mine/masks', cwd=tmp_path))
    (mine / 'masks/000000.jpg.png').rename(mine / 'masks/000000.png')
    shutil.copy(mine / 'images/000000.jpg', mine / 'images/000000.jpeg')
    (mine / 'masks/classes.txt').write_text('a\nb\nc\nd\ne\n')
    result = run_here(DATA, 'inspect', 'mine/masks', cwd=tmp_path)
    assert result.returncode == 1
    assert '1 x mask of two images' in ' '.join(result.stdout.split())
    (mine / 'masks/classes.txt').write_text('a\nb\nc\nd\nD\n')
    result = run_here(DATA, 'inspect', 'mine/masks', cwd=tmp_path)
    assert 'two classes of one name' in ' '.join(result.stdout.split())


@pytest.mark.parametrize('name', [b'a\xff.jpg', b'a\nb.jpg', b'a\x1b.jpg',
                                  b' a.jpg', b'a\nb/0.jpg'])
def test_split_writes_names_that_can_be_read(name, error_here, shapes,
                                             tmp_path):
    """A list has one in a line."""
    shutil.copytree(shapes / 'folders/train/star', tmp_path / 'images')
    path = os.path.join(os.fsencode(tmp_path / 'images'), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(tmp_path / 'images/000003.jpg', path)
    said = error_here(DATA, 'split', 'images', '--val', 0.5, cwd=tmp_path)
    assert 'that is not a file name' in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize('name', ['\u0645\u06cc\u200c\u062e.jpg',
                                  'a\u3000b.jpg'])
def test_names_in_any_script(name, run_here, tmp_path):
    scene(tmp_path)
    (tmp_path / 'images/a.png').rename(tmp_path / 'images' / name)
    edit(tmp_path / 'all.json', lambda c: (
        c['images'][0].update(file_name=name),
        c['categories'][0].update(name=name)))
    assert 'No errors' in ran(run_here(DATA, 'inspect', 'all.json',
                                       cwd=tmp_path))


def test_split_numbers_folders_as_training_does(error_here, shapes, tmp_path):
    """One without images would shift the classes behind it."""
    shutil.copytree(shapes / 'folders/train', tmp_path / 'classes')
    (tmp_path / 'classes/bone').mkdir()
    assert 'classes/bone' in error_here(DATA, 'split', 'classes', '--out',
                                        'out', cwd=tmp_path)
    assert not (tmp_path / 'out').exists()


def test_split_keeps_groups(run_here, mine, tmp_path):
    ran(run_here(DATA, 'split', 'mine/all.json', '--val', 0.25, '--test',
                 0.25, '--out', 'parts', cwd=tmp_path))
    parts = [json.loads((tmp_path / f'parts/{part}.json').read_text())
             for part in ('train', 'val', 'test')]
    assert [len(part['images']) for part in parts] == [2, 1, 1]
    for part in parts:
        known = {image['id'] for image in part['images']}
        assert {record['image_id'] for record in part['annotations']} <= known
        assert len(part['categories']) == 4
    names = (tmp_path / 'parts/train.txt').read_text().split()
    assert names == [image['file_name'] for image in parts[0]['images']]


@pytest.mark.parametrize(('arguments', 'message'), [
    (['mine/all.json', '--val', 1], 'must be above 0'),
    (['mine/all.json', '--val', 0.6, '--test', 0.6], 'must be above 0'),
    (['mine/none.json'], 'does not exist'),
    (['mine/all.json', '--group', '0000'], 'cannot be split into 2 parts'),
    (['mine/all.json', '--group', 'x'], 'does not match'),
    (['mine/labels'], 'holds no images'),
])
def test_what_cannot_be_split(arguments, message, error_here, mine, tmp_path):
    assert message in error_here(DATA, 'split', *arguments, cwd=tmp_path)
    assert not (mine / 'train.json').exists()


def test_split_keeps_what_it_does_not_know(run_here, mine, tmp_path):
    edit(mine / 'all.json', lambda c: c.update(info=dict(by='\ud800', at='Ä')))
    ran(run_here(DATA, 'split', 'mine/all.json', cwd=tmp_path))
    assert json.loads((mine / 'val.json').read_text())['info'] == dict(
        by='\ud800', at='Ä')


def test_split_overwrites_nothing(run_here, error_here, mine, tmp_path):
    (mine / 'val.txt').write_text('mine')
    assert 'val.txt exists already' in error_here(
        DATA, 'split', 'mine/all.json', cwd=tmp_path)
    assert not (mine / 'train.json').exists()
    assert (mine / 'val.txt').read_text() == 'mine'


def scene(folder):
    """An image of 300x200, with a box where each tile is alike."""
    images = folder / 'images'
    images.mkdir()
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[90:110, 140:170] = 255
    cv2.imwrite(str(images / 'a.png'), pixels)
    (folder / 'all.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.png', width=300, height=200)],
        categories=[dict(id=1, name='bar')], annotations=[dict(
            id=1, image_id=1, category_id=1, iscrowd=0, area=600,
            bbox=[140, 90, 30, 20],
            segmentation=[[140, 90, 170, 90, 170, 110, 140, 110]])])))


def test_boxes_are_where_they_were(run_here, tmp_path):
    """Every tile is white in its boxes, and black elsewhere."""
    scene(tmp_path)
    ran(run_here(DATA, 'tile', 'all.json', '--tile-size', 64, '--out', 'tiles',
                 '--min-visible', 0, cwd=tmp_path))
    content = json.loads((tmp_path / 'tiles/annotations.json').read_text())
    boxes = {record['image_id']: record for record in content['annotations']}
    assert boxes
    # As many without a box as with one.
    assert len(content['images']) == 2 * len(boxes)
    for image in content['images']:
        assert image['source'] == 'a.png'
        pixels = cv2.imread(str(tmp_path / 'tiles/images' /
                                image['file_name']))[..., 0]
        assert pixels.shape == (image['height'], image['width']) == (64, 64)
        expected = np.zeros((64, 64))
        if image['id'] in boxes:
            x, y, width, height = boxes[image['id']]['bbox']
            expected[y:y + height, x:x + width] = 255
        np.testing.assert_array_equal(pixels, expected)
    ran(run_here(DATA, 'convert', 'coco', 'tiles/annotations.json', '--masks',
                 'tiles/masks', cwd=tmp_path))
    for image in content['images']:
        name = image['file_name']
        mask = cv2.imread(str(tmp_path / f'tiles/masks/{name}.png'), 0)
        pixels = cv2.imread(str(tmp_path / f'tiles/images/{name}'), 0)
        np.testing.assert_array_equal(mask * 255, pixels)


def test_tiles_keep_run_lengths(run_here, tmp_path):
    scene(tmp_path)
    inside = np.zeros((200, 300), np.uint8, order='F')
    inside[90:110, 140:150] = 1
    runs = coco_masks.encode(inside)
    edit(tmp_path / 'all.json', lambda c: c['annotations'][0].update(
        segmentation=dict(size=[200, 300], counts=runs['counts'].decode())))
    ran(run_here(DATA, 'tile', 'all.json', '--tile-size', 64, '--out', 'tiles',
                 '--min-visible', 0, '--negatives', 0, cwd=tmp_path))
    content = json.loads((tmp_path / 'tiles/annotations.json').read_text())
    assert content['annotations']
    for image, record in zip(content['images'], content['annotations']):
        left, top = image['offset']
        tile = coco_masks.decode(record['segmentation'])
        np.testing.assert_array_equal(
            tile, inside[top:top + 64, left:left + 64])
        assert record['area'] == tile.sum() > 0


def spoil_size(content):
    content['images'][0].update(width=200, height=300)


def spoil_mask(content):
    content['annotations'][0]['segmentation'] = [[1, 2, 3]]


def share_a_name(content):
    content['categories'].append(dict(id=2, name='Bar'))


@pytest.mark.parametrize('command', [
    ['inspect', 'all.json'], ['tile', 'all.json', '--out', 'out'],
    ['split', 'all.json', '--out', 'out'],
    ['convert', 'coco', 'all.json', '--out', 'out.json', '--clip']])
@pytest.mark.parametrize(('spoil', 'message'), [
    (spoil_size, 'size that differs from the image'),
    (spoil_mask, 'three points'), (share_a_name, 'two classes of one name'),
    (lambda c: c['annotations'][0].update(bbox=[30, 20, 0, 0]), 'area')])
def test_every_command_sees_it(command, spoil, message, run_here, tmp_path):
    scene(tmp_path)
    edit(tmp_path / 'all.json', spoil)
    result = run_here(DATA, *command, cwd=tmp_path)
    text = result.stdout + (result.stderr or '')
    assert result.returncode == 1, text
    assert message in ' '.join(text.split())
    assert command[0] != 'convert' or '--clip' not in text
    assert 'Traceback' not in text


def test_what_a_tile_holds_little_of_is_ignored(run_here, tmp_path):
    scene(tmp_path)
    ran(run_here(DATA, 'tile', 'all.json', '--tile-size', 64, '--out', 'tiles',
                 '--min-visible', 0.8, '--negatives', 0, cwd=tmp_path))
    content = json.loads((tmp_path / 'tiles/annotations.json').read_text())
    for record in content['annotations']:
        width, height = record['bbox'][2:]
        assert record['iscrowd'] == (width * height < 0.8 * 600)
    assert {record['iscrowd'] for record in content['annotations']} == {0, 1}


def all_in_shares(content):
    content['annotations'][0].update(bbox=[.4, .4, .1, .1], segmentation=[])


def nothing_at_all(content):
    content.update(images=[], annotations=[])


def refused_by_training(tmp_path):
    dataset = dict(ann_file=str(tmp_path / 'all.json'),
                   data_prefix=dict(img=str(tmp_path / 'images')))
    with pytest.raises(UserError) as error:
        check_coco(dataset, ('bar', ), None, 'train_dataloader')
    return str(error.value).split(': ', 1)[-1]


@pytest.mark.parametrize('command', [
    ['inspect', 'all.json'], ['tile', 'all.json', '--out', 'out'],
    ['split', 'all.json', '--out', 'out']])
@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda c: c['annotations'][0].update(iscrowd=1), 'ignored'),
    (all_in_shares, 'multiply them by width'),
    (lambda c: c.update(annotations=[]), 'no annotations'),
    (nothing_at_all, 'no annotations')])
def test_what_training_refuses(command, spoil, message, run_here, tmp_path):
    scene(tmp_path)
    edit(tmp_path / 'all.json', spoil)
    assert message in refused_by_training(tmp_path)
    result = run_here(DATA, *command, cwd=tmp_path)
    assert result.returncode == 1
    assert message in ' '.join(result.stdout.split())
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('command', [
    ['inspect', 'all.json'], ['split', 'all.json', '--out', 'out']])
@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda c: c['annotations'][0].pop('id'), 'annotation without id'),
    (lambda c: c['annotations'][0].pop('area'), 'annotation without area'),
    # It would be found below images/, but not where a training looks.
    (lambda c: c['images'][0].update(file_name='far/a.png'),
     'at another path')])
def test_what_only_training_refuses(command, spoil, message, run_here,
                                    tmp_path):
    scene(tmp_path)
    edit(tmp_path / 'all.json', spoil)
    assert message in refused_by_training(tmp_path)
    result = run_here(DATA, *command, cwd=tmp_path)
    assert result.returncode == 1
    assert message in ' '.join(result.stdout.split())
    assert not (tmp_path / 'out').exists()


def test_inspect_knows_the_filter_of_a_config(run_here, tmp_path):
    scene(tmp_path)
    cv2.imwrite(str(tmp_path / 'images/a.png'), np.zeros((30, 300, 3)))
    edit(tmp_path / 'all.json', lambda c: (
        c['images'][0].update(height=30),
        c['annotations'][0].update(bbox=[0, 0, 9, 9], segmentation=[])))
    result = run_here(DATA, 'inspect', 'all.json', '--config', ROOT /
                      'configs/retinanet_lowformer_b0_coco.py', cwd=tmp_path)
    assert result.returncode == 1
    assert 'filter_cfg.min_size' in result.stdout
    ran(run_here(DATA, 'inspect', 'all.json', cwd=tmp_path))


def test_tiles_that_teach_nothing_are_not_written(error_here, tmp_path):
    scene(tmp_path)
    edit(tmp_path / 'all.json', lambda c: c['annotations'][0].update(
        bbox=[50, 50, 100, 100], segmentation=[]))
    assert 'another --min-visible' in error_here(
        DATA, 'tile', 'all.json', '--tile-size', 64, '--out', 'tiles',
        '--min-visible', 1, cwd=tmp_path)
    assert not (tmp_path / 'tiles').exists()


def test_part_that_teaches_nothing_is_not_written(error_here, mine, tmp_path):
    def keep_one(content):
        first = content['images'][0]['id']
        content['annotations'] = [item for item in content['annotations']
                                  if item['image_id'] == first]

    edit(mine / 'all.json', keep_one)
    said = error_here(DATA, 'split', 'mine/all.json', cwd=tmp_path)
    assert 'of mine/all.json' in said
    assert 'another --seed' in said
    assert not list(mine.glob('*.txt'))


def test_warnings_of_a_split_are_short(run_here, mine, tmp_path):
    """Of classes in a single image, and of those in none."""
    def add(content):
        content['categories'].extend(
            dict(id=100 + index, name=f'{index}' + 'x' * 3000)
            for index in range(300))
        first = content['annotations'][0]
        content['annotations'].extend(
            dict(first, id=900 + index, category_id=100 + index)
            for index in range(150))

    edit(mine / 'all.json', add)
    shown = ' '.join(ran(run_here(DATA, 'split', 'mine/all.json',
                                  cwd=tmp_path)).split())
    assert shown.count('and 140 more: tools/data.py convert --drop-unused') \
        == 1
    assert 'more: try another --seed' in shown
    assert shown.count('Warning') <= 4
    assert len(shown) < 5000


def test_convert_says_that_training_would_refuse(run_here, mine, tmp_path):
    for file in (mine / 'xml').glob('*.xml'):
        file.write_text(file.read_text().replace(
            '</name>', '</name><difficult>1</difficult>'))
    shown = ran(run_here(DATA, 'convert', 'voc', 'mine/xml', '--out', 'x.json',
                         cwd=tmp_path))
    assert 'a training would refuse it' in ' '.join(shown.split())
    assert (tmp_path / 'x.json').exists()


def test_convert_counts_hidden_images(run_here, mine, tmp_path):
    (mine / 'images/.ipynb_checkpoints').mkdir()
    shutil.copy(mine / 'images/000000.jpg',
                mine / 'images/.ipynb_checkpoints/000000-checkpoint.jpg')
    assert '1 hidden left out' in ' '.join(ran(run_here(
        DATA, 'convert', 'voc', 'mine/xml', '--out', 'x.json',
        cwd=tmp_path)).split())


@pytest.mark.parametrize(('kind', 'source', 'file', 'old', 'new'), [
    ('voc', 'xml', 'xml/000000.xml', '<object>', '<object><name>Circle</name>'
     '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>'
     '</bndbox></object><object><name>circle</name>'),
    ('labelme', 'labelme', 'labelme/000000.json', '"shapes": [',
     '"shapes": [{"label": "Circle", "points": [[1,1],[9,1],[9,9]]}, '
     '{"label": "circle", "points": [[1,1],[9,1],[9,9]]}, '),
    ('csv', 'boxes.csv', 'boxes.csv', '\n000000', '\n000000.jpg,Circle,1,1,'
     '9,9\n000000.jpg,circle,1,1,9,9\n000000'),
])
def test_classes_that_share_a_name(kind, source, file, old, new, error_here,
                                   mine, tmp_path):
    path = mine / file
    path.write_text(path.read_text().replace(old, new, 1))
    assert 'two classes of one name' in error_here(
        DATA, 'convert', kind, f'mine/{source}', '--out', 'x.json',
        cwd=tmp_path)
    assert not (tmp_path / 'x.json').exists()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--tile-size', 8], 'at least 32 pixels'),
    (['--overlap-ratio', 2], 'overlap 2'),
    (['--negatives', -1], '--negatives at least 0'),
    (['--min-visible', 3], '--min-visible must be'),
    (['--out', 'images'], 'images exists already'),
])
def test_what_cannot_be_tiled(arguments, message, error_here, tmp_path):
    scene(tmp_path)
    assert message in error_here(DATA, 'tile', 'all.json', '--out', 'tiles',
                                 *arguments, cwd=tmp_path)
    assert not (tmp_path / 'tiles').exists()
