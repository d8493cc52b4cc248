"""The test metric of a checkpoint and of its export."""
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..config.model_kind import follows_many
from ..datasets.checks.check_datasets import datasets_in

# The primary metric of each evaluator, and its maximum.
PRIMARY_METRICS = (('bbox_mAP', 1.), ('mIoU', 100.), ('accuracy/top1', 100.))


class Metric:
    """The test of a config.

    ``reason`` says why it cannot be computed, if so.
    """

    def __init__(self, cfg: Config, scope: str, *, trusted: bool):
        self.cfg, self.scope = cfg, scope
        self.evaluators: list[dict] = []
        self.reason = self._find_reason(trusted)
        if not self.reason:
            given = cfg.test_evaluator
            given = given if isinstance(given, list) else [given]
            self.evaluators = [dict(item) for item in given]

    def _find_reason(self, trusted: bool) -> str:
        cfg = self.cfg
        if not trusted:
            return ('only the checkpoint names the data: add --trust-config, '
                    'if you trust it, or --config')
        if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
            return 'the config has no test_evaluator'
        if follows_many(cfg):
            return ('the config tests on videos: name the config of the '
                    'detector with --config')
        missing = _missing_data(cfg, cfg.test_dataloader)
        return f'{missing} does not exist' if missing else ''

    def loader(self) -> DataLoader:
        """A loader of the test images, as the library builds it."""
        settings = dict(self.cfg.test_dataloader, num_workers=0,
                        persistent_workers=False)
        with DefaultScope.overwrite_default_scope(self.scope):
            return Runner.build_dataloader(settings)

    def compute(self, model: BaseModel, loader: DataLoader,
                step: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Test a model."""
        # torch's type of data sets has neither a length nor metainfo.
        dataset: Any = loader.dataset
        with DefaultScope.overwrite_default_scope(self.scope), \
                torch.no_grad():
            evaluator = Evaluator(self.evaluators)
            evaluator.dataset_meta = dataset.metainfo
            for batch in loader:
                evaluator.process(model.test_step(batch), batch)
                step()
            metrics = evaluator.evaluate(len(dataset))
        # For JSON: MMSegmentation's metrics are numpy's, and MMPreTrain's
        # confusion matrix is torch's.
        return {name: value.tolist() if hasattr(value, 'tolist') else value
                for name, value in metrics.items()}

    def files(self, most: int) -> list[str]:
        """The first test images."""
        if self.reason:
            return []
        dataset: Any = self.loader().dataset
        return _paths(dataset, range(min(most, len(dataset))))


def training_images(cfg: Config, scope: str, most: int) -> list[str]:
    """Training images, spread evenly over the data set."""
    loader = cfg.get('train_dataloader')
    if not loader or _missing_data(cfg, loader):
        return []
    leaf = next(datasets_in(loader))
    with DefaultScope.overwrite_default_scope(scope):
        dataset = DATASETS.build(dict(leaf, pipeline=[]))
    step = max(1, len(dataset) // most)
    return _paths(dataset, range(0, len(dataset), step)[:most])


def _paths(dataset: Any, indices: Iterable[int]) -> list[str]:
    return [dataset.get_data_info(index)['img_path'] for index in indices]


def _missing_data(cfg: Config, loader: dict) -> str | None:
    for dataset in datasets_in(loader):
        root = dataset.get('data_root') or cfg.get('data_root') or ''
        if root and not os.path.isdir(root):
            return root
    return None


def primary_metric(metrics: dict[str, float]) -> tuple[str, float] | None:
    """Name and value, from 0 to 1, of the metric that decides."""
    for name, maximum in PRIMARY_METRICS:
        for key, value in metrics.items():
            if key.endswith(name):
                return key, float(value) / maximum
    return None
