"""Exports of a network so small that they take seconds."""
import copy
from unittest import mock

from mmlowformer.export import speed
from mmlowformer.export.exporter import Exporter
from mmlowformer.export.formats import FORMATS
from mmlowformer.export.plan import Wishes

from ..helpers import ANY_BOX, untrained

WIDTHS = (8, 8, 16, 24, 32)
TINY = dict(widths=WIDTHS, depths=(0, 1, 1, 1, 1), stem_expand_ratio=4,
            downsample_expand_ratio=4,
            block=('norm_lowtention', 'norm_mlp', 'local'))
IN_CONFIG = dict(TINY, _delete_=True)
PYRAMID = dict(backbone=dict(arch=IN_CONFIG),
               neck=dict(in_channels=list(WIDTHS[1:])))
CONFIGS = dict(
    detection=('retinanet_lowformer_b0_shapes', dict(
        model=dict(PYRAMID, **ANY_BOX['model']))),
    segmentation=('fpn_lowformer_b0_shapes', dict(model=PYRAMID)),
    classification=('lowformer_b0_shapes', dict(model=dict(
        backbone=dict(arch=IN_CONFIG), head=dict(in_channels=WIDTHS[-1])))))


def make_checkpoint(task, folder):
    """The checkpoint of a tiny model that knows nothing."""
    name, changes = CONFIGS[task]
    # Merging takes the mark of what is replaced away.
    return untrained(folder, name, **copy.deepcopy(changes))


def make_export(checkpoint, folder, form='onnx', **wishes):
    """An export without its metric, and the one who made it."""
    wishes = Wishes(formats=[FORMATS[form]], **{
        'metric': False, 'size': None, **wishes})
    exporter = Exporter(str(checkpoint), None, wishes)
    if wishes.size is None:
        # Those of the configs are larger than needed here.
        exporter.example = (64, 64)
    # Nobody reads how fast it is.
    with (mock.patch.object(speed, 'TURNS', 1),
          mock.patch.object(speed, 'TURN_SECONDS', 0.01)):
        return exporter, exporter.export(FORMATS[form], folder)
