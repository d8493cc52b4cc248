"""MMDetection's COCO, made from a file that a check has parsed."""
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO

from .coco_file import take_parsed


class ParsedCOCO(COCO):
    """Takes the content of a file, if it was parsed; else it parses it."""

    def __init__(self, annotation_file: str | None = None):
        content = annotation_file and take_parsed(annotation_file)
        super().__init__(None if content else annotation_file)
        if content:
            self.dataset = content
            self.createIndex()
            self.img_ann_map = self.imgToAnns
            self.cat_img_map = self.catToImgs


def use_parsed() -> None:
    """Let MMDetection's data sets take what was parsed."""
    if CocoDataset.COCOAPI is COCO:
        CocoDataset.COCOAPI = ParsedCOCO
