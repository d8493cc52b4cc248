"""What the host's own model says, which an export has to repeat."""
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
    """The checkpoint's model with its own preprocessing.

    Nothing of an export is used, so that its mistakes are seen.
    """

    def __init__(self, trained: TrainedModel, output_names: Sequence[str],
                 task: str):
        self.trained, self.task = trained, task
        self.output_names = list(output_names)
        self._pipeline = Pipeline(trained.pipeline, trained.scope)

    def outputs(self, images: Sequence[np.ndarray]) -> list[Outputs]:
        """The outputs for images as they are, without resizing them."""
        data = pseudo_collate([self._as_it_is(image) for image in images])
        if self.task == 'features' or 'scores_0' in self.output_names:
            return self._maps(data)
        return [self.read(sample) for sample in self._test(data)]

    def _as_it_is(self, image: np.ndarray) -> dict:
        first, *_, last = self.trained.pipeline
        height, width = image.shape[:2]
        same_size = dict(type='Resize', scale=(width, height))
        pipeline = Pipeline([first, same_size, last], self.trained.scope)
        data = pipeline(np.zeros((height, width, 3), np.uint8), 'image').data
        return dict(data, inputs=torch.from_numpy(
            np.ascontiguousarray(image.transpose(2, 0, 1))))

    def predict(self, source: str) -> BaseDataElement:
        """What the host finds in an image file."""
        return self._test(pseudo_collate([self._pipeline(source).data]))[0]

    def prepared(self, source: str) -> np.ndarray:
        """An image as the host's transforms leave it."""
        inputs = self._pipeline(source).data['inputs']
        return inputs.numpy().transpose(1, 2, 0)

    def _test(self, data: dict) -> list[BaseDataElement]:
        with torch.no_grad(), self._scope():
            return self.trained.module.test_step(data)

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

    def read(self, sample: BaseDataElement) -> Outputs:
        """What a host's sample holds, as arrays."""
        if self.task == 'detection':
            found = sample.pred_instances
            return dict(boxes=found.bboxes.numpy(),
                        scores=found.scores.numpy(),
                        labels=found.labels.numpy())
        if self.task == 'segmentation':
            return dict(logits=sample.seg_logits.data.numpy())
        return dict(scores=sample.pred_score.numpy())
