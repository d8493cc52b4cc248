"""Models as functions of images from 0 to 255, ready to be exported."""
import copy
from abc import abstractmethod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..deployment.deploy import deployed_forwards
from ..errors import UserError
from ..models import find_lowformers
from ..predict.gallery import is_retriever
from .preprocessing import InputRule, Preparation, input_rule

# Score and coordinates of empty rows: they come last in the order of scores
# and suppress each other in NMS.
NO_SCORE = -1.
NO_BOX = (-2., -2., -1., -1.)


class ExportWrapper(nn.Module):
    """A model without the types of its library."""

    task = ''
    any_batch = True
    # A library's, whose parts have no types.
    model: Any

    def __init__(self, model: Any, rule: InputRule):
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.preparation = Preparation(rule)
        self.rule = rule
        self.output_names: list[str] = []
        # Of outputs that are feature maps.
        self.strides: list[int] = []
        self.decoding: dict = {}

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From images ``(N, 3, H, W)``, 0 to 255, to the outputs."""


class BackboneWrapper(ExportWrapper):
    """A backbone: its feature maps."""

    task = 'features'

    def __init__(self, model: Any, rule: InputRule):
        super().__init__(getattr(model, 'backbone', model), rule)
        self.strides = list(self.model.out_strides)
        self.output_names = [f'stride_{stride}' for stride in self.strides]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model(self.preparation(images))


class ClassifierWrapper(ExportWrapper):
    """A classifier: scores that sum to 1."""

    task = 'classification'

    def __init__(self, model: Any, rule: InputRule):
        super().__init__(model, rule)
        self.output_names = ['scores']

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.model.extract_feat(self.preparation(images))
        return (F.softmax(self.model.head(features), dim=1), )


class SegmentorWrapper(ExportWrapper):
    """A segmentor: logits of each class at the size of the image."""

    task = 'segmentation'

    def __init__(self, model: Any, rule: InputRule):
        mode = model.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise UserError(f'the model is tested with mode={mode!r}; only '
                            "whole images can be exported: set mode='whole' "
                            'in model.test_cfg')
        super().__init__(model, rule)
        head = self.model.decode_head
        replace_upsamples(self.model)
        self.output_names, self.strides = ['logits'], [1]
        self.align_corners = bool(head.align_corners)
        self.decoding = dict(align_corners=self.align_corners,
                             threshold=getattr(head, 'threshold', None))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[-2:]
        padded = self.preparation(images)
        logits = self.model.decode_head(self.model.extract_feat(padded))
        whole = F.interpolate(logits, padded.shape[-2:], mode='bilinear',
                              align_corners=self.align_corners)
        # Negative padding crops. A slice would make it a constant whether
        # there is any padding.
        return (F.pad(whole, (0, width - whole.shape[-1],
                              0, height - whole.shape[-2])), )


def replace_upsamples(model: nn.Module) -> None:
    """Replace modules that would make the example's sizes constants.

    MMSegmentation's ``Upsample`` computes sizes by way of floats, which become
    constants; a resize behind it hides that the values are wrong.
    """
    from mmseg.models.utils import Upsample
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is Upsample and not child.size:
                setattr(parent, name, IntegerUpsample(child))


class IntegerUpsample(nn.Module):
    """MMSegmentation's ``Upsample`` with an integer factor."""

    def __init__(self, module: nn.Module):
        super().__init__()
        factor: Any = module.scale_factor
        if factor != int(factor):
            raise UserError(f'the head upsamples by {factor}; only integer '
                            'factors can be exported')
        self.factor = int(factor)
        self.mode = cast(str, module.mode)
        self.align_corners = cast(bool, module.align_corners)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.interpolate(x, (height * self.factor, width * self.factor),
                             mode=self.mode, align_corners=self.align_corners)


class DetectorHeadWrapper(ExportWrapper):
    """A one-stage detector: the feature maps of its head."""

    task = 'detection'

    def __init__(self, model: Any, rule: InputRule):
        _check_head(model)
        super().__init__(model, rule)
        self.decoding = decoding_of(self.model)
        levels = self.decoding['levels']
        self.strides = [level['stride'][0] for level in levels] * 2
        self.output_names = [f'{kind}_{level}' for kind in
                             ('scores', 'deltas')
                             for level in range(len(levels))]

    def maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Scores before the sigmoid, and deltas, of each level."""
        features = self.model.extract_feat(self.preparation(images))
        return self.model.bbox_head(features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores, deltas = self.maps(images)
        return (*scores, *deltas)


class DetectorWrapper(DetectorHeadWrapper):
    """A one-stage detector with NMS: boxes, scores and labels.

    For each image, ``max_dets`` rows; labels of empty rows are -1.
    """

    any_batch = False

    def __init__(self, model: Any, rule: InputRule):
        super().__init__(model, rule)
        self.output_names, self.strides = ['boxes', 'scores', 'labels'], []

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores, deltas = self.maps(images)
        head = self.model.bbox_head
        priors = head.prior_generator.grid_priors(
            [map_.shape[-2:] for map_ in scores], device=images.device)
        detections = [self._detect([map_[index] for map_ in scores],
                                   [map_[index] for map_ in deltas], priors,
                                   images.shape[-2:])
                      for index in range(len(images))]
        boxes, kept, labels = map(torch.stack, zip(*detections))
        return boxes, kept, labels

    def _detect(self, scores: list[Tensor], deltas: list[Tensor],
                priors: list[Tensor], size: torch.Size
                ) -> tuple[Tensor, Tensor, Tensor]:
        levels = map(self._candidates, scores, deltas, priors)
        boxes, kept, labels = (torch.cat(parts) for parts in zip(*levels))
        height, width = size
        if self.decoding['clip']:
            x, y = boxes[:, 0::2], boxes[:, 1::2]
            x, y = x.clamp(min=0, max=width), y.clamp(min=0, max=height)
            boxes = torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), 1)
        sides = boxes[:, 2:] - boxes[:, :2]
        there = ((kept > self.decoding['score_thr'])
                 & (sides > self.decoding['min_size']).all(1))
        boxes = torch.where(there[:, None], boxes, boxes.new_tensor(NO_BOX))
        return self._nms(boxes, torch.where(there, kept, NO_SCORE), labels)

    def _candidates(self, scores: Tensor, deltas: Tensor, priors: Tensor
                    ) -> tuple[Tensor, Tensor, Tensor]:
        """The highest-scoring boxes of a level before NMS."""
        classes, most = self.decoding['classes'], self.decoding['nms_pre']
        flat = _channels_last(scores).flatten().sigmoid()
        # Small images have fewer scores than topk takes.
        best, places = F.pad(flat, (0, most), value=NO_SCORE).topk(most)
        # len() would make it a constant.
        anchors = (places // classes).clamp(max=priors.shape[0] - 1)
        chosen = _channels_last(deltas).reshape(-1, 4)[anchors]
        coder = self.model.bbox_head.bbox_coder
        return coder.decode(priors[anchors], chosen), best, places % classes

    def _nms(self, boxes: Tensor, scores: Tensor, labels: Tensor
             ) -> tuple[Tensor, Tensor, Tensor]:
        from torchvision.ops import nms
        # Shifted, so that boxes of different classes never overlap.
        shifted = boxes + (labels * (boxes.max() + 3))[:, None]
        kept = nms(shifted, scores, self.decoding['iou_thr'])
        final = torch.full_like(scores, NO_SCORE).scatter(
            0, kept, scores[kept])
        most = self.decoding['max_dets']
        final, order = F.pad(final, (0, most), value=NO_SCORE).topk(most)
        order = order.clamp(max=len(boxes) - 1)
        there = final > NO_SCORE
        return (torch.where(there[:, None], boxes[order], 0.),
                torch.where(there, final, 0.),
                torch.where(there, labels[order], -1))


def _channels_last(map_: Tensor) -> Tensor:
    """From ``(C, H, W)`` to ``(H, W, C)``, contiguous.

    Else a map of a single position would be reshaped in another way than
    larger ones, and the graph would be for one of the two only.
    """
    return map_.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)


def _check_head(model: Any) -> None:
    """Refuse heads that would be decoded in another way."""
    from mmdet.models.dense_heads import RetinaHead
    from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
    head = model.bbox_head
    known = (type(head) is RetinaHead and head.use_sigmoid_cls
             and type(head.prior_generator) is AnchorGenerator
             and type(head.bbox_coder) is DeltaXYWHBBoxCoder
             and not head.bbox_coder.add_ctr_clamp
             and dict(head.test_cfg.nms).get('type', 'nms') == 'nms'
             and not head.test_cfg.nms.get('class_agnostic'))
    if not known:
        raise UserError(
            f'{type(model).__name__} with {type(head).__name__} cannot be '
            'exported; RetinaNet (RetinaHead with sigmoid, AnchorGenerator, '
            'DeltaXYWHBBoxCoder, plain nms) can, and --backbone exports any '
            'LowFormer')


def decoding_of(model: Any) -> dict:
    """Settings to decode boxes from a RetinaNet's maps."""
    head = model.bbox_head
    cfg, coder, priors = head.test_cfg, head.bbox_coder, head.prior_generator
    return dict(
        classes=head.num_classes,
        score_thr=cfg.get('score_thr', 0.), max_dets=cfg['max_per_img'],
        nms_pre=cfg.get('nms_pre', 1000), iou_thr=cfg['nms']['iou_threshold'],
        min_size=cfg.get('min_bbox_size', 0), clip=coder.clip_border,
        means=list(coder.means), stds=list(coder.stds),
        # wh_ratio_clip of delta2bbox.
        max_log_ratio=abs(float(torch.tensor(16 / 1000).double().log())),
        levels=[dict(stride=list(stride), anchors=anchors.tolist())
                for stride, anchors in zip(priors.strides,
                                           priors.base_anchors)])


def wrap_model(model: Any, *, backbone: bool = False, nms: bool = True
               ) -> ExportWrapper:
    """Make a model exportable."""
    if deployed_forwards(model) or any(
            lowformer.deployed for lowformer in
            find_lowformers(model).values()):
        raise UserError('a deployed network cannot be exported: it is '
                        'rewritten for torch, and slower or wrong elsewhere. '
                        'Export the original; runtimes fuse by themselves')
    rule = input_rule(model.data_preprocessor)
    if backbone:
        if not find_lowformers(model):
            raise UserError('--backbone: the model has no LowFormer')
        return BackboneWrapper(model, rule)
    if hasattr(model, 'bbox_head') and not hasattr(model, 'roi_head'):
        kind = DetectorWrapper if nms else DetectorHeadWrapper
        return kind(model, rule)
    if hasattr(model, 'decode_head'):
        return SegmentorWrapper(model, rule)
    if hasattr(model, 'head') and not is_retriever(model):
        return ClassifierWrapper(model, rule)
    raise UserError(f'a {type(model).__name__} cannot be exported; a '
                    'RetinaNet, EncoderDecoder or ImageClassifier can, and '
                    '--backbone exports any LowFormer')
