"""Comparing an export with its checkpoint on images."""
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from PIL import Image

from ..errors import UserError
from ..models.exported_model import ExportedModel
from ..predict.pipeline import Pipeline
from ..predict.results import result_of
from ..predict.trained_model import TrainedModel
from ..runtime import ExportedPredictor
from ..runtime.postprocess import postprocess
from ..runtime.predictor import compute, tensor
from ..utils.images import read
from ..utils.text import counted
from ..visualization.drawing import captioned
from .comparison import (
    Comparison,
    Outputs,
    compare_outputs,
    compare_results,
)
from .formats import FORMATS
from .job import LEAST_SIDE

BATCHES = (1, 3)


def sizes_for(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The example's size, another one, and an odd one."""
    height, width = size
    another = max(64, height // 64 * 32), max(96, width * 3 // 4 // 32 * 32)
    odd = (max(LEAST_SIDE, round(height * 0.65)) | 1,
           max(LEAST_SIDE, round(width * 0.97)) | 1)
    return list(dict.fromkeys((size, another, odd)))


class Reference:
    """The checkpoint's model with its library's own preprocessing.

    It shares no code with the export, so that it detects the export's errors.
    """

    def __init__(self, trained: TrainedModel, output_names: Sequence[str],
                 task: str):
        self.trained, self.task = trained, task
        self.output_names = list(output_names)
        self._pipeline = Pipeline(trained.pipeline, trained.scope)

    def outputs(self, images: Sequence[np.ndarray]) -> list[Outputs]:
        """The outputs for images, without resizing them."""
        data = pseudo_collate([self._unresized(image) for image in images])
        if self.task == 'features' or 'scores_0' in self.output_names:
            return self._maps(data)
        return self._test(data)

    def _unresized(self, image: np.ndarray) -> dict:
        first, *_, last = self.trained.pipeline
        height, width = image.shape[:2]
        same_size = dict(type='Resize', scale=(width, height))
        pipeline = Pipeline([first, same_size, last], self.trained.scope)
        data = pipeline(np.zeros((height, width, 3), np.uint8), 'image').data
        return dict(data, inputs=torch.from_numpy(
            np.ascontiguousarray(image.transpose(2, 0, 1))))

    def predict(self, source: str) -> Outputs:
        """The predictions for an image file."""
        return self._test(pseudo_collate([self._pipeline(source).data]))[0]

    def prepared(self, source: str) -> np.ndarray:
        """An image after the test pipeline."""
        inputs = self._pipeline(source).data['inputs']
        return inputs.numpy().transpose(1, 2, 0)

    def _test(self, data: dict) -> list[Outputs]:
        with torch.no_grad(), self._scope():
            return list(map(self._read, self.trained.module.test_step(data)))

    def _scope(self):
        return DefaultScope.overwrite_default_scope(self.trained.scope)

    def _maps(self, data: dict) -> list[Outputs]:
        model = self.trained.module
        with torch.no_grad(), self._scope():
            inputs = model.data_preprocessor(data, False)['inputs']
            if self.task == 'features':
                maps = model.backbone(inputs)
            else:
                scores, deltas = model.bbox_head(model.extract_feat(inputs))
                maps = (*scores, *deltas)
        return [{name: map_[index].numpy() for name, map_ in
                 zip(self.output_names, maps)}
                for index in range(len(inputs))]

    def _read(self, sample: BaseDataElement) -> Outputs:
        if self.task == 'detection':
            found = sample.pred_instances
            return dict(boxes=found.bboxes.numpy(),
                        scores=found.scores.numpy(),
                        labels=found.labels.numpy())
        if self.task == 'segmentation':
            return dict(logits=sample.seg_logits.data.numpy())
        return dict(scores=sample.pred_score.numpy())


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
        """Calls of ``step`` by :meth:`rows`, besides one per image."""
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
        yield Comparison('prepared images', counted(len(files), 'image'),
                         max(errors), 0.5)

    def _predictions(self, files: Sequence[str], step: Callable[[], None]
                     ) -> Iterator[Comparison]:
        if self.description.task == 'features':
            return
        errors: list[tuple[str, float, float]] = []
        for ours, file in zip(self.predictor(list(files)), files):
            errors += compare_results(ours, self._expected(file))
            step()
        yield from self._worst(counted(len(files), 'image'), errors)

    def _expected(self, file: str) -> Outputs:
        if self.description.size is None:
            return self.reference.predict(file)
        # Resizing to a fixed size is part of the export.
        prepared = self.predictor.prepare(file)
        outputs, = self.reference.outputs([prepared.image])
        return vars(postprocess(self.description, outputs, prepared))

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
