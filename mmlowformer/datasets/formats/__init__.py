"""Annotations in other tools' formats, read to convert them to COCO's."""
from .annotations import (
    AnnotatedImage,
    Annotation,
    as_coco,
    check_annotations,
)
from .coco import read_coco_annotations
from .csv_boxes import read_csv
from .image_folder import ImageFolder
from .labelme import read_labelme
from .pascal_voc import read_voc
from .yolo import read_yolo

# Each takes the source, the images and errors to add to. It returns annotated
# images and the class names, or None if the format does not order them.
READERS = dict(coco=read_coco_annotations, csv=read_csv, labelme=read_labelme,
               voc=read_voc, yolo=read_yolo)

__all__ = ['READERS', 'AnnotatedImage', 'Annotation', 'ImageFolder',
           'as_coco', 'check_annotations']
