"""COCO's format, read to check it or to draw masks."""
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from ...errors import AnnotationErrors
from ..checks.coco_annotations import READABLE, find_errors, read_coco
from .annotations import (
    FRACTIONS,
    AnnotatedImage,
    Annotation,
    are_fractions,
    from_fractions,
)
from .files import ReadErrors, annotation_files
from .image_folder import ImageFolder


def read_coco_annotations(source: str, images: ImageFolder,
                          errors: ReadErrors, **_
                          ) -> tuple[Iterator[AnnotatedImage], list[str]]:
    """Read a file, or those of a folder such as Roboflow's exports."""
    contents = []
    for file, stem in annotation_files(source, '.json', errors):
        content = read_coco(str(file))
        for record in content['image_records']:
            record['file_name'] = images.beside(record['file_name'],
                                                stem.parent.as_posix())
        contents.append((str(file), content))
    classes = list(dict.fromkeys(
        name for _, content in contents for name in content['categories']))
    return chain.from_iterable(
        _in_pixels(content, file, images, errors)
        for file, content in contents), classes


def _in_pixels(content: dict, source: str, images: ImageFolder,
               errors: ReadErrors) -> Iterator[AnnotatedImage]:
    labels = dict(zip(content['category_ids'], content['categories']))
    found = annotated_images(content, source, images, errors)
    records = content['annotations']
    with suppress(LookupError, TypeError, ValueError):
        # The first box in pixels ends the search.
        if are_fractions([as_annotation(record, labels)]
                         for record in records):
            errors.notes.add(FRACTIONS, source)
            return (image._replace(annotations=[
                from_fractions(item, (image.width, image.height))
                for item in image.annotations]) for image in found)
    return found


def annotated_images(content: dict, source: str, images: ImageFolder,
                     errors: AnnotationErrors) -> Iterator[AnnotatedImage]:
    """Convert the images of ``parts_of(content)`` one by one.

    Their annotations are removed from ``content``: there may be millions.
    """
    for kind, example in find_errors(content):
        if kind not in READABLE:
            errors.add(kind, example)
    if errors.counts:
        return
    labels = dict(zip(content['category_ids'], content['categories']))
    annotations = annotations_by_image(content.pop('annotations'))
    seen = set()
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
        yield AnnotatedImage(name, *size, [
            as_annotation(item, labels)
            for item in annotations.pop(record['id'], ())], extra)


def annotations_by_image(records: list[dict]
                         ) -> dict[int | str, list[dict]]:
    """Records of annotations without errors, by the ids of images."""
    found: dict[int | str, list[dict]] = {}
    for record in records:
        found.setdefault(record['image_id'], []).append(record)
    return found


def as_annotation(record: dict, labels: dict[int | str, str]) -> Annotation:
    """Convert a record, given the names of categories by id."""
    left, top, width, height = record['bbox']
    return Annotation(
        labels[record['category_id']],
        (left, top, left + width, top + height),
        record.get('segmentation') or None, bool(record.get('iscrowd')),
        f'annotation {record.get("id")}')
