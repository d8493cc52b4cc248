"""The outputs of the checkpoint, which an export has to reproduce."""
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement

from ..predict.pipeline import Pipeline
from ..predict.trained_model import TrainedModel

Outputs = dict[str, np.ndarray]


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
