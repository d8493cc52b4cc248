"""Labels in the formats of labeling tools, written image by image."""
from .label_set import LabelSet
from .one_file import write_coco, write_cvat, write_label_studio
from .per_image import write_labelme, write_voc, write_yolo

WRITERS = {'coco': write_coco, 'cvat': write_cvat,
           'label-studio': write_label_studio, 'labelme': write_labelme,
           'voc': write_voc, 'yolo': write_yolo}

__all__ = ['WRITERS', 'LabelSet']
