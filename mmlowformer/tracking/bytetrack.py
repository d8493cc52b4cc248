"""ByteTrack for detectors that change an object's class between frames."""
import torch
from mmdet.models.trackers import ByteTracker
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torchvision.ops import nms

from ..registry import MODELS


@MODELS.register_module()
class ClassAgnosticByteTracker(ByteTracker):
    """MMDetection's ByteTrack, in which an object may change its class.

    MMDetection's own ByteTrack continues objects with boxes of their class
    only. If a detector predicts another class in some frames, it makes two
    objects of one.

    Args:
        same_object_iou (float): Boxes with a higher IoU are one object,
            whatever their classes; the highest-scoring one remains. Defaults
            to 0.7.
        **kwargs: See ``mmdet.ByteTracker``.
    """

    def __init__(self, same_object_iou: float = 0.7, **kwargs):
        super().__init__(**kwargs)
        self.same_object_iou = same_object_iou

    def track(self, data_sample: DetDataSample, **kwargs) -> InstanceData:
        """See ``ByteTracker.track``; ``labels`` are those of this frame."""
        found = data_sample.pred_instances
        found = found[nms(found.bboxes, found.scores, self.same_object_iou)]
        one_class = data_sample.new()
        one_class.pred_instances = InstanceData(
            bboxes=found.bboxes, scores=found.scores,
            labels=torch.zeros_like(found.labels))
        tracked = super().track(data_sample=one_class, **kwargs)
        if len(tracked.bboxes):
            # The tracker returns the same boxes in another order.
            same = (tracked.bboxes[:, None] == found.bboxes).all(2)
            tracked.labels = found.labels[same.int().argmax(1)]
        return tracked
