"""COCO's format, read to check it or to draw masks."""
from collections import defaultdict

from ...errors import AnnotationErrors
from ..checks.coco_annotations import find_errors, read_coco
from .annotations import AnnotatedImage, Annotation
from .image_folder import ImageFolder


def read_coco_annotations(source: str, images: ImageFolder,
                          errors: AnnotationErrors, **_
                          ) -> tuple[list[AnnotatedImage], list[str]]:
    """Read an annotation file in COCO's format."""
    content = read_coco(source)
    for kind, example in find_errors(content):
        errors.add(kind, example)
    if errors.counts:
        return [], content['categories']
    annotations = annotations_by_image(content)
    annotated, seen = [], set()
    for record in content['image_records']:
        name = images.find(record['file_name'], errors, source)
        size = name and images.size(name, errors)
        if not name or not size:
            continue
        images.check_size((record['width'], record['height']), name, source,
                          errors)
        extra = {key: value for key, value in record.items()
                 if key in ('source', 'offset')}
        if name in seen:
            errors.add('image with two ids', f'{name} (id {record["id"]})')
        seen.add(name)
        annotated.append(AnnotatedImage(name, *size,
                                        annotations[record['id']], extra))
    return annotated, content['categories']


def annotations_by_image(content: dict) -> dict[int | str, list[Annotation]]:
    """Annotations of content without errors, by the ids of images."""
    labels = dict(zip(content['category_ids'], content['categories']))
    annotations = defaultdict(list)
    for record in content['annotations']:
        left, top, width, height = record['bbox']
        annotations[record['image_id']].append(Annotation(
            labels[record['category_id']],
            (left, top, left + width, top + height),
            record.get('segmentation') or None, bool(record.get('iscrowd')),
            f'annotation {record.get("id")}'))
    return annotations
