"""Files as labeling tools write them and people keep them, one a row."""
import base64
import io
import json
import random
import zlib

import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.formats import (
    ImageFolder,
    ReadErrors,
    check_annotations,
    read_annotations,
)
from mmlowformer.errors import UserError

from ..custom_data import voc, voc_object
from ..mutations import check_message, mutated
from .test_formats import write

BOM = '\ufeff'
# A box from 10 to 30 and 0 to 20, in an image of 40x20.
BOX = 'dog 10 0 30 20'


def boxes_of(kind, source, images, **options):
    """Boxes of a.jpg as a text, the notes and the errors."""
    errors = ReadErrors()
    try:
        annotated, classes = read_annotations(
            kind, str(source), ImageFolder(str(images)), errors, **options)
        annotated, _ = check_annotations(annotated, classes, errors)
    except UserError as error:
        return None, '', str(error)
    boxes = [f'{item.label} ' + ' '.join(f'{round(value, 2):g}'
                                         for value in item.box)
             for image in annotated if image.name == 'a.jpg'
             for item in image.annotations]
    notes = '; '.join(errors.notes.lines())
    return '; '.join(boxes), notes, '; '.join(errors.lines())


@pytest.fixture
def images(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (40, 20)).save(tmp_path / 'images/a.jpg')
    return tmp_path / 'images'


def png(width, height):
    file = io.BytesIO()
    Image.fromarray(np.ones((height, width), bool)).save(file, 'PNG')
    return file.getvalue()


def labelme(*shapes):
    return json.dumps(dict(imagePath='a.jpg', imageWidth=40, imageHeight=20,
                           shapes=[dict(label='dog', **shape)
                                   for shape in shapes]))


def cvat(*shapes, head='', name='a.jpg', labels='<label><name>dog</name>'
         '</label><label><name>cat</name></label>'):
    return (f'<?xml version="1.0" encoding="utf-8"?>{head}<annotations>'
            '<version>1.1</version><meta><task><labels>'
            f'{labels}</labels></task></meta><image id="0" name="{name}" '
            f'width="40" height="20">{"".join(shapes)}</image></annotations>')


def task(*regions, image='/data/upload/1/0123abcd-a.jpg', **changes):
    return json.dumps([dict(dict(
        id=1, data=dict(image=image), annotations=[dict(
            id=2, result=regions)]), **changes)])


def region(kind='rectanglelabels', **value):
    return dict(id=f'r{sorted(value.items())}', type=kind,
                original_width=40, original_height=20,
                value={kind: ['dog'], **value})


RECTANGLE = region(x=25, y=0, width=50, height=100, rotation=0)


def via(*shapes, attributes=None, project=False):
    content = {'a.jpg9': dict(filename='a.jpg', size=9, regions=[dict(
        shape_attributes=shape, region_attributes=attributes or dict(
            label='dog')) for shape in shapes])}
    return json.dumps({'_via_settings': {}, '_via_img_metadata': content}
                      if project else content)


RECT = dict(name='rect', x=10, y=0, width=20, height=20)


def supervisely(kind, **changes):
    return json.dumps(dict(size=dict(width=40, height=20), objects=[
        dict(classTitle='dog', geometryType=kind, **changes)]))


def coco(*box, name='dog'):
    return json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', width=40, height=20)],
        categories=[dict(id=1, name=name)], annotations=[dict(
            id=1, image_id=1, category_id=1, bbox=box, area=1, iscrowd=0)]))


OPEN_IMAGES = ('ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,'
               'IsOccluded,IsTruncated,IsGroupOf\n'
               'a,xclick,/m/0bt9lr,1,0.25,0.75,0,1,0,0,0\n')
LAUGHS = ('<!DOCTYPE x [<!ENTITY a "ha">' + ''.join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">'
    for before, name in zip('abcdefgh', 'bcdefghi')) + ']>')
DATA = {'data.yaml': 'names: [dog, cat]\n'}
ROTATED = 'oriented box, replaced by the upright box around it'
ROWS = {
    # Pascal VOC.
    'VOC with a byte order mark': ('voc', {'a.xml': BOM + voc(
        'a.jpg', (40, 20), [voc_object('dog', (11, 1, 30, 20))])}, BOX, ''),
    'VOC of fractions': ('voc', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('dog', (.25, 0, .75, 1))])}, BOX, 'from 0 to 1'),
    'VOC with a file of a Mac': ('voc', {'a.xml': voc('a.jpg', (40, 20), [
        voc_object('dog', (11, 1, 30, 20))]), '._a.xml': b'\0'}, BOX,
        '1 x hidden .xml file left out'),
    'VOC that expands without end': (
        'voc', {'a.xml': LAUGHS + '<annotation>&i;</annotation>'}, None,
        'it has a DOCTYPE'),
    'VOC that reads other files': ('voc', {'a.xml': (
        '<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        '<annotation><filename>&x;</filename></annotation>')}, None,
        'it has a DOCTYPE'),
    # YOLO.
    'YOLO with classes like 0.0': (
        'yolo', {**DATA, 'a.txt': '0.0 0.5 0.5 0.5 1\n'}, BOX, ''),
    'YOLO with a class between two': (
        'yolo', {**DATA, 'a.txt': '0.5 0.5 0.5 0.5 1\n'}, None,
        "'0.5' is not a class number"),
    'YOLO with READMEs of Roboflow': ('yolo', {
        **DATA, 'a.txt': '0 0.5 0.5 0.5 1', 'README.roboflow.txt':
        '\ncells - v1\n', 'README.dataset.txt': '# cells\n'}, BOX,
        '2 x text file without boxes, left out'),
    'YOLO with the file of another image': (
        'yolo', {**DATA, 'z.txt': '0 0.5 0.5 0.5 1'}, None,
        'image that is not in'),
    'YOLO of Windows': ('yolo', {
        'data.yaml': BOM + 'names: {0: dog, 1: cat}\r\n',
        'a.txt': BOM + '0 0.5 0.5 0.5 1\r\n'}, BOX, ''),
    'YOLO in pixels': ('yolo', {**DATA, 'a.txt': '0 20 10 20 20'}, None,
                       'divide pixels by the width'),
    'YOLO of oriented boxes': (
        'yolo', {**DATA, 'a.txt': '0 .25 .5 .5 0 .75 .5 .5 1'}, BOX, ''),
    'YOLO in UTF-16': ('yolo', {
        **DATA, 'a.txt': '0 0.5 0.5 0.5 1'.encode('utf-16')}, None,
        'it is no text in UTF-8'),
    # CSV and Open Images.
    'CSV of fractions': ('csv', {'x.csv': (
        'filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,0.25,0,0.75,1\n')},
        BOX, 'from 0 to 1, multiplied'),
    'CSV of Excel': ('csv', {'x.csv': (
        BOM + 'filename;class;xmin;ymin;xmax;ymax\r\na.jpg;dog;10;0;30;20\r\n'
        )}, BOX, ''),
    'Open Images': ('openimages', {
        'boxes/x.csv': OPEN_IMAGES, 'class-descriptions-boxable.csv':
        '/m/0bt9lr,dog\n'}, BOX, ''),
    'Open Images without descriptions': (
        'openimages', {'x.csv': OPEN_IMAGES}, '/m/0bt9lr 10 0 30 20',
        'class-descriptions-boxable.csv'),
    'Open Images with other descriptions': ('openimages', {
        'boxes/x.csv': OPEN_IMAGES, 'class-descriptions-boxable.csv':
        '/m/0,cat\n'}, None, 'does not name, first: /m/0bt9lr'),
    # COCO.
    'COCO with a byte order mark': (
        'coco', {'x.json': BOM + coco(10, 0, 20, 20)}, BOX, ''),
    'COCO of fractions': ('coco', {'x.json': coco(.25, 0, .5, 1)}, BOX,
                          'from 0 to 1, multiplied'),
    # LabelMe.
    'LabelMe with a byte order mark': ('labelme', {'a.json': BOM + labelme(
        dict(shape_type='rectangle', points=[[10, 0], [30, 20]]))}, BOX, ''),
    'LabelMe with a point and a line': ('labelme', {'a.json': labelme(
        dict(shape_type='point', points=[[1, 2]]),
        dict(shape_type='linestrip', points=[[1, 2], [3, 4], [5, 6]]))}, '',
        'shape that is a point, left out'),
    'LabelMe with a mask': ('labelme', {'a.json': labelme(dict(
        shape_type='mask', points=[[10, 0], [29, 19]],
        mask=base64.b64encode(png(20, 20)).decode()))}, BOX, ''),
    'LabelMe with a mask that is none': ('labelme', {'a.json': labelme(dict(
        shape_type='mask', points=[[10, 0], [29, 19]], mask='QUJD'))}, None,
        'its mask is no image'),
    'LabelMe with a mask that is too large': ('labelme', {
        'a.json': labelme(dict(
            shape_type='mask', points=[[10, 0], [29, 19]],
            mask=base64.b64encode(png(2000, 20)).decode()))}, None,
        'its mask has 2000x20 pixels, the image 40x20'),
    'LabelMe with a rotated box': ('labelme', {'a.json': labelme(dict(
        shape_type='rotation', direction=1,
        points=[[10, 10], [20, 0], [30, 10], [20, 20]]))}, BOX, ROTATED),
    # CVAT.
    'CVAT': ('cvat', {'x.xml': cvat(
        '<box label="dog" xtl="10" ytl="0" xbr="30" ybr="20"/>')}, BOX, ''),
    'CVAT with a rotated box': ('cvat', {'x.xml': cvat(
        '<box label="dog" xtl="10" ytl="5" xbr="30" ybr="15" rotation="90"/>'
        )}, 'dog 15 0 25 20', ROTATED),
    'CVAT with an object of two polygons': ('cvat', {'x.xml': cvat(*(
        f'<polygon label="dog" group_id="1" points="{points}"/>' for points in
        ('10,0;15,0;15,5', '25,20;30,20;30,15')))}, BOX, ''),
    'CVAT with two polygons': ('cvat', {'x.xml': cvat(*(
        f'<polygon label="dog" group_id="0" points="{points}"/>' for points in
        ('10,0;15,0;15,5', '25,20;30,20;30,15')))},
        'dog 10 0 15 5; dog 25 15 30 20', ''),
    'CVAT with a mask': ('cvat', {'x.xml': cvat(
        '<mask label="dog" rle="0, 400" left="10" top="0" width="20" '
        'height="20"/>')}, BOX, ''),
    'CVAT with a cut mask': ('cvat', {'x.xml': cvat(
        '<mask label="dog" rle="0, 40" left="10" top="0" width="20" '
        'height="20"/>')}, None, 'do not add up to 20x20'),
    'CVAT with an ellipse': ('cvat', {'x.xml': cvat(
        '<ellipse label="dog" cx="20" cy="10" rx="10" ry="10"/>')}, BOX, ''),
    'CVAT with points': ('cvat', {'x.xml': cvat(
        '<points label="dog" points="1,2"/>')}, '',
        'shape that is a points, left out'),
    'CVAT with a class that its labels lack': ('cvat', {'x.xml': cvat(
        '<box label="cow" xtl="10" ytl="0" xbr="30" ybr="20"/>')}, None,
        "unknown class, first: 'cow'"),
    'CVAT of a video': ('cvat', {
        'x.xml': '<annotations><track id="0"/></annotations>'}, None,
        'export as CVAT for images 1.1'),
    'CVAT with a document type': ('cvat', {'x.xml': cvat(head=LAUGHS)}, None,
                                  'it has a DOCTYPE'),
    'CVAT read as VOC': ('voc', {'x.xml': cvat()}, None, '<annotations>'),
    # Label Studio.
    'Label Studio': ('label-studio', {'x.json': task(RECTANGLE)}, BOX, ''),
    'Label Studio, served from a disk': ('label-studio', {'x.json': BOM + task(
        RECTANGLE, image='/data/local-files/?d=some%20where/images/a.jpg')},
        BOX, ''),
    'Label Studio with a rotated box': ('label-studio', {'x.json': task(
        region(x=75, y=0, width=50, height=50, rotation=90))},
        'dog 20 0 30 20', ROTATED),
    'Label Studio with a polygon': ('label-studio', {'x.json': task(region(
        'polygonlabels', points=[[25, 0], [75, 0], [50, 100]]))}, BOX, ''),
    'Label Studio with an ellipse': ('label-studio', {'x.json': task(region(
        'ellipselabels', x=50, y=50, radiusX=25, radiusY=50))}, BOX, ''),
    'Label Studio, JSON-MIN': ('label-studio', {'x.json': json.dumps([dict(
        image='s3://some/a.jpg', id=1, label=[dict(
            RECTANGLE['value'], original_width=40, original_height=20)])])},
        BOX, ''),
    'Label Studio with classes beside the boxes': ('label-studio', {
        'x.json': task(
            dict(id='r', type='rectangle', value=dict(
                x=25, y=0, width=50, height=100)),
            dict(id='r', type='labels', value=dict(
                x=25, y=0, width=50, height=100, labels=['dog'])))}, BOX, ''),
    'Label Studio with a key point': ('label-studio', {'x.json': task(region(
        'keypointlabels', x=25, y=0, width=.5))}, '',
        'task 1, keypointlabels'),
    'Label Studio with a brush': ('label-studio', {'x.json': task(region(
        'brushlabels', rle=[1, 2], format='rle'))}, '',
        'region without a shape that is read, left out'),
    'Label Studio with two annotators': ('label-studio', {'x.json': task(
        annotations=[dict(was_cancelled=True, result=[]), dict(
            result=[RECTANGLE]), dict(result=[])])}, BOX,
        'task with several annotations'),
    'Label Studio with another size': ('label-studio', {'x.json': task(
        dict(RECTANGLE, original_width=20))}, None, 'size that differs'),
    'LabelMe read as Label Studio': (
        'label-studio', {'x.json': labelme()}, None, 'export it as JSON'),
    # VIA.
    'VIA': ('via', {'x.json': via(RECT)}, BOX, ''),
    'VIA, a project': ('via', {'x.json': BOM + via(RECT, project=True)}, BOX,
                       ''),
    'VIA 1': ('via', {'x.json': json.dumps({'a.jpg9': dict(
        filename='a.jpg', regions={'0': dict(
            shape_attributes=RECT, region_attributes=dict(label='dog'))})})},
        BOX, ''),
    'VIA 3': ('via', {'x.json': json.dumps(dict(project={}, metadata={}))},
              None, 'VIA 3, which is not read'),
    'VIA with a polygon': ('via', {'x.json': via(dict(
        name='polygon', all_points_x=[10, 30, 20], all_points_y=[0, 0, 20]))},
        BOX, ''),
    'VIA with a circle': ('via', {'x.json': via(dict(
        name='circle', cx=20, cy=10, r=10))}, BOX, ''),
    'VIA with a point': ('via', {'x.json': via(dict(
        name='point', cx=20, cy=10))}, '', 'shape that is a point, left out'),
    'VIA with a checkbox': ('via', {'x.json': via(RECT, attributes=dict(
        animal=dict(dog=True, cat=False)))}, BOX, ''),
    'VIA with several attributes': ('via', {'x.json': via(
        RECT, attributes=dict(color='red', animal='dog'))}, None,
        '--label-attribute: color, animal'),
    'VIA without classes': ('via', {'x.json': via(
        RECT, attributes=dict(label=''))}, None, 'object without a class'),
    # DOTA and Supervisely.
    'DOTA': ('dota', {'labelTxt/a.txt': (
        'imagesource:GoogleEarth\ngsd:0.14\n20 0 30 10 20 20 10 10 dog 0\n')},
        BOX, ROTATED),
    'DOTA with a word too many': ('dota', {
        'a.txt': '20 0 30 10 20 20 10 10 small dog 0\n'}, None,
        'it has 11 words'),
    'Supervisely': ('supervisely', {
        'meta.json': '{}', 'ann/a.jpg.json': supervisely(
            'rectangle', points=dict(exterior=[[10, 0], [30, 20]]))}, BOX,
        ''),
    'Supervisely with a hole': ('supervisely', {
        'ann/a.jpg.json': supervisely('polygon', points=dict(
            exterior=[[10, 0], [30, 0], [20, 20]],
            interior=[[[19, 2], [21, 2], [20, 3]]]))}, BOX,
        'hole of a polygon, filled'),
    'Supervisely with a bitmap': ('supervisely', {
        'ann/a.jpg.json': supervisely('bitmap', bitmap=dict(
            origin=[10, 0], data=base64.b64encode(zlib.compress(
                png(20, 20))).decode()))}, BOX, ''),
    'Supervisely with a point': ('supervisely', {
        'ann/a.jpg.json': supervisely('point', points=dict(
            exterior=[[1, 2]], interior=[]))}, '',
        'shape that is a point, left out'),
}


@pytest.mark.parametrize('row', ROWS)
def test_files_as_people_have_them(row, images, tmp_path):
    """Read, with a note where something was left out, or refused in a line."""
    kind, files, boxes, said = ROWS[row]
    source = write(tmp_path / 'set', {
        name: content.encode() if isinstance(content, str) else content
        for name, content in files.items()})
    source /= 'boxes' if any('boxes/' in name for name in files) else ''
    found, notes, errors = boxes_of(kind, source, images)
    if boxes is None:
        assert said in errors
        check_message(errors, tmp_path)
    else:
        assert not errors
        assert found == boxes
        assert bool(notes) == bool(said)
        assert said in notes


def test_attribute_of_via_that_is_the_class(images, tmp_path):
    source = write(tmp_path, {'x.json': via(RECT, attributes=dict(
        color='red', animal='dog'))}) / 'x.json'
    assert boxes_of('via', source, images, attribute='animal')[0] == BOX


def test_order_of_classes_of_cvat(images, tmp_path):
    source = write(tmp_path, {'x.xml': cvat()}) / 'x.xml'
    _, classes = read_annotations('cvat', str(source),
                                  ImageFolder(str(images)), ReadErrors())
    assert classes == ['dog', 'cat']


def test_long_paths(images):
    """Each of their ends is looked up, but not of a million folders."""
    found = ImageFolder(str(images)).find('folder/' * 10**6 + 'a.jpg')
    assert found == 'a.jpg'


def test_note_of_many_kinds_of_regions(images, tmp_path):
    source = write(tmp_path, {'x.json': task(*(
        dict(id=str(index), type=f'kind{index}', value={})
        for index in range(1000)))}) / 'x.json'
    assert boxes_of('label-studio', source, images)[1].startswith(
        '1000 x region without a shape')


@pytest.mark.parametrize('row', [
    'CVAT with a mask', 'CVAT with a rotated box', 'Label Studio',
    'Label Studio with a polygon', 'VIA', 'VIA with a polygon', 'DOTA',
    'Supervisely with a bitmap', 'Supervisely', 'LabelMe with a mask',
    'Open Images'])
def test_mutations(row, images, tmp_path):
    """Whatever stands in a file, it is read, or named in a few words."""
    chance = random.Random(0)
    kind, valid, *_ = ROWS[row]
    for index in range(100):
        files = dict(valid)
        name = chance.choice(sorted(files))
        files[name] = mutated(chance, files[name])
        source = write(tmp_path / str(index), files)
        boxes, _, errors = boxes_of(kind, source, images)
        if boxes is None or errors:
            check_message(errors, tmp_path)
