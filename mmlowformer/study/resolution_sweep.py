"""Measure latency over the size of the images."""
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..benchmark.models import find_models
from ..benchmark.options import Settings
from ..benchmark.run import BenchmarkProgress
from ..utils.timing import Timer
from .sweep import Measurement, measure_or_note, steps_of

SIZES = (224, 320, 512, 768, 1024, 1536)
# Networks of the papers' figure that a library has, and LowFormers.
MODELS = ('lowformer_b0', 'lowformer_b1', 'lowformer_b3',
          'lowformer_b1_full_resolution', 'timm:repvit_m1_1',
          'timm:mobileone_s4', 'timm:fastvit_sa12')


def measurements_of(models: Sequence[str], sizes: Sequence[int],
                    settings: Settings, timer: Timer | None = None
                    ) -> list[Measurement]:
    """One measurement for each size."""
    count = len(find_models(list(models), shape=(sizes[0], sizes[0])))
    return [Measurement(dict(size=size),
                        partial(_measure, list(models), replace(
                            settings, shape=(size, size)), timer),
                        settings.min_time + 2 * (size / 512)**2,
                        steps_of(count, settings))
            for size in sizes]


def _measure(models: list[str], settings: Settings, timer: Timer | None,
             progress: BenchmarkProgress) -> dict:
    return measure_or_note(find_models(models, shape=settings.shape),
                           settings, timer, progress)
