"""Annotations in other tools' formats, read to convert them to COCO's."""
from collections.abc import Callable, Iterable

from ...errors import AnnotationErrors
from .annotations import (
    BEYOND,
    AnnotatedImage,
    Annotation,
    as_coco,
    check_annotations,
    collect_images,
)
from .coco import annotated_images, read_coco_annotations
from .csv_boxes import read_csv
from .image_folder import ImageFolder
from .labelme import read_labelme
from .pascal_voc import read_voc
from .yolo import read_yolo

FORMATS: dict[str, Callable] = dict(
    coco=read_coco_annotations, csv=read_csv, labelme=read_labelme,
    voc=read_voc, yolo=read_yolo)

__all__ = ['BEYOND', 'FORMATS', 'AnnotatedImage', 'Annotation', 'ImageFolder',
           'annotated_images', 'as_coco', 'check_annotations',
           'read_annotations']


def read_annotations(kind: str, source: str, images: ImageFolder,
                     errors: AnnotationErrors, *, labeled_only: bool = False,
                     **options
                     ) -> tuple[Iterable[AnnotatedImage], list[str] | None]:
    """Read annotations; the classes are None if the format has no order."""
    found, classes = FORMATS[kind](source, images, errors, **options)
    if isinstance(found, dict):
        found = collect_images(found, images, errors, labeled_only)
    return found, classes
