"""Training steps to be timed: of backbones, and of whole models."""
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from torch import Tensor, nn

from ..deployment.compiled_training import compile_parts
from ..errors import UserError
from ..ops.chunked_loss import chunk_losses
from ..ops.module_utils import to_channels_last
from ..registry import AMP_WRAPPERS
from ..utils.tensors import tensors_in
from .models import Spec
from .options import DTYPES, Options

LIBRARIES = ('mmdet', 'mmseg', 'mmpretrain')
# COCO has 7 objects in an image.
OBJECTS = 7
# So low that no untrained model diverges.
LR = 1e-6


@dataclass
class TrainingStep:
    """A training step that is ready to be called."""

    call: Callable[[], None]
    # What was done to the model, in order.
    steps: list[str] = field(default_factory=list)
    compile_seconds: float = 0.


def prepare_training(model: nn.Module, spec: Spec, options: Options,
                     images: Tensor) -> TrainingStep:
    """Prepare a training step as the options say.

    A whole model of MMDetection, MMSegmentation or MMPreTrain takes the
    library's own step, with its losses on generated ground truth and the
    optimizer of its config; other models minimize their squared outputs with
    AdamW.
    """
    steps = ['build']
    if options.channels_last:
        to_channels_last(model)
        steps.append('channels_last')
    if options.compile:
        with _quiet():
            compile_parts(model, mode=options.compile)
        steps.append(f'compile {options.compile}')
    if options.dtype != 'fp32':
        steps.append(f'autocast {options.dtype}')
    if options.fused:
        steps.append('fused')
        if options.device == 'cpu' and chunk_losses(model):
            steps.append('chunked loss')
    model.train()
    make = _library_step if isinstance(model, BaseModel) else _plain_step
    step = TrainingStep(make(model, spec, options, images), steps)
    if options.compile:
        start = time.perf_counter()
        step.call()
        step.compile_seconds = time.perf_counter() - start
    return step


def _plain_step(model: nn.Module, _: Spec, options: Options,
                images: Tensor) -> Callable[[], None]:
    if options.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=options.fused)
    dtype = DTYPES[options.dtype]

    def step() -> None:
        with torch.autocast(options.device, dtype,
                            enabled=dtype != torch.float32):
            outputs = tensors_in(model(images))
        losses = [output.float().pow(2).mean() for output in outputs]
        torch.stack(losses).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _library_step(model: BaseModel, spec: Spec, options: Options,
                  images: Tensor) -> Callable[[], None]:
    if not spec.optim_wrapper:
        raise UserError(f'{spec.name} has no optim_wrapper to train with')
    data = training_batch(model, len(images), images.shape[2:])
    cfg = copy.deepcopy(spec.optim_wrapper)
    cfg.update(AMP_WRAPPERS.get(options.dtype, dict(type='OptimWrapper')))
    cfg['optimizer'].update(lr=LR, fused=options.fused)
    with _quiet():
        wrapper = build_optim_wrapper(model, cfg)

    def step() -> None:
        # The preprocessor changes samples in place.
        loss = model.train_step(copy.deepcopy(data), wrapper)['loss'].item()
        if not math.isfinite(loss):
            raise UserError(f'the loss of {spec.name} is {loss}')

    return step


def training_batch(model: BaseModel, count: int, shape: torch.Size
                   ) -> dict[str, list]:
    """Images of noise with generated ground truth, as a data loader has them.

    Returns:
        dict[str, list]: ``inputs``, images ``(3, H, W)`` of bytes, and
        ``data_samples``.
    """
    library = next((root for cls in type(model).__mro__
                    if (root := cls.__module__.split('.')[0]) in LIBRARIES),
                   None)
    if library is None:
        raise UserError(
            f'{type(model).__name__} cannot be trained on generated ground '
            'truth: --full-model trains models of MMDetection, '
            'MMSegmentation and MMPreTrain')
    classes = max(getattr(module, 'num_classes', None) or 1
                  for module in model.modules())
    generator = torch.Generator().manual_seed(0)
    return dict(mmdet=_boxes, mmseg=_masks, mmpretrain=_labels)[library](
        model, count, tuple(shape), classes, generator)


def _boxes(model: Any, count: int, shape: tuple, classes: int,
           _: torch.Generator) -> dict[str, list]:
    from mmdet.testing import demo_mm_inputs
    return demo_mm_inputs(
        count, [[3, *shape]] * count, num_items=[OBJECTS] * count,
        # It leaves out the first class.
        num_classes=max(2, classes), use_box_type=True,
        with_mask=getattr(model, 'with_mask', False))


def _masks(model: Any, count: int, shape: tuple, classes: int,
           generator: torch.Generator) -> dict[str, list]:
    from mmseg.structures import SegDataSample
    # It pads or crops images to the size of the config's training.
    if model.data_preprocessor.size is not None:
        model.data_preprocessor.size = shape
    size = dict(img_shape=shape, ori_shape=shape, pad_shape=shape)
    return dict(
        inputs=_noise(count, shape, generator),
        data_samples=[SegDataSample(metainfo=size, gt_sem_seg=PixelData(
            data=torch.randint(classes, (1, *shape), generator=generator)))
            for _ in range(count)])


def _labels(_model: Any, count: int, shape: tuple, classes: int,
            generator: torch.Generator) -> dict[str, list]:
    from mmpretrain.structures import DataSample
    labels = torch.randint(classes, (count, ), generator=generator).tolist()
    return dict(inputs=_noise(count, shape, generator),
                data_samples=[DataSample().set_gt_label(label)
                              for label in labels])


def _noise(count: int, shape: tuple, generator: torch.Generator
           ) -> list[Tensor]:
    return list(torch.randint(256, (count, 3, *shape), dtype=torch.uint8,
                              generator=generator))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MMEngine's line for each parameter."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
