"""Exports of a network so small that they take seconds."""
import copy
import dataclasses
import shutil
from unittest import mock

from mmlowformer.export import speed
from mmlowformer.export.config import ExportConfig
from mmlowformer.export.exporter import Exporter
from mmlowformer.export.formats import FORMATS

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


def write_copies(monkeypatch, folder):
    """Let exports to ONNX copy an earlier one of the same model."""
    def write(job, target):
        shutil.copy(folder / 'model.onnx', target)
        return ['model.onnx']

    monkeypatch.setitem(FORMATS, 'onnx', dataclasses.replace(
        FORMATS['onnx'], write=write))


def make_export(checkpoint, folder, form='onnx', **options):
    """An exporter, and the result of an export without its metric."""
    config = ExportConfig([FORMATS[form]], **{'metric': False, **options})
    exporter = Exporter(str(checkpoint), None, config)
    if config.size is None:
        # Those of the configs are larger than needed here.
        exporter.example = (64, 64)
    # No test needs precise times.
    with (mock.patch.object(speed, 'TURNS', 1),
          mock.patch.object(speed, 'TURN_SECONDS', 0.01)):
        return exporter, exporter.export(FORMATS[form], folder)
