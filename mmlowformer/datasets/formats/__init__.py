"""Annotations in other tools' formats, read for COCO's."""
from .annotations import Picture, Shape, as_coco, checked_pictures
from .coco import read_coco_shapes
from .csv_boxes import read_table
from .image_folder import Faults, ImageFolder
from .labelme import read_labelme
from .pascal_voc import read_voc
from .yolo import read_yolo

# Each takes the source, the images and faults to add to, and returns pictures
# and the names of classes, if the format has them in an order.
READERS = dict(coco=read_coco_shapes, csv=read_table, labelme=read_labelme,
               voc=read_voc, yolo=read_yolo)

__all__ = ['READERS', 'Faults', 'ImageFolder', 'Picture', 'Shape', 'as_coco',
           'checked_pictures']
