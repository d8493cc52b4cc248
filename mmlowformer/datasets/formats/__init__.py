"""Annotations in other tools' formats, read to convert them to COCO's."""
from collections.abc import Callable, Iterable

from .annotations import (
    BEYOND,
    FRACTIONS,
    AnnotatedImage,
    Annotation,
    Annotations,
    are_fractions,
    as_coco,
    check_annotations,
    collect_images,
    from_fractions,
)
from .coco import annotated_images, read_coco_annotations
from .csv_boxes import read_csv, read_open_images
from .cvat import read_cvat
from .dota import read_dota
from .files import ReadErrors
from .image_folder import ImageFolder
from .label_studio import read_label_studio
from .labelme import read_labelme
from .pascal_voc import read_voc
from .supervisely import read_supervisely
from .via import read_via
from .yolo import read_yolo

FORMATS: dict[str, Callable] = {
    'coco': read_coco_annotations, 'csv': read_csv, 'cvat': read_cvat,
    'dota': read_dota, 'label-studio': read_label_studio,
    'labelme': read_labelme, 'openimages': read_open_images,
    'supervisely': read_supervisely, 'via': read_via, 'voc': read_voc,
    'yolo': read_yolo}
# Their coordinates are relative anyway.
RELATIVE = ('label-studio', 'yolo')

__all__ = ['BEYOND', 'FORMATS', 'AnnotatedImage', 'Annotation', 'ImageFolder',
           'ReadErrors', 'annotated_images', 'as_coco', 'check_annotations',
           'read_annotations']


def read_annotations(kind: str, source: str, images: ImageFolder,
                     errors: ReadErrors, *, labeled_only: bool = False,
                     **options
                     ) -> tuple[Iterable[AnnotatedImage], list[str] | None]:
    """Read annotations; the classes are None if the format has no order."""
    found, classes = FORMATS[kind](source, images, errors, **options)
    if isinstance(found, dict):
        if kind not in RELATIVE and are_fractions(found.values()):
            if kind != 'openimages':
                errors.notes.add(FRACTIONS, source)
            found = _in_pixels(found, images)
        found = collect_images(found, images, errors, labeled_only)
    return found, classes


def _in_pixels(annotations: Annotations, images: ImageFolder) -> Annotations:
    return {name: [from_fractions(item, size) for item in items]
            for name, items in annotations.items()
            if (size := images.size(name))}
