"""An exported model that replaces a model of an OpenMMLab library."""
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor, nn

from ..errors import UserError
from ..registry import MODELS
from ..runtime.model_spec import read_description
from ..runtime.postprocess import postprocess
from ..runtime.predictor import compute, letterbox, tensor
from ..runtime.results import Classification, Detections, Result, Segmentation
from ..runtime.sessions import open_session


@MODELS.register_module()
class ExportedModel(BaseModel):
    """Predicts with a runtime on inputs of a library's test pipeline.

    So the library's loops, metrics and visualizers work with it.

    Args:
        folder (str | Path): What ``tools/export.py`` wrote for a format.
        threads (int, optional): Defaults to the runtime's choice.
        precision (str): ``float32``, or ``default`` for the runtime's choice.
        data_preprocessor (dict, optional): Not used; the exported model has
            one in it.
        trust (bool): Whether a file may run code on being opened, as ``pt2``
            may. Defaults to False.

    Raises:
        UserError: If a file or the runtime is missing.
    """

    def __init__(self, folder: str | Path, threads: int | None = None,
                 precision: str = 'float32',
                 data_preprocessor: dict | None = None,
                 trust: bool = False):
        super().__init__()
        self.folder = folder
        self.description = read_description(folder)
        if self.description.task == 'features':
            raise UserError(f'{folder} is a backbone alone, which predicts '
                            'nothing')
        self.session = open_session(folder, self.description, threads,
                                    precision, trust)

    def test_step(self, data: dict) -> list[BaseDataElement]:
        """Predict a batch.

        Args:
            data (dict): ``inputs``, images ``(3, h, w)`` in BGR, and
                ``data_samples``.

        Returns:
            list[BaseDataElement]: The samples, with predictions.
        """
        return [self._fill(sample, self._find(image, sample))
                for image, sample in zip(data['inputs'],
                                         data['data_samples'])]

    val_step = test_step

    def forward(self, inputs: Tensor, data_samples: list | None = None,
                mode: str = 'tensor'):
        """See ``BaseModel.forward``; nothing but predicting is possible."""
        if mode != 'predict' or data_samples is None:
            raise NotImplementedError('an exported model can only predict')
        return self.test_step(dict(inputs=inputs, data_samples=data_samples))

    def _find(self, inputs: Tensor, sample: BaseDataElement) -> Result:
        image = inputs.numpy().transpose(1, 2, 0)
        prepared = letterbox(self.description, image, [])
        outputs = compute(self.session, tensor(self.description,
                                               prepared.image))
        before = sample.get('scale_factor') or (1., 1.)
        scale = (before[0] * prepared.scale[0], before[1] * prepared.scale[1])
        return postprocess(
            self.description,
            {name: value[0] for name, value in outputs.items()},
            prepared._replace(
                original=sample.get('ori_shape', image.shape[:2]),
                scale=scale))

    @staticmethod
    def _fill(sample: BaseDataElement, found: Result) -> BaseDataElement:
        if isinstance(found, Detections):
            sample.set_data(dict(pred_instances=InstanceData(
                bboxes=torch.from_numpy(found.boxes),
                scores=torch.from_numpy(found.scores),
                labels=torch.from_numpy(found.labels))))
        elif isinstance(found, Segmentation) and found.logits is not None:
            sample.set_data(dict(
                pred_sem_seg=PixelData(
                    data=_tensor(found.mask[None]).long()),
                seg_logits=PixelData(data=_tensor(found.logits))))
        elif isinstance(found, Classification):
            scores = _tensor(found.scores)
            sample.set_pred_score(scores).set_pred_label(scores.argmax())
        return sample


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


class ExportedNetwork(nn.Module):
    """An exported network as a module from images to its outputs."""

    def __init__(self, folder: str | Path, threads: int | None = None,
                 trust: bool = False):
        super().__init__()
        self.session = open_session(folder, read_description(folder),
                                    threads, trust=trust)

    def __deepcopy__(self, memo: dict) -> 'ExportedNetwork':
        """Itself: a session has nothing that changes, and no copies."""
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """From images ``(N, 3, H, W)``, 0 to 255, to the outputs."""
        size = self.session.description.size
        if size is not None and images.shape[2:] != size:
            raise UserError(f'the exported model takes images of '
                            f'{size[0]}x{size[1]} only: --shape {size[0]} '
                            f'{size[1]}')
        outputs = compute(self.session, images.float().cpu().numpy())
        return [torch.from_numpy(output) for output in outputs.values()]
