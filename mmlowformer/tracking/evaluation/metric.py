"""Metrics of single-object tracking for MMEngine's evaluator."""
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from ...registry import METRICS
from .sot_metrics import Track, evaluate_track, summarize


def evaluate_sample(sample: dict) -> Track | None:
    """Compare a video's track with its ground truth, if that is known."""
    boxes, truth = sample['pred_boxes'], sample['boxes']
    if not np.isfinite(truth[1:]).all(1).any():
        return None
    # The video may end early.
    count = len(boxes)
    return evaluate_track(boxes, truth[:count], sample['visible'][:count],
                          sample['cover'][:count], sample['bound'])


@METRICS.register_module()
class TrackingMetric(BaseMetric):
    """GOT-10k's AO and SR, LaSOT's success and precision, and the speed.

    ``fps`` is the number of frames tracked in a second, without reading them,
    and the only metric of test sets without published ground truth.

    Args:
        collect_device (str): Device on which processes gather their results.
            Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Defaults to
            ``'track'``.
    """

    default_prefix = 'track'

    def __init__(self, collect_device: str = 'cpu',
                 prefix: str | None = None):
        super().__init__(collect_device, prefix)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Evaluate the videos of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): From ``LowFormerTracker``.
        """
        for sample in data_samples:
            self.results.append(dict(
                name=sample['name'], seconds=sample['seconds'],
                attributes=sample['attributes'],
                track=evaluate_sample(sample)))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Summarize the results of all processes.

        Args:
            results (list[dict]): Results of :meth:`process`.

        Returns:
            dict[str, float]: The metrics by name.
        """
        tracks = [item['track'] for item in results if item['track']]
        seconds = np.concatenate([item['seconds'][1:] for item in results])
        metrics = summarize(tracks) if tracks else {}
        return dict(metrics, fps=len(seconds) / max(seconds.sum(), 1e-9))
