"""The generated shapes, written in the formats of other tools."""
import csv
import json
import shutil
from collections import defaultdict

import yaml

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def read(shapes, split='train'):
    """Content of the annotation file, and its annotations by image."""
    content = json.loads((shapes / 'coco/annotations' /
                          f'instances_{split}2017.json').read_text())
    by_image = defaultdict(list)
    for record in content['annotations']:
        by_image[record['image_id']].append(record)
    names = {item['id']: item['name'] for item in content['categories']}
    return content, by_image, names


def corners_of(record):
    x, y, width, height = record['bbox']
    return x, y, x + width, y + height


def voc_object(name, corners, extra=''):
    box = ''.join(f'<{key}>{value}</{key}>'
                  for key, value in zip(CORNERS, corners))
    return (f'<object><name>{name}</name>{extra}<bndbox>{box}</bndbox>'
            '</object>')


def voc(filename, size, objects):
    return (f'<annotation><filename>{filename}</filename><size><width>'
            f'{size[0]}</width><height>{size[1]}</height><depth>3</depth>'
            f'</size>{"".join(objects)}</annotation>')


def write_export(shapes, folder, layout='{part}/{kind}'):
    """YOLO files in train, valid and test; the first class has no object."""
    content, by_image, names = read(shapes)
    for index, image in enumerate(content['images']):
        part = ('valid', 'test', 'train')[min(index, 2)]
        images, labels = (folder / layout.format(part=part, kind=kind)
                          for kind in ('images', 'labels'))
        for path in images, labels:
            path.mkdir(parents=True, exist_ok=True)
        shutil.copy(shapes / 'coco/train2017' / image['file_name'], images)
        stem = image['file_name'].split('.')[0]
        (labels / f'{stem}.txt').write_text('\n'.join(
            f'{record["category_id"]} {center(record, image)}'
            for record in by_image[image['id']]))
    (folder / 'README.roboflow.txt').write_text('shapes - v1\n')
    (folder / 'data.yaml').write_text(yaml.safe_dump(dict(
        train='../train/images', val='../valid/images', nc=len(names) + 1,
        names=['shapes', *names.values()])))


def center(record, image):
    """Center and size of a box, relative to the image's."""
    x, y, width, height = record['bbox']
    sizes = (image['width'], image['height']) * 2
    return ' '.join(f'{value / size:.9f}' for value, size in zip(
        (x + width / 2, y + height / 2, width, height), sizes))


def write_custom_data(shapes, folder):
    """Images, and what is in them as VOC, YOLO, CSV and LabelMe."""
    content, by_image, names = read(shapes)
    shutil.copytree(shapes / 'coco/train2017', folder / 'images')
    for name in ('xml', 'labels', 'labelme'):
        (folder / name).mkdir()
    (folder / 'data.yaml').write_text(yaml.safe_dump(
        dict(nc=len(names), names=list(names.values()))))
    with open(folder / 'boxes.csv', 'w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['filename', 'class', *CORNERS])
        for image in content['images']:
            size = image['width'], image['height']
            stem = image['file_name'].split('.')[0]
            objects, lines, marked = [], [], []
            for record in by_image[image['id']]:
                label = names[record['category_id']]
                box = corners_of(record)
                objects.append(voc_object(
                    label, (box[0] + 1, box[1] + 1, *box[2:])))
                lines.append(f'{record["category_id"] - 1} '
                             + center(record, image))
                marked.append(dict(
                    label=label, shape_type='rectangle', group_id=None,
                    points=[box[2:], box[:2]]))
                table.writerow([image['file_name'], label, *box])
            (folder / f'xml/{stem}.xml').write_text(
                voc(image['file_name'], size, objects))
            (folder / f'labels/{stem}.txt').write_text('\n'.join(lines))
            (folder / f'labelme/{stem}.json').write_text(json.dumps(dict(
                imagePath=f'../images/{image["file_name"]}', imageData=None,
                imageWidth=size[0], imageHeight=size[1], shapes=marked)))
