"""LowFormer's classifier as a head of MMPreTrain.

The only module of this package that imports MMPreTrain; the registry
imports it when a config names the head.
"""
from mmpretrain.models.heads import ClsHead
from torch import Tensor

from ..registry import MODELS
from .classifier import Classifier


@MODELS.register_module()
class LowFormerClsHead(ClsHead):
    """Head for MMPreTrain's ``ImageClassifier`` with LowFormer.

    It pools by itself, so the classifier has no neck.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the backbone's last feature map.
        hidden_channels (tuple[int, int]): Channels in front of and behind the
            global pooling. Of the published variants, b15, b2 and e1 have
            (2304, 2560), the others (1536, 1600). Defaults to (1536, 1600).
        **kwargs: ``loss``, ``topk``, ``cal_acc`` and ``init_cfg`` of
            MMPreTrain's ``ClsHead``.

    Raises:
        ValueError: If ``num_classes`` is not positive.
    """

    def __init__(self, num_classes: int, in_channels: int,
                 hidden_channels: tuple[int, int] = (1536, 1600), **kwargs):
        super().__init__(**kwargs)
        if num_classes <= 0:
            raise ValueError(
                f'num_classes has to be positive, not {num_classes}.')
        self.num_classes = num_classes
        self.layers = Classifier(in_channels, hidden_channels, num_classes)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Features that are classified: ``(N, hidden)``."""
        return self.layers.features(feats[-1])

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Class scores before softmax: ``(N, num_classes)``."""
        return self.layers.classifier(self.pre_logits(feats))
