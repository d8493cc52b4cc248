"""Pairs of a template and a search region, sampled from data sets."""
from collections.abc import Sequence

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from torch.utils.data import Dataset

from ...errors import UserError
from ...registry import DATASETS

ATTEMPTS = 1000


@DATASETS.register_module()
class TrackingPairs(Dataset):
    """Samples pairs of frames from random videos.

    Args:
        datasets (list[dict]): Configs of data sets whose records are videos.
        length (int): Pairs in an epoch.
        pipeline (list): Transforms from a video's record to a pair. If one
            returns None, another video is sampled.
        weights (Sequence[float], optional): Relative frequency of each data
            set. Defaults to equal ones.

    Raises:
        ValueError: If weights or length are not allowed.
    """

    def __init__(self, datasets: list[dict], length: int, pipeline: list,
                 weights: Sequence[float] | None = None):
        if length < 1:
            raise ValueError(f'length has to be at least 1, not {length}')
        weights = [1.] * len(datasets) if weights is None else list(weights)
        if len(weights) != len(datasets) or min(weights) < 0 or not any(
                weights):
            raise ValueError(
                f'weights has to hold a number, at least 0, for each of the '
                f'{len(datasets)} datasets, not {weights}')
        self.datasets = [MMENGINE_DATASETS.build(config)
                         for config in datasets]
        self.fractions = np.array(weights) / sum(weights)
        self.length = length
        self.pipeline = Compose(pipeline)

    @property
    def metainfo(self) -> dict:
        """Empty, because no classes exist."""
        return {}

    def describe(self) -> str:
        """Count pairs, and the videos of each data set."""
        parts = ', '.join(
            f'{fraction:.0%} {type(dataset).__name__} ({dataset.describe()})'
            for fraction, dataset in zip(self.fractions, self.datasets))
        return f'{self.length} pairs an epoch: {parts}'

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        """Sample a pair."""
        # Processes with the same seed have different indices.
        rng = np.random.default_rng([index, np.random.randint(2**31)])
        for _ in range(ATTEMPTS):
            dataset = self.datasets[rng.choice(len(self.datasets),
                                               p=self.fractions)]
            record = dataset.get_data_info(int(rng.integers(len(dataset))))
            pair = self.pipeline(dict(record, rng=rng))
            if pair is not None:
                return pair
        raise UserError(f'none of {ATTEMPTS} videos gives a pair: their '
                        'objects are seen in less than two frames, check '
                        'their labels')
