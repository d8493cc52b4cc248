"""The description of an exported model, ``model.json``."""
import importlib.metadata
import platform
from collections.abc import Sequence
from itertools import chain

import torch
from mmengine.config import Config

from .. import __version__
from ..config.loading import kind_of
from ..errors import UserError, first_line
from ..models import find_lowformers
from ..predict.predictor import SCORE
from ..predict.trained_model import TrainedModel
from ..runtime.model_spec import Description
from .formats import Format
from .job import LEAST_SIDE, InputShape
from .preprocessing import prepare_steps
from .requirements import INT8_PACKAGES, PACKAGES
from .wrappers import ExportWrapper

HOSTS = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet',
         'mmsegmentation', 'mmpretrain')


def describe(trained: TrainedModel, model: ExportWrapper, shape: InputShape,
             form: Format, precision: str) -> Description:
    """Describe a model before it is written."""
    rule = model.rule
    names = sorted({backbone.variant_name for backbone in
                    find_lowformers(trained.module).values()})
    kind = ('backbone' if model.task == 'features' else
            type(trained.module).__name__)
    return Description(
        task=model.task, model=' with '.join((kind, *names)),
        format=form.name, files=[], precision=precision,
        classes=trained.classes,
        palette=[[int(part) for part in color] for color in trained.palette],
        input=dict(
            name='images', layout='NCHW', dtype='float32', range=[0, 255],
            channel_order=rule.channel_order, shape=shape.described,
            least_size=LEAST_SIDE if shape.dynamic else 1,
            mean=list(rule.mean), std=list(rule.std)),
        padding=dict(divisor=rule.divisor, value=rule.value,
                     by='model' if form.pads else 'runtime'),
        prepare=prepare_steps(trained.pipeline),
        outputs=describe_outputs(model, shape), decoding=model.decoding,
        host=dict(scope=trained.scope, pipeline=_as_text(trained.pipeline),
                  score_thr=SCORE if trained.score_thr is None else
                  trained.score_thr),
        versions=versions())


def _as_text(pipeline: Sequence[dict]) -> str:
    """Transforms for ``ast.literal_eval``, as JSON has no tuples.

    Classes become their names.
    """
    return repr([dict(Config(dict(step)).to_dict(), type=kind_of(step))
                 for step in pipeline])


def describe_outputs(model: ExportWrapper, shape: InputShape) -> list[dict]:
    """Names and shapes of the outputs, with names of dynamic dimensions."""
    try:
        with torch.no_grad():
            outputs = model(shape.example())
    except Exception as error:  # A model may raise anything.
        raise UserError(f'the model fails on images of {shape.size[0]}x'
                        f'{shape.size[1]}: {first_line(error)}') from error
    batch, _, *sides = shape.described
    described = []
    for index, (name, output) in enumerate(zip(model.output_names, outputs)):
        dims = [batch, *output.shape[1:]]
        if shape.dynamic and model.strides:
            stride = model.strides[index]
            dims[2:] = [side if stride == 1 else f'{side}/{stride}'
                        for side in sides]
        described.append(dict(name=name, shape=dims))
    return described


def versions() -> dict[str, str]:
    """Versions of this package and of all that may take part in an export."""
    found = dict(mmlowformer=__version__, python=platform.python_version())
    for name in dict.fromkeys((*HOSTS, *chain(
            *PACKAGES.values(), *INT8_PACKAGES.values()))):
        for installed in (name, f'onedl-{name}'):
            try:
                found[installed] = importlib.metadata.version(installed)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
