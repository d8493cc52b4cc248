"""What the hosts' metrics are, once they are computed."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch.utils.data import DataLoader

from mmlowformer.export.evaluation import Metric


@pytest.fixture
def metric():
    """Rounded with numpy, as MMSegmentation's, and a matrix of torch's."""
    @METRICS.register_module(name='RoundedByNumpy')
    class RoundedByNumpy(BaseMetric):

        def process(self, data_batch, data_samples):
            self.results += data_samples

        def compute_metrics(self, results):
            return dict(mIoU=np.round(np.float32(np.mean(results)), 2),
                        of_classes=results, matrix=torch.eye(2))

    yield Metric(
        Config(dict(test_dataloader=dict(dataset=dict()),
                    test_evaluator=dict(type='RoundedByNumpy'))),
        'mmengine', trusted=True)
    METRICS.module_dict.pop('RoundedByNumpy')


def test_can_be_written(metric):
    class Images(list):
        metainfo = {}

    model = SimpleNamespace(test_step=lambda batch: batch.tolist())
    metrics = metric.compute(model, DataLoader(Images([0., 1.])))
    assert json.loads(json.dumps(metrics)) == dict(
        mIoU=0.5, of_classes=[0., 1.], matrix=[[1., 0.], [0., 1.]])
