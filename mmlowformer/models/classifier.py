"""The layers between LowFormer's last feature map and class scores."""
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn
from torch.nn.init import trunc_normal_, zeros_

from .blocks import ConvNormAct


class Classifier(BaseModule):
    """LowFormer's classifier: two wide hidden layers around the pooling.

    Source: `LowFormer <https://arxiv.org/abs/2409.03460>`_ and the authors'
    code.
    """

    def __init__(self, in_channels: int, hidden_channels: tuple[int, int],
                 num_classes: int):
        super().__init__()
        pooled, hidden = hidden_channels
        self.in_conv = ConvNormAct(
            in_channels, pooled, 1, norm_cfg=dict(type='BN'),
            act_cfg=dict(type='HSwish', inplace=False))
        self.pre_classifier = Sequential(
            nn.Linear(pooled, hidden, bias=False), nn.LayerNorm(hidden),
            nn.Hardswish())
        self.classifier = nn.Linear(hidden, num_classes)
        self._init_linear()

    def _init_linear(self):
        for linear in (self.pre_classifier[0], self.classifier):
            trunc_normal_(linear.weight, std=0.02)
        zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Compute the hidden features: ``(N, C, H, W)`` to ``(N, hidden)``."""
        return self.pre_classifier(self.in_conv(x).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores before softmax: ``(N, C, H, W)`` to ``(N, K)``."""
        return self.classifier(self.features(x))
