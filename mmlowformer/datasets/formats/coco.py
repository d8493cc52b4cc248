"""COCO's own format, with masks to be made of it."""
from collections import defaultdict

from ..checks.coco_annotations import faults_of
from ..checks.coco_file import read_coco
from .annotations import Picture, Shape
from .image_folder import Faults, ImageFolder


def read_coco_shapes(source: str, images: ImageFolder, faults: Faults, **_
                     ) -> tuple[list[Picture], list[str]]:
    """Read an annotation file in COCO's format."""
    content = read_coco(source)
    for fault, example in faults_of(content):
        faults.add(fault, example)
    if faults.counts:
        return [], content['categories']
    names = dict(zip(content['category_ids'], content['categories']))
    shapes = defaultdict(list)
    for record in content['annotations']:
        left, top, width, height = record['bbox']
        shapes[record['image_id']].append(Shape(
            names[record['category_id']],
            (left, top, left + width, top + height),
            record.get('segmentation') or None, bool(record.get('iscrowd')),
            f'annotation {record.get("id")}'))
    pictures, seen = [], set()
    for record in content['image_records']:
        name = images.find(record['file_name'], faults, source)
        size = name and images.size(name, faults)
        if not name or not size:
            continue
        if size != (record['width'], record['height']):
            faults.add('size that is not that of the image',
                       f'{record["width"]}x{record["height"]}, {name} has '
                       f'{size[0]}x{size[1]}')
        extra = {key: value for key, value in record.items()
                 if key in ('source', 'offset')}
        if name in seen:
            faults.add('image that is there under another id',
                       f'{name} (id {record["id"]})')
        seen.add(name)
        pictures.append(Picture(name, *size, shapes[record['id']], extra))
    return pictures, content['categories']
