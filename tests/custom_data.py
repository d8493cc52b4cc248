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
                x, y, width, height = record['bbox']
                lines.append(f'{record["category_id"] - 1} '
                             f'{(x + width / 2) / size[0]:.9f} '
                             f'{(y + height / 2) / size[1]:.9f} '
                             f'{width / size[0]:.9f} {height / size[1]:.9f}')
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
