"""The measures of tracking, for MMEngine's evaluator."""
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from ..registry import METRICS
from .sot_metrics import Track, judge, summarize


def judge_sample(sample: dict) -> Track | None:
    """Compare the track of a video with its truth."""
    boxes, truth = sample['pred_boxes'], sample['boxes']
    if not np.isfinite(truth[1:]).all(1).any():
        return None
    # Fewer if the video ends early.
    count = len(boxes)
    return judge(boxes, truth[:count], sample['visible'][:count],
                 sample['cover'][:count], sample['bound'])


@METRICS.register_module()
class TrackingMetric(BaseMetric):
    """AO and SR as GOT-10k has them, success and precision as LaSOT.

    ``fps`` are the frames followed in a second, without reading them. Of a
    test set whose truth is not published there is only that.

    Args:
        collect_device (str): Where results of several processes meet.
            Defaults to ``'cpu'``.
        prefix (str, optional): In front of the names. Defaults to
            ``'track'``.
    """

    default_prefix = 'track'

    def __init__(self, collect_device: str = 'cpu',
                 prefix: str | None = None):
        super().__init__(collect_device, prefix)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Judge the videos of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Of ``LowFormerTracker``.
        """
        for sample in data_samples:
            self.results.append(dict(
                name=sample['name'], seconds=sample['seconds'],
                attributes=sample['attributes'], track=judge_sample(sample)))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Sum up.

        Args:
            results (list[dict]): Of all processes.

        Returns:
            dict[str, float]: The measures by name.
        """
        tracks = [item['track'] for item in results if item['track']]
        seconds = np.concatenate([item['seconds'][1:] for item in results])
        metrics = summarize(tracks) if tracks else {}
        return dict(metrics, fps=len(seconds) / max(seconds.sum(), 1e-9))
