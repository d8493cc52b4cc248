"""Comparing an export with its checkpoint, on real images."""
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from ..errors import UserError
from ..predict.trained_model import TrainedModel
from ..runtime import Predictor
from ..runtime.postprocess import Geometry, find
from ..runtime.predictor import compute, tensor
from ..utils.images import read
from .comparison import Row, compare_outputs, compare_results
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
    """Compares an exported folder with the checkpoint that it is of."""

    def __init__(self, folder: str | Path, trained: TrainedModel,
                 example: tuple[int, int], *, strict: bool = True,
                 step: Callable[[], None] = lambda: None):
        self.predictor = Predictor(folder, threads=torch.get_num_threads())
        self.description = self.predictor.description
        self.reference = Reference(
            trained, [item['name'] for item in self.description.outputs],
            self.description.task)
        self.sizes = list(dict.fromkeys(
            [self.description.size] if self.description.size else
            [self._multiple(size) for size in sizes_for(example)]))
        self.batches = ([self.description.batch] if self.description.batch
                        else list(BATCHES))
        self.map_error = FORMATS[self.description.format].map_error
        self.strict, self.step = strict, step

    def _multiple(self, size: tuple[int, int]) -> tuple[int, int]:
        """Up to what can be in front of the network."""
        step = self.description.multiple
        height, width = (-(-side // step) * step for side in size)
        return height, width

    def rows(self, images: Sequence[str]) -> list[Row]:
        """Compare outputs at all sizes and batches, then what is found."""
        if not images:
            raise UserError('there is no image to verify with')
        return [*self._outputs(images), *self._prepared(images),
                *self._found(images)]

    @property
    def steps(self) -> int:
        """How many comparisons :meth:`rows` makes beside the images'."""
        return len(self.sizes) * len(self.batches)

    def _outputs(self, files: Sequence[str]) -> Iterator[Row]:
        pictures = [read(file, 'opencv') for file in files[:max(BATCHES)]]
        for size in self.sizes:
            for batch in self.batches:
                images = [cv2.resize(pictures[i % len(pictures)], size[::-1])
                          for i in range(batch)]
                where = f'{batch} x {size[0]}x{size[1]}'
                yield from self._worst(where, (
                    item for ours, theirs in zip(
                        self._ours(images), self.reference.outputs(images))
                    for item in compare_outputs(
                        ours, theirs, size, self.map_error)))
                self.step()

    def _ours(self, images: list[np.ndarray]) -> list[Outputs]:
        outputs = compute(self.predictor.session,
                          tensor(self.description, *images))
        return [{name: values[index] for name, values in outputs.items()}
                for index in range(len(images))]

    def _prepared(self, files: Sequence[str]) -> Iterator[Row]:
        """Images as they reach the model, if it does not force a size."""
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
        yield Row('prepared images', f'{len(files)} images', max(errors), 0.5)

    def _found(self, files: Sequence[str]) -> Iterator[Row]:
        if self.description.task == 'features':
            return
        found: list[tuple[str, float, float]] = []
        for ours, file in zip(self.predictor(list(files)), files):
            found += compare_results(ours, self._expected(file))
            self.step()
        yield from self._worst(f'{len(files)} images', found)

    def _expected(self, file: str) -> Outputs:
        if self.description.size is None:
            return self.reference.read(self.reference.predict(file))
        # What a fixed size does to an image is part of the export.
        prepared = self.predictor.prepare(file)
        outputs, = self.reference.outputs([prepared.image])
        return vars(find(self.description, outputs, Geometry(*prepared[1:])))

    def _worst(self, where: str, found: Iterable[tuple[str, float, float]]
               ) -> Iterator[Row]:
        worst: dict[str, tuple[float, float]] = defaultdict(
            lambda: (-1., 0.))
        for name, error, limit in found:
            worst[name] = max(worst[name], (error, limit))
        for name, (error, limit) in worst.items():
            yield Row(name, where, error, limit if self.strict else None)
