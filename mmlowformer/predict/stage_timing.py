"""Time each stage from a file to a result."""
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn

from ..deployment.deploy import deployed_forwards
from ..deployment.tracing import find_parts, noise_for, watched
from ..utils.images import Source
from .pipeline import Pipeline

# Images for a stable median.
IMAGES = 15


def time_stages(pipeline: Pipeline, model: nn.Module,
                run: Callable[[list[dict]], object],
                images: Sequence[Source]) -> dict[str, float]:
    """Return the median seconds of each stage, one image at a time."""
    with torch.no_grad():
        names = list(deployed_forwards(model)) or list(
            find_parts(model, noise_for(model)))
    clock = _NetworkClock()
    with watched({name: model.get_submodule(name) for name in names}, clock):
        rows = [_time_image(pipeline, run, image, clock)
                for image in images[:IMAGES + 1]]
    # The first image warms up.
    rows = rows[1:] or rows
    return {stage: median(row[stage] for row in rows) for stage in rows[0]}


def _time_image(pipeline: Pipeline, run: Callable[[list[dict]], object],
                image: Source, clock: '_NetworkClock') -> dict[str, float]:
    clock.seconds = 0.
    start = time.perf_counter()
    record = pipeline.read(image)
    read = time.perf_counter()
    data = pipeline.prepare(record).data
    prepared = time.perf_counter()
    run([data])
    end = time.perf_counter()
    return dict(read=read - start, prepare=prepared - read,
                network=clock.seconds, rest=end - prepared - clock.seconds)


class _NetworkClock:
    """Adds up the time of a network's parts."""

    def __init__(self):
        self.seconds = 0.

    def __call__(self, name: str, module: nn.Module, forward: Callable, *args,
                 **kwargs):
        start = time.perf_counter()
        outputs = forward(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return outputs
