"""Whole models as functions of an image 0 to 255, ready to be exported."""
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

# No box is there: behind all others in the order of scores, and all such are
# one to the non-maximum suppression.
NO_SCORE = -1.
NO_BOX = (-2., -2., -1., -1.)


class Network(nn.Module):
    """A model without its host's types."""

    task = ''
    any_batch = True
    # A host's, whose parts have no types.
    model: Any

    def __init__(self, model: Any, rule: InputRule):
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.preparation = Preparation(rule)
        self.rule = rule
        self.output_names: list[str] = []
        self.decoding: dict = {}

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From images ``(N, 3, H, W)``, 0 to 255, to the outputs."""


class FeatureNetwork(Network):
    """A backbone: its maps."""

    task = 'features'

    def __init__(self, model: Any, rule: InputRule):
        backbone = model.backbone if hasattr(model, 'backbone') else model
        super().__init__(backbone, rule)
        self.output_names = [f'stride_{stride}' for stride in
                             self.model.out_strides]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.model(self.preparation(images))


class ClassificationNetwork(Network):
    """A classifier: scores that sum up to 1."""

    task = 'classification'

    def __init__(self, model: Any, rule: InputRule):
        super().__init__(model, rule)
        self.output_names = ['scores']

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.model.extract_feat(self.preparation(images))
        return (F.softmax(self.model.head(features), dim=1), )


class SegmentationNetwork(Network):
    """A segmentor: logits of each class at the size of the image."""

    task = 'segmentation'

    def __init__(self, model: Any, rule: InputRule):
        mode = model.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise UserError(f'the model is tested in the mode {mode!r}; only '
                            "whole images are exported: mode='whole' in "
                            'model.test_cfg')
        super().__init__(model, rule)
        head = self.model.decode_head
        follow_sizes(self.model)
        self.output_names = ['logits']
        self.align_corners = bool(head.align_corners)
        self.decoding = dict(align_corners=self.align_corners,
                             threshold=getattr(head, 'threshold', None))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[-2:]
        padded = self.preparation(images)
        logits = self.model.decode_head(self.model.extract_feat(padded))
        whole = F.interpolate(logits, padded.shape[-2:], mode='bilinear',
                              align_corners=self.align_corners)
        # Negative: without the padding. A slice would bake in whether there
        # was any.
        return (F.pad(whole, (0, width - whole.shape[-1],
                              0, height - whole.shape[-2])), )


def follow_sizes(model: nn.Module) -> None:
    """Replace what would keep the sizes of the example in an exported graph.

    MMSegmentation's ``Upsample`` computes the size by way of a float, which
    makes a constant of it; a resize behind it hides that the values are
    wrong.
    """
    from mmseg.models.utils import Upsample
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is Upsample and not child.size:
                setattr(parent, name, WholeUpsample(child))


class WholeUpsample(nn.Module):
    """MMSegmentation's ``Upsample`` by a whole factor."""

    def __init__(self, module: nn.Module):
        super().__init__()
        factor: Any = module.scale_factor
        if factor != int(factor):
            raise UserError(f'the head enlarges maps by {factor}, which is no '
                            'whole number and cannot be exported')
        self.factor = int(factor)
        self.mode = cast(str, module.mode)
        self.align_corners = cast(bool, module.align_corners)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.interpolate(x, (height * self.factor, width * self.factor),
                             mode=self.mode, align_corners=self.align_corners)


class RawDetectionNetwork(Network):
    """A one-stage detector: the maps of its head."""

    task = 'detection'

    def __init__(self, model: Any, rule: InputRule):
        _check_head(model)
        super().__init__(model, rule)
        self.decoding = decoding_of(self.model)
        levels = range(len(self.decoding['levels']))
        self.output_names = [f'{kind}_{level}' for kind in
                             ('scores', 'deltas') for level in levels]

    def maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Scores before the sigmoid and deltas, of each level."""
        features = self.model.extract_feat(self.preparation(images))
        return self.model.bbox_head(features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores, deltas = self.maps(images)
        return (*scores, *deltas)


class DetectionNetwork(RawDetectionNetwork):
    """A one-stage detector: boxes after non-maximum suppression.

    Of each image as many rows as boxes are allowed; behind the last box the
    labels are -1.
    """

    any_batch = False

    def __init__(self, model: Any, rule: InputRule):
        super().__init__(model, rule)
        self.output_names = ['boxes', 'scores', 'labels']

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores, deltas = self.maps(images)
        head = self.model.bbox_head
        priors = head.prior_generator.grid_priors(
            [map_.shape[-2:] for map_ in scores], device=images.device)
        found = [self._one([map_[index] for map_ in scores],
                           [map_[index] for map_ in deltas], priors,
                           images.shape[-2:])
                 for index in range(len(images))]
        boxes, kept, labels = map(torch.stack, zip(*found))
        return boxes, kept, labels

    def _one(self, scores: list[Tensor], deltas: list[Tensor],
             priors: list[Tensor], size: torch.Size
             ) -> tuple[Tensor, Tensor, Tensor]:
        levels = [self._level(*level) for level in
                  zip(scores, deltas, priors)]
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
        kept = torch.where(there, kept, NO_SCORE)
        return self._suppressed(boxes, kept, labels)

    def _level(self, scores: Tensor, deltas: Tensor, priors: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """The best of a level, as many as non-maximum suppression gets."""
        classes, most = self.decoding['classes'], self.decoding['nms_pre']
        flat = _channels_last(scores).flatten().sigmoid()
        # Of small images there are fewer than that.
        best, places = F.pad(flat, (0, most), value=NO_SCORE).topk(most)
        # len() would make a constant of it.
        anchors = (places // classes).clamp(max=priors.shape[0] - 1)
        chosen = _channels_last(deltas).reshape(-1, 4)[anchors]
        coder = self.model.bbox_head.bbox_coder
        return (coder.decode(priors[anchors], chosen), best,
                places % classes)

    def _suppressed(self, boxes: Tensor, scores: Tensor, labels: Tensor
                    ) -> tuple[Tensor, Tensor, Tensor]:
        from torchvision.ops import nms
        # Boxes of different classes never meet.
        apart = boxes + (labels * (boxes.max() + 3))[:, None]
        kept = nms(apart, scores, self.decoding['iou_thr'])
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
    """From ``(C, H, W)`` to ``(H, W, C)``, laid out so."""
    # Otherwise a map of one position would be reshaped in another way than
    # larger ones, and the graph be for one of the two alone.
    return map_.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)


def _check_head(model: Any) -> None:
    """Nothing is exported that would be decoded in another way."""
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
    """How boxes are made of a RetinaNet's maps."""
    head = model.bbox_head
    cfg, coder, priors = head.test_cfg, head.bbox_coder, head.prior_generator
    return dict(
        classes=head.num_classes,
        score_thr=cfg.get('score_thr', 0.), max_dets=cfg['max_per_img'],
        nms_pre=cfg.get('nms_pre', 1000), iou_thr=cfg['nms']['iou_threshold'],
        min_size=cfg.get('min_bbox_size', 0), clip=coder.clip_border,
        means=list(coder.means), stds=list(coder.stds),
        # That of a 1000th of 16, where delta2bbox stops.
        max_log_ratio=abs(float(torch.tensor(16 / 1000).double().log())),
        levels=[dict(stride=list(stride), anchors=anchors.tolist())
                for stride, anchors in zip(priors.strides,
                                           priors.base_anchors)])


def network_of(model: Any, *, backbone: bool = False, raw: bool = False
               ) -> Network:
    """Make a model exportable."""
    _check_plain(model)
    rule = input_rule(model.data_preprocessor)
    if backbone:
        if not find_lowformers(model):
            raise UserError('--backbone: the model has no LowFormer')
        return FeatureNetwork(model, rule)
    if hasattr(model, 'bbox_head') and not hasattr(model, 'roi_head'):
        kind = RawDetectionNetwork if raw else DetectionNetwork
        return kind(model, rule)
    if hasattr(model, 'decode_head'):
        return SegmentationNetwork(model, rule)
    if hasattr(model, 'head') and not is_retriever(model):
        return ClassificationNetwork(model, rule)
    raise UserError(f'a {type(model).__name__} cannot be exported; a '
                    'RetinaNet, EncoderDecoder or ImageClassifier can, and '
                    '--backbone exports any LowFormer')


def _check_plain(model: nn.Module) -> None:
    """Runtimes fuse by themselves; what deploying writes is slower there."""
    if deployed_forwards(model) or any(
            lowformer.deployed for lowformer in
            find_lowformers(model).values()):
        raise UserError('a deployed network cannot be exported: it is '
                        'rewritten for torch, and slower or wrong elsewhere. '
                        'Export the plain one; runtimes fuse by themselves')
