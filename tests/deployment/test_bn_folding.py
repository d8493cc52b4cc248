"""BatchNorms are folded where that is right, and only there."""
import copy

import mmcv.cnn
import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlowformer.deployment.bn_folding import fold_batch_norms

NORM = dict(type='BN')


class Own(nn.Module):
    """A 3x3 convolution and a norm, put together by a subclass."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(3)


class OtherOrder(Own):
    """Children are not named in the order in which they are used."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.bn(self.last(self.conv(x)))


class SecondUser(Own):
    def forward(self, x):
        x = self.conv(x)
        return self.bn(x) + x


class SecondOutput(Own):
    def forward(self, x):
        x = self.conv(x)
        return self.bn(x), x


class InPlace(Own):
    def forward(self, x):
        return self.bn(F.relu_(self.conv(x)))


class Direct(Own):
    """Somebody convolves with the weight of a module."""

    def forward(self, x):
        return self.bn(self.conv(x)) + F.conv2d(x, self.conv.weight, padding=1)


class Twice(Own):
    def forward(self, x):
        return self.bn(self.conv(self.conv(x)))


class NormTwice(Own):
    def forward(self, x):
        return self.bn(self.bn(self.conv(x)))


class SharedByLevels(Own):
    def forward(self, x):
        return [self.bn(self.conv(level)) for level in (x, x[..., ::2])]


class SharedNorm(Own):
    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.bn(self.conv(x)) + self.bn(self.other(x))


class SeparateNorms(Own):
    """As RetinaSepBNHead: one convolution, a norm for each level."""

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList(ConvModule(3, 3, 1, norm_cfg=NORM)
                                    for _ in range(2))
        self.levels[1].conv = self.levels[0].conv

    def forward(self, x):
        return [self.bn(self.conv(level(x))) for level in self.levels]


class Standardized(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


def hooked():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda module, x, output: output * 2)
    return model


def without_statistics():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(
        3, track_running_stats=False))


def conv_module(*order, **kwargs):
    return ConvModule(3, 3, 3, padding=1, norm_cfg=NORM, order=order, **kwargs)


# How many norms are left.
MODELS = dict(
    sequential=(lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True),
        nn.Conv2d(5, 3, 1), nn.BatchNorm2d(3)), 0),
    groups=(lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)), 0),
    no_affine=(lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False)), 0),
    wrapper=(lambda: nn.Sequential(
        mmcv.cnn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), 0),
    synchronized=(lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.SyncBatchNorm(5)), 0),
    transposed=(lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 5, 2, stride=2), nn.BatchNorm2d(5)), 0),
    transposed_groups=(lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 6, 2, groups=3), nn.BatchNorm2d(6)), 1),
    linear=(lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)), 0),
    conv_norm_act=(lambda: conv_module('conv', 'norm', 'act'), 0),
    act_conv_norm=(lambda: conv_module('act', 'conv', 'norm'), 0),
    conv_act_norm=(lambda: conv_module('conv', 'act', 'norm'), 1),
    norm_conv_act=(lambda: conv_module('norm', 'conv', 'act'), 1),
    spectral=(lambda: conv_module('conv', 'norm', 'act',
                                  with_spectral_norm=True), 1),
    efficient=(lambda: conv_module('conv', 'norm', 'act',
                                   efficient_conv_bn_eval=True), 1),
    other_order=(OtherOrder, 0),
    second_user=(SecondUser, 1),
    second_output=(SecondOutput, 1),
    in_place=(InPlace, 1),
    direct=(Direct, 1),
    twice=(Twice, 1),
    norm_twice=(NormTwice, 1),
    shared_by_levels=(SharedByLevels, 0),
    shared_norm=(SharedNorm, 0),
    separate_norms=(SeparateNorms, 2),
    standardized=(lambda: nn.Sequential(
        Standardized(3, 3, 1), nn.BatchNorm2d(3)), 1),
    hooked=(hooked, 1),
    without_statistics=(without_statistics, 1),
)


def randomise(model):
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


@pytest.mark.parametrize(('build', 'left'), MODELS.values(), ids=MODELS)
def test_outputs_stay(build, left):
    model = randomise(build())
    folded = copy.deepcopy(model)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        fold_batch_norms(folded, x)
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    norms = [module for module in folded.modules()
             if isinstance(module, _BatchNorm)]
    assert len(norms) == left
    assert not any('forward' in vars(module) for module in folded.modules())


def test_what_is_left_is_named():
    model = randomise(nn.Sequential(SecondUser(), conv_module(
        'conv', 'norm', 'act')))
    with torch.no_grad():
        assert fold_batch_norms(model, torch.randn(1, 3, 8, 8)) == ['0.bn']
