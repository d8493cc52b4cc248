"""Annotations in other tools' formats, read for COCO's."""
from .coco import read_coco_shapes
from .labelme import read_labelme
from .records import (
    Faults,
    ImageFolder,
    Picture,
    Shape,
    as_coco,
    checked_pictures,
)
from .table import read_table
from .voc import read_voc
from .yolo import read_yolo

# Each takes the source, the images and faults to add to, and returns pictures
# and the names of classes, if the format has them in an order.
READERS = dict(coco=read_coco_shapes, csv=read_table, labelme=read_labelme,
               voc=read_voc, yolo=read_yolo)

__all__ = ['READERS', 'Faults', 'ImageFolder', 'Picture', 'Shape', 'as_coco',
           'checked_pictures']
