"""Comparing an export with its checkpoint on images."""
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image

from ..errors import UserError
from ..models.exported_model import ExportedModel
from ..predict.pipeline import Pipeline
from ..predict.results import result_of
from ..predict.trained_model import TrainedModel
from ..runtime import ExportedPredictor
from ..runtime.postprocess import Geometry, postprocess
from ..runtime.predictor import compute, tensor
from ..utils.images import read
from ..visualization.drawing import captioned
from .comparison import Comparison, compare_outputs, compare_results
from .formats import FORMATS
from .program import LEAST_SIDE
from .reference import Outputs, Reference

BATCHES = (1, 3)


def sizes_for(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The example's size, another one, and an odd one."""
    height, width = size
    another = max(64, height // 64 * 32), max(96, width * 3 // 4 // 32 * 32)
    odd = (max(LEAST_SIDE, round(height * 0.65)) | 1,
           max(LEAST_SIDE, round(width * 0.97)) | 1)
    return list(dict.fromkeys((size, another, odd)))


class Verifier:
    """Compares an exported folder with its checkpoint."""

    def __init__(self, folder: str | Path, trained: TrainedModel,
                 example: tuple[int, int], *, strict: bool = True):
        self.predictor = ExportedPredictor(folder,
                                           threads=torch.get_num_threads())
        self.description = self.predictor.description
        self.reference = Reference(
            trained, [item['name'] for item in self.description.outputs],
            self.description.task)
        self.sizes = list(dict.fromkeys(
            [self.description.size] if self.description.size else
            map(self._padded, sizes_for(example))))
        self.batches = ([self.description.batch] if self.description.batch
                        else list(BATCHES))
        self.map_error = FORMATS[self.description.format].map_error
        self.strict = strict

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Round up to what the runtime pads images to."""
        step = self.description.multiple
        height, width = (-(-side // step) * step for side in size)
        return height, width

    def rows(self, images: Sequence[str],
             step: Callable[[], None] = lambda: None) -> list[Comparison]:
        """Compare outputs at all sizes and batches, then predictions."""
        if not images:
            raise UserError('no images to verify with: name some with '
                            '--verify')
        return [*self._outputs(images, step), *self._prepared(images),
                *self._predictions(images, step)]

    @property
    def steps(self) -> int:
        """How often :meth:`rows` calls ``step``, besides once per image."""
        return len(self.sizes) * len(self.batches)

    def _outputs(self, files: Sequence[str], step: Callable[[], None]
                 ) -> Iterator[Comparison]:
        originals = [read(file, 'opencv') for file in files[:max(BATCHES)]]
        for size in self.sizes:
            for batch in self.batches:
                images = [cv2.resize(originals[i % len(originals)], size[::-1])
                          for i in range(batch)]
                where = f'{batch} x {size[0]}x{size[1]}'
                yield from self._worst(where, (
                    item for ours, theirs in zip(
                        self._ours(images), self.reference.outputs(images))
                    for item in compare_outputs(
                        ours, theirs, size, self.map_error)))
                step()

    def _ours(self, images: list[np.ndarray]) -> list[Outputs]:
        outputs = compute(self.predictor.session,
                          tensor(self.description, *images))
        return [{name: values[index] for name, values in outputs.items()}
                for index in range(len(images))]

    def _prepared(self, files: Sequence[str]) -> Iterator[Comparison]:
        """Compare preprocessed images, unless the export fixes a size."""
        if self.description.size:
            return
        errors = []
        for file in files:
            prepared = self.predictor.prepare(file)
            height, width = prepared.size
            ours = prepared.image[:height, :width]
            theirs = self.reference.prepared(file)
            errors.append(float('inf') if ours.shape != theirs.shape else
                          float(np.abs(ours.astype(int) - theirs).max()))
        yield Comparison('prepared images', f'{len(files)} images',
                         max(errors), 0.5)

    def _predictions(self, files: Sequence[str], step: Callable[[], None]
                     ) -> Iterator[Comparison]:
        if self.description.task == 'features':
            return
        errors: list[tuple[str, float, float]] = []
        for ours, file in zip(self.predictor(list(files)), files):
            errors += compare_results(ours, self._expected(file))
            step()
        yield from self._worst(f'{len(files)} images', errors)

    def _expected(self, file: str) -> Outputs:
        if self.description.size is None:
            return self.reference.predict(file)
        # Resizing to a fixed size is part of the export.
        prepared = self.predictor.prepare(file)
        outputs, = self.reference.outputs([prepared.image])
        return vars(postprocess(self.description, outputs,
                                Geometry(*prepared[1:])))

    def _worst(self, where: str, errors: Iterable[tuple[str, float, float]]
               ) -> Iterator[Comparison]:
        worst: dict[str, tuple[float, float]] = defaultdict(
            lambda: (-1., 0.))
        for name, error, limit in errors:
            worst[name] = max(worst[name], (error, limit))
        for name, (error, limit) in worst.items():
            yield Comparison(name, where, error,
                             limit if self.strict else None)


def draw_comparison(trained: TrainedModel, folder: str | Path, image: str
                    ) -> Image.Image:
    """Draw the predictions of checkpoint and export side by side."""
    exported = ExportedModel(folder, torch.get_num_threads())
    pipeline = Pipeline(trained.pipeline, trained.scope)
    panels = []
    for name, model in (('checkpoint', trained.module),
                        (exported.description.format, exported)):
        prepared = pipeline(image)
        with DefaultScope.overwrite_default_scope(trained.scope), \
                torch.no_grad():
            sample, = model.test_step(pseudo_collate([prepared.data]))
        result = result_of(
            sample, exported.description.host['score_thr'], None, name=image,
            image=prepared.image, classes=trained.classes,
            palette=trained.palette, seconds=0.)
        panels.append((name, result.draw()))
    return captioned(panels)
