"""Other tools' annotations: what is read, and what is refused."""
import json
import os
import random

import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.checks.coco_annotations import parts_of
from mmlowformer.datasets.formats import (
    AnnotatedImage,
    Annotation,
    ImageFolder,
    ReadErrors,
    as_coco,
    check_annotations,
    read_annotations,
)
from mmlowformer.datasets.polygon_masks import draw_mask_of
from mmlowformer.errors import AnnotationErrors, UserError

from ..custom_data import voc, voc_object
from ..mutations import check_message, mutated


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    (folder / 'b').mkdir(parents=True)
    for name in ('a.jpg', 'b/c.PNG'):
        Image.new('RGB', (40, 20)).save(folder / name)
    return folder


def read(kind, source, images, *, clip=False, **options):
    """Annotations by image, the classes, the errors, and what was dropped."""
    errors = ReadErrors()
    annotated, classes = read_annotations(
        kind, str(source), ImageFolder(str(images)), errors, **options)
    annotated, dropped = check_annotations(annotated, classes, errors,
                                           clip=clip)
    return ({image.name: image.annotations for image in annotated}, classes,
            '; '.join(errors.lines()), dropped)


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
    annotations, classes, errors, _ = read('voc', source, images)
    assert not errors
    assert classes is None
    dog, cat = annotations['a.jpg']
    assert dog.box == (0, 0, 10, 20)
    assert cat.box == (30, 0, 40, 20)
    assert (dog.ignored, cat.ignored) == (False, True)
    # Nothing is marked in the other one, which is kept.
    assert annotations['b/c.PNG'] == []
    annotations, *_ = read('voc', source, images, labeled_only=True)
    assert list(annotations) == ['a.jpg']


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
    annotations, _, errors, _ = read('voc', source, images)
    assert not errors
    assert len(annotations['b/c.PNG']) == 1


@pytest.mark.parametrize(('content', 'problem'), [
    ('<annotation><filename>', 'invalid XML file'),
    (b'\xff\xfe<', 'invalid XML file'),
    ('<xml/>', 'XML file that is not a VOC annotation'),
    (voc('none.jpg', (1, 1), []), 'image that is not in'),
    (voc('a.jpg', (20, 40), []), 'size that differs from the image'),
    (voc('a.jpg', (40, 20), ['<object><name>x</name></object>']),
     'object without a box of four numbers'),
    (voc('a.jpg', (40, 20), [voc_object('x', (1, 1, 'nan', 5))]),
     "'nan' is not a finite number"),
    (voc('a.jpg', (40, 20), [voc_object('', (1, 1, 5, 5))]),
     'object without a class'),
    (voc('a.jpg', (40, 20), [voc_object('x', (9, 1, 5, 5))]),
     'box without an area'),
    (voc('a.jpg', (40, 20), [voc_object('x', (9, 1, 50, 5))]),
     'object 1, 8 0 50 5 of 40x20'),
])
def test_broken_voc(content, problem, images, tmp_path):
    source = write(tmp_path / 'xml', {'other.xml': content})
    assert problem in read('voc', source, images)[2]


def test_clipped(images, tmp_path):
    source = write(tmp_path / 'xml', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('x', (9, 1, 50, 5)), voc_object('x', (50, 1, 60, 5))])})
    annotations, _, errors, dropped = read('voc', source, images, clip=True)
    assert not errors
    assert [shape.box for shape in annotations['a.jpg']] == [(8, 0, 40, 5)]
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
    assert 'ambiguous image name' in read(
        'yolo', source, images)[2]


def test_yolo(images, tmp_path):
    source = write(tmp_path / 'set', {
        'data.yaml': 'names: {0: dog, 1: cat}\n', 'labels/a.txt':
        '1 0.5 0.5 0.5 1.0\n\n0 0 0 0.5 0 0.5 0.5\n', 'labels/b/c.txt': ''})
    annotations, classes, errors, _ = read('yolo', source / 'labels', images)
    assert not errors
    assert classes == ['dog', 'cat']
    box, polygon = annotations['a.jpg']
    assert (box.label, box.box) == ('cat', (10, 0, 30, 20))
    assert polygon.box == (0, 0, 20, 10)
    assert polygon.segmentation == [[0, 0, 20, 0, 20, 10]]


@pytest.mark.parametrize(('line', 'problem'), [
    ('2 0.5 0.5 0.5 0.5', 'class number beyond the 2 named'),
    ('-1 0.5 0.5 0.5 0.5', 'class number beyond the 2 named'),
    ('dog 0.5 0.5 0.5 0.5', 'line that is not a class and numbers'),
    ('0 0.5 0.5 0.5', 'neither a box'),
    ('0 0.5 0.5 0.5 0.5 0.9', 'neither a box'),
    ('0 10 10 30 20', 'coordinate outside 0 to 1'),
    ('0 0.5 0.5 inf 0.5', 'not a finite number'),
    ('0 0.5 0.5 0.0 0.5', 'box without an area'),
])
def test_broken_yolo(line, problem, images, tmp_path):
    source = write(tmp_path / 'labels', {'classes.txt': 'dog\ncat\n',
                                         'a.txt': line})
    assert problem in read('yolo', source, images)[2]


@pytest.mark.parametrize(('files', 'error'), [
    ({}, '--classes-file'),
    ({'data.yaml': 'nc: 3\nnames: [dog]\n'}, 'nc is 3, names has 1'),
    ({'data.yaml': 'names: dog\n'}, 'names is not a list'),
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
    annotations, _, errors, _ = read('csv', file, images)
    assert not errors
    shape, = annotations['a.jpg']
    assert (shape.label, shape.box) == ('dog', (10, 0, 30, 20))


def test_csv_with_empty_images(images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text('filename,class,xmin,ymin,xmax,ymax\nc.PNG,,,,,\n')
    assert read('csv', file, images, labeled_only=True)[0] == {'b/c.PNG': []}


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


@pytest.mark.parametrize(('row', 'problem'), [
    ('x.jpg,dog,1,2,3,4', 'image that is not in'),
    ('a.jpg,dog,1,2,3', 'line without a box of four numbers'),
    ('a.jpg,dog,1,2,3,x', 'line without a box of four numbers'),
    ('a.jpg,,1,2,3,4', 'object without a class'),
])
def test_broken_rows(row, problem, images, tmp_path):
    file = tmp_path / 'boxes.csv'
    file.write_text(f'filename,class,xmin,ymin,xmax,ymax\n{row}\n')
    found = read('csv', file, images)[2]
    assert problem in found
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
    annotations, _, errors, _ = read('labelme', source, images)
    assert not errors
    boxes = [item.box for item in annotations['a.jpg']]
    assert boxes == [(0, 0, 10, 10), (20, 10, 30, 20), (15, 5, 25, 15),
                     (0, 0, 9, 9)]
    assert len(annotations['a.jpg'][-1].segmentation) == 2


@pytest.mark.parametrize(('content', 'problem'), [
    ('{', 'file that is not of LabelMe'), ('[]', 'file that is not of Label'),
    (labelme(shape([[1, 2]], shape_type='line3')), "shape_type is 'line3'"),
    (labelme(shape([[1, 2], [3, 4]])), 'it has 2 points'),
    (labelme(shape([[1, 2, 3]])), 'shape without an area'),
    (labelme('x'), 'shape without an area'),
    (labelme(shape([[0, 0], [9, 0], [9, 9]])).replace('"dog"', 'null'),
     'object without a class'),
    (labelme().replace('40', '41'), 'size that differs from the image'),
])
def test_broken_labelme(content, problem, images, tmp_path):
    source = write(tmp_path / 'json', {'a.json': content})
    assert problem in read('labelme', source, images)[2]


def test_images_that_cannot_be_read(images, tmp_path):
    (images / 'empty.jpg').write_bytes(b'')
    (images / 'text.jpg').write_text('no image')
    file = tmp_path / 'boxes.csv'
    file.write_text('filename,class,xmin,ymin,xmax,ymax\n')
    errors = read('csv', file, images)[2]
    assert '2 x image that cannot be read' in errors
    assert 'empty.jpg, it is empty (0 bytes)' in errors


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
    image = AnnotatedImage('a.jpg', 40, 20, [
        Annotation('dog', (0., 0., 10.5, 1 / 3)),
        Annotation('cat', (0, 0, 4, 4), [[0, 0, 4, 0, 4, 4]], ignored=True)])
    content = as_coco([image], ['cat', 'dog'])
    dog, cat = content['annotations']
    assert dog['category_id'] == 2
    assert dog['bbox'] == [0, 0, 10.5, 0.333]
    assert 'segmentation' not in dog
    assert cat['area'] == 8
    assert (dog['iscrowd'], cat['iscrowd']) == (0, 1)


def test_masks():
    """A rectangle from 10 to 30 is 20 pixels wide."""
    image = AnnotatedImage('a.jpg', 40, 20, [
        Annotation('dog', (10, 0, 30, 20), [[10, 0, 30, 0, 30, 20, 10, 20]]),
        Annotation('cat', (20, 0, 30, 20), [[20, 0, 30, 0, 30, 20, 20, 20]]),
        Annotation('cat', (0, 0, 1, 1), [[0, 0, 1, 0, 1, 1, 0, 1]],
              ignored=True)])
    mask = draw_mask_of(image, dict(dog=1, cat=2), 0)
    expected = np.zeros((20, 40))
    expected[:, 10:20], expected[:, 20:30], expected[0, 0] = 1, 2, 255
    np.testing.assert_array_equal(mask, expected)
    with pytest.raises(UserError, match='is a box without a polygon'):
        draw_mask_of(image._replace(annotations=[
            Annotation('dog', (0, 0, 1, 1))]), dict(dog=1), 0)


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
    errors = AnnotationErrors()
    assert ImageFolder(str(images)).find(called, errors, 'here') is None
    assert 'image that is not in' in errors.lines()[0]


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
    assert 'named like one image and refers to another' in read(
        kind, source, images)[2]


@pytest.mark.parametrize(('files', 'message'), [
    ({'data.yaml': 'names: [dog]\nkpt_shape: [2, 2]\n'}, 'key points'),
    ({'classes.txt': 'dog\n', '../data.yaml': 'names: [dog]\nkpt_shape: [1, 2]'
      }, 'key points'),
    ({'classes.txt': 'dog\n', 'data.yml': 'kpt_shape:\nnames: [dog]'},
     'key points'),
    ({'classes.txt': 'dog\ncat\n', '../data.yaml': 'names: [cat, dog]'},
     'order.* --classes-file'),
    ({'data.yaml': 'names: [dog, Dog]\n'}, 'two classes of one name'),
    ({'data.yaml': 'names: {0: dog, 1: cat, 0: cow}\n'}, 'duplicate key'),
    ({'data.yaml': 'names: [dog]\nnames: [cat]\n'}, 'duplicate key'),
    ({'data.yaml': 'names: [yes, no]\n'}, 'quote such'),
    ({'data.yaml': ''}, 'holds no names'),
    ({'data.yaml': '- dog\n'}, 'holds no names'),
    ({'data.yaml': 'names: !!timestamp x\n'}, 'match its tag'),
    ({'classes.txt': 'dog\ncat\ndog\n'}, 'two classes of one name'),
    ({'data.yaml': '[' * 20_000}, 'does not name the classes'),
    ({'data.yaml': 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{chr(98 + i)}: &{chr(98 + i)} [{f"*{chr(97 + i)}, " * 9}]\n'
        for i in range(12)) + 'names: *m\n'}, 'not a list of names'),
    ({'data.yaml': 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{chr(98 + i)}: &{chr(98 + i)} [{f"*{chr(97 + i)}, " * 9}]\n'
        for i in range(12)) + 'names: [dog]\nnc: *m\n'}, 'nc is'),
    ({'data.yaml': '!!python/object/apply:os.system ["true"]\n'},
     'does not name the classes'),
    ({'data.yaml': 'names: null\n'}, 'not a list of names'),
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
    errors = read('yolo', source, images)[2]
    assert 'key points' in errors or 'outside 0 to 1' in errors


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
    annotations, _, errors, _ = read('yolo', source, images)
    assert errors.startswith(f'{count} x line that may be') == bool(count)
    assert len(annotations['a.jpg']) == labels.count('\n')
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
            annotations, classes, message, _ = read(kind.split()[0], source,
                                                 images)
        except UserError as error:
            message = str(error)
        if message:
            # Errors name the place, the tool puts the source in front.
            check_message(f'{source}: {message}', source)
            continue
        content = json.loads(json.dumps(as_coco(
            [AnnotatedImage(name, 40, 20, items) for name, items
             in annotations.items()], classes or sorted({
                 item.label for items in annotations.values()
                 for item in items}))))
        try:
            parts_of(content, str(source))
        except UserError as error:
            check_message(str(error), source)
