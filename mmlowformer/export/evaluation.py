"""The metric of a checkpoint and of what was exported of it."""
import os
from collections.abc import Callable
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

# The one that decides, of each evaluator, and what it counts in.
DECIDING = (('bbox_mAP', 1.), ('mIoU', 100.), ('accuracy/top1', 100.))


class Metric:
    """The test of a config."""

    def __init__(self, cfg: Config, scope: str, *, trusted: bool):
        self.cfg, self.scope = cfg, scope
        self.reason, self.evaluators = '', []
        if not trusted:
            self.reason = ('the data is named by the checkpoint alone; add '
                           '--trust-config, if it is yours, or --config')
            return
        if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
            self.reason = 'the config has no test_evaluator'
            return
        if follows_many(cfg):
            self.reason = ("the config's test is of videos; name that of the "
                           'detector with --config')
            return
        given = cfg.test_evaluator
        given = given if isinstance(given, list) else [given]
        self.evaluators = [dict(item) for item in given]
        if missing := _missing_data(cfg, cfg.test_dataloader):
            self.reason = f'there is no {missing} here'

    def loader(self) -> DataLoader:
        """Loader of the test images, of the host's own classes."""
        settings = dict(self.cfg.test_dataloader, num_workers=0,
                        persistent_workers=False)
        with DefaultScope.overwrite_default_scope(self.scope):
            return Runner.build_dataloader(settings)

    def compute(self, model: BaseModel, loader: DataLoader,
                step: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Test a model."""
        # torch's type of data sets knows neither sizes nor facts.
        dataset: Any = loader.dataset
        with DefaultScope.overwrite_default_scope(self.scope), \
                torch.no_grad():
            evaluator = Evaluator(self.evaluators)
            evaluator.dataset_meta = dataset.metainfo
            for batch in loader:
                evaluator.process(model.test_step(batch), batch)
                step()
            metrics = evaluator.evaluate(len(dataset))
        # JSON knows neither MMSegmentation's, which are numpy's, nor
        # MMPreTrain's confusion matrix, which is torch's.
        return {name: value.tolist() if hasattr(value, 'tolist') else value
                for name, value in metrics.items()}

    def files(self, most: int) -> list[str]:
        """The first test images."""
        if self.reason:
            return []
        dataset: Any = self.loader().dataset
        return [dataset.get_data_info(index)['img_path']
                for index in range(min(most, len(dataset)))]


def training_images(cfg: Config, scope: str, most: int) -> list[str]:
    """Images of the training, spread over all of it."""
    loader = cfg.get('train_dataloader')
    if not loader or _missing_data(cfg, loader):
        return []
    leaf = next(datasets_in(loader))
    with DefaultScope.overwrite_default_scope(scope):
        dataset = DATASETS.build(dict(leaf, pipeline=[]))
    step = max(1, len(dataset) // most)
    return [dataset.get_data_info(index)['img_path']
            for index in range(0, len(dataset), step)][:most]


def _missing_data(cfg: Config, loader: dict) -> str | None:
    for dataset in datasets_in(loader):
        root = dataset.get('data_root') or cfg.get('data_root') or ''
        if root and not os.path.isdir(root):
            return root
    return None


def deciding(metrics: dict[str, float]) -> tuple[str, float] | None:
    """The metric that decides about an export, from 0 to 1."""
    for name, whole in DECIDING:
        for key, value in metrics.items():
            if key.endswith(name):
                return key, float(value) / whole
    return None
