"""Other tools' annotations: what is read, and what is refused."""
import json
import os
import random

import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.checks.coco_file import parts_of
from mmlowformer.datasets.formats import (
    READERS,
    Faults,
    ImageFolder,
    Picture,
    Shape,
    as_coco,
    checked_pictures,
)
from mmlowformer.datasets.polygon_masks import mask_of_shapes
from mmlowformer.errors import UserError

from ..mutations import check_message, mutated
from ..own_data import voc, voc_object


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    (folder / 'b').mkdir(parents=True)
    for name in ('a.jpg', 'b/c.PNG'):
        Image.new('RGB', (40, 20)).save(folder / name)
    return folder


def read(kind, source, images, *, clip=False, **options):
    """Pictures by name, the classes, and kinds of faults with examples."""
    faults = Faults()
    pictures, classes = READERS[kind](str(source), ImageFolder(str(images)),
                                      faults, **options)
    pictures, dropped = checked_pictures(pictures, classes, faults, clip=clip)
    return ({picture.name: picture.shapes for picture in pictures}, classes,
            '; '.join(faults.lines()), dropped)


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content)
    return folder


def test_voc_counts_from_1(images, tmp_path):
    """The first ten pixels are 1 to 10 there, 0 to 10 here."""
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('dog', (1, 1, 10, 20)),
        voc_object('cat', (31, 1, 40, 20), '<difficult>1</difficult>')])})
    pictures, classes, faults, _ = read('voc', source, images)
    assert not faults
    assert classes is None
    dog, cat = pictures['a.jpg']
    assert dog.box == (0, 0, 10, 20)
    assert cat.box == (30, 0, 40, 20)
    assert (dog.ignored, cat.ignored) == (False, True)
    # Nothing is marked in the other one, which is kept.
    assert pictures['b/c.PNG'] == []
    pictures, *_ = read('voc', source, images, labelled_only=True)
    assert list(pictures) == ['a.jpg']


def test_voc_of_tools_that_count_from_0(images, tmp_path):
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (0, 0), [
        voc_object('dog', (0, 0, 10, 20))])})
    assert read('voc', source, images, zero_based=True)[0]['a.jpg'][0].box \
        == (0, 0, 10, 20)
    # A pixel beyond the image is cut.
    assert read('voc', source, images)[0]['a.jpg'][0].box == (0, 0, 10, 20)


def test_voc_of_renamed_images(images, tmp_path):
    source = write(tmp_path / 'xml', {'b/c.xml': voc('DSC1.JPG', (40, 20), [
        voc_object('dog', (1, 1, 10, 20))])})
    pictures, _, faults, _ = read('voc', source, images)
    assert not faults
    assert len(pictures['b/c.PNG']) == 1


@pytest.mark.parametrize(('content', 'fault'), [
    ('<annotation><filename>', 'file that is no XML'),
    (b'\xff\xfe<', 'file that is no XML'),
    ('<xml/>', 'XML file that is no annotation of VOC'),
    (voc('none.jpg', (1, 1), []), 'image that is not in'),
    (voc('a.jpg', (20, 40), []), 'size that is not that of the image'),
    (voc('a.jpg', (40, 20), ['<object><name>x</name></object>']),
     'object without a box of four numbers'),
    (voc('a.jpg', (40, 20), [voc_object('x', (1, 1, 'nan', 5))]),
     "'nan' is no finite number"),
    (voc('a.jpg', (40, 20), [voc_object('', (1, 1, 5, 5))]),
     'object without a class'),
    (voc('a.jpg', (40, 20), [voc_object('x', (9, 1, 5, 5))]),
     'box without an area'),
    (voc('a.jpg', (40, 20), [voc_object('x', (9, 1, 50, 5))]),
     'object 1, 8 0 50 5 of 40x20'),
])
def test_broken_voc(content, fault, images, tmp_path):
    source = write(tmp_path / 'xml', {'other.xml': content})
    assert fault in read('voc', source, images)[2]


def test_clipped(images, tmp_path):
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('x', (9, 1, 50, 5)), voc_object('x', (50, 1, 60, 5))])})
    pictures, _, faults, dropped = read('voc', source, images, clip=True)
    assert not faults
    assert [shape.box for shape in pictures['a.jpg']] == [(8, 0, 40, 5)]
    assert dropped == 1


def test_swapped_corners_are_not_clipped(images, tmp_path):
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('x', (9, 9, 5, 5))])})
    assert 'box without an area' in read('voc', source, images, clip=True)[2]


def test_two_files_of_an_image(images, tmp_path):
    one = voc('a.jpg', (40, 20), [])
    source = write(tmp_path / 'xml', {'1.xml': one, '2.xml': one})
    assert 'image with a second file' in read('voc', source, images)[2]


def test_names_that_several_images_have(images, tmp_path):
    Image.new('RGB', (40, 20)).save(images / 'b/a.jpg')
    source = write(tmp_path / 'labels', {'classes.txt': 'dog\n',
                                         'a.txt': '', 'c.txt': ''})
    # Nearest is a.jpg, and c is in a sub-folder.
    assert not read('yolo', source, images)[2]
    Image.new('RGB', (40, 20)).save(images / 'b/c.jpg')
    assert 'image name that several images have' in read(
        'yolo', source, images)[2]


def test_yolo(images, tmp_path):
    source = write(tmp_path / 'set', {
        'data.yaml': 'names: {0: dog, 1: cat}\n', 'labels/a.txt':
        '1 0.5 0.5 0.5 1.0\n\n0 0 0 0.5 0 0.5 0.5\n', 'labels/b/c.txt': ''})
    pictures, classes, faults, _ = read('yolo', source / 'labels', images)
    assert not faults
    assert classes == ['dog', 'cat']
    box, polygon = pictures['a.jpg']
    assert (box.label, box.box) == ('cat', (10, 0, 30, 20))
    assert polygon.box == (0, 0, 20, 10)
    assert polygon.segmentation == [[0, 0, 20, 0, 20, 10]]


@pytest.mark.parametrize(('line', 'fault'), [
    ('2 0.5 0.5 0.5 0.5', 'class beyond the 2 that have names'),
    ('-1 0.5 0.5 0.5 0.5', 'class beyond the 2 that have names'),
    ('dog 0.5 0.5 0.5 0.5', 'line that is not a class and numbers'),
    ('0 0.5 0.5 0.5', 'neither a box'),
    ('0 0.5 0.5 0.5 0.5 0.9', 'neither a box'),
    ('0 10 10 30 20', 'no share of the image'),
    ('0 0.5 0.5 inf 0.5', 'no finite number'),
    ('0 0.5 0.5 0.0 0.5', 'box without an area'),
])
def test_broken_yolo(line, fault, images, tmp_path):
    source = write(tmp_path / 'labels', {'classes.txt': 'dog\ncat\n',
                                         'a.txt': line})
    assert fault in read('yolo', source, images)[2]


@pytest.mark.parametrize(('files', 'error'), [
    ({}, 'Name that file with --classes-file'),
    ({'data.yaml': 'nc: 3\nnames: [dog]\n'}, 'nc is 3, names has 1'),
    ({'data.yaml': 'names: dog\n'}, 'names is no list'),
    ({'data.yaml': 'names: {0: dog, 2: cat}\n'}, 'does not name the classes'),
    ({'data.yaml': 'nc: 3\n'}, 'does not name the classes'),
    ({'data.yaml': '{'}, 'does not name the classes'),
    ({'classes.txt': '\n'}, 'classes.txt is empty'),
])
def test_classes_of_yolo(files, error, images, tmp_path):
    source = write(tmp_path / 'x/y/labels', {'a.txt': '', **files})
    with pytest.raises(UserError, match=error):
        read('yolo', source, images)


@pytest.mark.parametrize('text', [
    'filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,10,0,30,20\n',
    '\ufeffimage;x;y;w;h;label\nphotos\\a.jpg;10;0;20;20;dog\n',
    'class\tpath\tleft\ttop\tright\tbottom\ndog\t/x/images/a.jpg\t10\t0\t30'
    '\t20\n',
    # TensorFlow's have the size of the image.
    'filename,width,height,class,xmin,ymin,xmax,ymax\n'
    'a.jpg,40,20,dog,10,0,30,20\n',
])
def test_csv(text, images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text(text, encoding='utf-8')
    pictures, _, faults, _ = read('csv', file, images)
    assert not faults
    shape, = pictures['a.jpg']
    assert (shape.label, shape.box) == ('dog', (10, 0, 30, 20))


def test_csv_with_empty_images(images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text('filename,class,xmin,ymin,xmax,ymax\nc.PNG,,,,,\n')
    assert read('csv', file, images, labelled_only=True)[0] == {'b/c.PNG': []}


@pytest.mark.parametrize(('text', 'error'), [
    ('a.jpg,10,0,30,20,dog\n', 'has no column for the file'),
    ('filename,xmin,ymin,xmax,ymax\n', 'has no column for the class'),
    ('filename,class,xmin,ymin\n', 'has no column for the box'),
    ('', 'has no column for the file'),
])
def test_broken_csv(text, error, images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text(text)
    with pytest.raises(UserError, match=error):
        read('csv', file, images)


@pytest.mark.parametrize(('row', 'fault'), [
    ('x.jpg,dog,1,2,3,4', 'image that is not in'),
    ('a.jpg,dog,1,2,3', 'line without a box of four numbers'),
    ('a.jpg,dog,1,2,3,x', 'line without a box of four numbers'),
    ('a.jpg,,1,2,3,4', 'object without a class'),
])
def test_broken_rows(row, fault, images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text(f'filename,class,xmin,ymin,xmax,ymax\n{row}\n')
    found = read('csv', file, images)[2]
    assert fault in found
    assert 'line 2' in found


def labelme(*shapes, **changes):
    return json.dumps(dict(
        imagePath='a.jpg', imageWidth=40, imageHeight=20, shapes=shapes,
        **changes))


def shape(points, **changes):
    return dict(label='dog', points=points, **changes)


def test_labelme(images, tmp_path):
    source = write(tmp_path / 'json', {'a.json': labelme(
        shape([[0, 0], [10, 0], [10, 10]]),
        shape([[30, 20], [20, 10]], shape_type='rectangle'),
        shape([[20, 10], [25, 10]], shape_type='circle'),
        shape([[0, 0], [4, 0], [4, 4]], group_id=1),
        shape([[8, 8], [9, 8], [9, 9]], group_id=1))})
    pictures, _, faults, _ = read('labelme', source, images)
    assert not faults
    boxes = [item.box for item in pictures['a.jpg']]
    assert boxes == [(0, 0, 10, 10), (20, 10, 30, 20), (15, 5, 25, 15),
                     (0, 0, 9, 9)]
    assert len(pictures['a.jpg'][-1].segmentation) == 2


@pytest.mark.parametrize(('content', 'fault'), [
    ('{', 'file that is not of LabelMe'), ('[]', 'file that is not of Label'),
    (labelme(shape([[1, 2]], shape_type='point')), "shape_type is 'point'"),
    (labelme(shape([[1, 2], [3, 4]])), 'it has 2 points'),
    (labelme(shape([[1, 2, 3]])), 'shape that is no area'),
    (labelme('x'), 'shape that is no area'),
    (labelme(shape([[0, 0], [9, 0], [9, 9]])).replace('"dog"', 'null'),
     'object without a class'),
    (labelme().replace('40', '41'), 'size that is not that of the image'),
])
def test_broken_labelme(content, fault, images, tmp_path):
    source = write(tmp_path / 'json', {'a.json': content})
    assert fault in read('labelme', source, images)[2]


def test_images_that_cannot_be_read(images, tmp_path):
    (images / 'empty.jpg').write_bytes(b'')
    (images / 'text.jpg').write_text('no image')
    file = tmp_path / 'boxes.csv'
    file.write_text('filename,class,xmin,ymin,xmax,ymax\n')
    faults = read('csv', file, images)[2]
    assert '2 x image that cannot be read' in faults
    assert 'empty.jpg, it is empty (0 bytes)' in faults


def test_turned_images(tmp_path):
    """Boxes are in the upright image, as the data sets load it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (40, 20)).save(tmp_path / 'images/a.jpg', exif=exif)
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (20, 40), [
        voc_object('dog', (1, 1, 20, 40))])})
    assert not read('voc', source, tmp_path / 'images')[2]


def test_coco():
    """Numbers from 1, in the classes' order, without needless digits."""
    picture = Picture('a.jpg', 40, 20, [
        Shape('dog', (0., 0., 10.5, 1 / 3)),
        Shape('cat', (0, 0, 4, 4), [[0, 0, 4, 0, 4, 4]], ignored=True)])
    content = as_coco([picture], ['cat', 'dog'])
    dog, cat = content['annotations']
    assert dog['category_id'] == 2
    assert dog['bbox'] == [0, 0, 10.5, 0.333]
    assert 'segmentation' not in dog
    assert cat['area'] == 8
    assert (dog['iscrowd'], cat['iscrowd']) == (0, 1)


def test_masks():
    """A rectangle from 10 to 30 is 20 pixels wide."""
    picture = Picture('a.jpg', 40, 20, [
        Shape('dog', (10, 0, 30, 20), [[10, 0, 30, 0, 30, 20, 10, 20]]),
        Shape('cat', (20, 0, 30, 20), [[20, 0, 30, 0, 30, 20, 20, 20]]),
        Shape('cat', (0, 0, 1, 1), [[0, 0, 1, 0, 1, 1, 0, 1]],
              ignored=True)])
    mask = mask_of_shapes(picture, dict(dog=1, cat=2), 0)
    expected = np.zeros((20, 40))
    expected[:, 10:20], expected[:, 20:30], expected[0, 0] = 1, 2, 255
    np.testing.assert_array_equal(mask, expected)
    with pytest.raises(UserError, match='is a box without a polygon'):
        mask_of_shapes(picture._replace(shapes=[
            Shape('dog', (0, 0, 1, 1))]), dict(dog=1), 0)


def test_hidden_and_linked_images(images, tmp_path):
    (images / '.ipynb_checkpoints').mkdir()
    Image.new('RGB', (40, 20)).save(images / '.ipynb_checkpoints/a-1.jpg')
    (tmp_path / 'far').mkdir()
    Image.new('RGB', (40, 20)).save(tmp_path / 'far/d.jpg')
    (images / 'linked').symlink_to(tmp_path / 'far')
    (images / 'b/round').symlink_to(images)
    os.mkfifo(images / 'pipe.jpg')
    found = ImageFolder(str(images))
    assert found.names == ['a.jpg', 'b/c.PNG', 'linked/d.jpg']
    assert found.hidden == 1


@pytest.mark.parametrize('called', ['train/0.jpg', '/far/images/train/0.jpg',
                                    'b/0.jpg', 'b/x/0', '../b/0.jpg'])
def test_image_of_another_part_is_not_taken(images, called):
    (images / 'val').mkdir()
    Image.new('RGB', (40, 20)).save(images / 'val/0.jpg')
    faults = Faults()
    assert ImageFolder(str(images)).find(called, faults, 'here') is None
    assert 'image that is not in' in faults.lines()[0]


def test_missing_image_of_voc_is_not_another(images, tmp_path):
    """A file of its stem is one only if the file names no known folder."""
    (images / 'train').mkdir()
    (images / 'val').mkdir()
    Image.new('RGB', (40, 20)).save(images / 'train/1.jpg')
    Image.new('RGB', (40, 20)).save(images / 'val/0.jpg')
    source = write(tmp_path / 'ann', {'0.xml': voc('train/0.jpg', (40, 20), [])
                                      })
    assert 'image that is not in' in read('voc', source, images)[2]


@pytest.mark.parametrize('kind', ['voc', 'labelme'])
def test_file_called_like_another_image(kind, images, tmp_path):
    content = (voc('a.jpg', (40, 20), []) if kind == 'voc' else
               json.dumps(dict(shapes=[], imagePath='../images/a.jpg')))
    suffix = 'xml' if kind == 'voc' else 'json'
    source = write(tmp_path / 'ann', {f'b/c.{suffix}': content})
    assert 'called like one image and names another' in read(
        kind, source, images)[2]


@pytest.mark.parametrize(('files', 'message'), [
    ({'data.yaml': 'names: [dog]\nkpt_shape: [2, 2]\n'}, 'key points'),
    ({'classes.txt': 'dog\n', '../data.yaml': 'names: [dog]\nkpt_shape: [1, 2]'
      }, 'key points'),
    ({'classes.txt': 'dog\n', 'data.yml': 'kpt_shape:\nnames: [dog]'},
     'key points'),
    ({'classes.txt': 'dog\ncat\n', '../data.yaml': 'names: [cat, dog]'},
     'in another order'),
    ({'data.yaml': 'names: [dog, Dog]\n'}, 'two classes of one name'),
    ({'data.yaml': 'names: {0: dog, 1: cat, 0: cow}\n'}, 'twice'),
    ({'data.yaml': 'names: [dog]\nnames: [cat]\n'}, 'twice'),
    ({'data.yaml': 'names: [yes, no]\n'}, 'quotes'),
    ({'data.yaml': ''}, 'holds no names'),
    ({'data.yaml': '- dog\n'}, 'holds no names'),
    ({'data.yaml': 'names: !!timestamp x\n'}, 'what its tag says'),
    ({'classes.txt': 'dog\ncat\ndog\n'}, 'two classes of one name'),
    ({'data.yaml': '[' * 20_000}, 'does not name the classes'),
    ({'data.yaml': 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{chr(98 + i)}: &{chr(98 + i)} [{f"*{chr(97 + i)}, " * 9}]\n'
        for i in range(12)) + 'names: *m\n'}, 'no list of names'),
    ({'data.yaml': 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{chr(98 + i)}: &{chr(98 + i)} [{f"*{chr(97 + i)}, " * 9}]\n'
        for i in range(12)) + 'names: [dog]\nnc: *m\n'}, 'nc is'),
    ({'data.yaml': '!!python/object/apply:os.system ["true"]\n'},
     'does not name the classes'),
    ({'data.yaml': 'names: null\n'}, 'no list of names'),
    ({'data.yaml': 'names: [dog]\nnc: [1]\n'}, 'nc is')])
def test_classes_that_yolo_cannot_mean(files, message, images, tmp_path):
    source = write(tmp_path / 'labels', {**files, 'a.txt': ''})
    with pytest.raises(UserError, match=message) as error:
        read('yolo', source, images)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize('points', [
    '0.4 0.4 0.6 0.6', '0.4 0.4 2 0.6 0.6 1', '0.4 0.4 0 0 0.6 0.6'])
def test_key_points_are_no_polygons(points, images, tmp_path):
    source = write(tmp_path / 'labels', {
        'classes.txt': 'dog', 'a.txt': f'0 0.5 0.5 0.4 0.4 {points}\n'})
    faults = read('yolo', source, images)[2]
    assert 'key points' in faults or 'no share' in faults


KEY_POINTS = '0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6\n'
# The first is none of a box and points, the second may be by chance.
POLYGON, EITHER = ('0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n',
                   '0 0.5 0.5 0.5 0.6 0.6 0.6 0.6 0.5\n')


@pytest.mark.parametrize(('classes', 'labels', 'count'), [
    ('classes.txt', KEY_POINTS * 3 + POLYGON, 3),
    ('classes.txt', KEY_POINTS + POLYGON * 3, 1),
    ('data.yaml', KEY_POINTS * 3 + POLYGON, 3),
    ('data.yaml', KEY_POINTS * 3 + POLYGON[:-9] + '\n', 3),
    ('data.yaml', POLYGON * 3 + '0 0.5 0.5 0.4 0.4 0.4 0.4 1 0.6 0.6 1\n', 1),
    ('data.yaml', EITHER + POLYGON * 3, 0), ('data.yaml', POLYGON, 0),
    ('classes.txt', POLYGON, 0)])
def test_key_points_among_polygons(classes, labels, count, images, tmp_path):
    """No polygon makes key points polygons; a data.yaml knows of these."""
    source = write(tmp_path / 'labels', {
        classes: 'dog' if classes == 'classes.txt' else 'names: [dog]',
        'a.txt': labels})
    pictures, _, faults, _ = read('yolo', source, images)
    assert faults.startswith(f'{count} x line that may be') == bool(count)
    assert len(pictures['a.jpg']) == labels.count('\n')
    assert not read('yolo', source, images, polygons=True)[2]


VALID = {
    'coco': {'all.json': json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', width=40, height=20)],
        categories=[dict(id=1, name='dog')], annotations=[dict(
            id=1, image_id=1, category_id=1, bbox=[1, 2, 3, 4], area=12,
            iscrowd=0, segmentation=[[1, 2, 4, 2, 4, 6]])]))},
    'voc': {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('dog', (1, 1, 10, 20))])},
    'yolo': {'data.yaml': 'names: {0: dog, 1: cat}\nnc: 2\n',
             'a.txt': '0 0.5 0.5 0.5 1.0\n1 0 0 0 0.5 0.5 0.5\n'},
    'yolo with classes.txt': {
        'classes.txt': 'dog\ncat\n',
        'a.txt': '0 0.5 0.5 0.5 1.0\n1 0 0 0 0.5 0.5 0.5\n'},
    'labelme': {'a.json': json.dumps(dict(
        imagePath='a.jpg', imageWidth=40, imageHeight=20, shapes=[dict(
            label='dog', group_id=1, shape_type='polygon',
            points=[[1, 2], [4, 2], [4, 6]])]))},
    'csv': {'boxes.csv': 'filename,class,xmin,ymin,xmax,ymax\n'
                         'a.jpg,dog,1,2,3,4\n'},
}


@pytest.mark.parametrize('kind', sorted(VALID))
def test_mutations(kind, images, tmp_path):
    """Whatever stands in a file, it is read, or named in a few words."""
    chance = random.Random(0)
    for index in range(250):
        files = dict(VALID[kind])
        name = chance.choice(sorted(files))
        files[name] = mutated(chance, files[name])
        source = write(tmp_path / str(index), files)
        if kind in ('coco', 'csv'):
            source /= name
        try:
            pictures, classes, message, _ = read(kind.split()[0], source,
                                                 images)
        except UserError as error:
            message = str(error)
        if message:
            # Faults name the place, the tool puts the source in front.
            check_message(f'{source}: {message}', source)
            continue
        content = json.loads(json.dumps(as_coco(
            [Picture(name, 40, 20, shapes) for name, shapes
             in pictures.items()], classes or sorted({
                 shape.label for shapes in pictures.values()
                 for shape in shapes}))))
        try:
            parts_of(content, str(source))
        except ValueError as error:
            check_message(f'{source}: {error}', source)
