"""Where the time goes from a file to a result."""
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn

from ..deployment.deploy import deployed_forwards
from ..deployment.tracing import find_parts, intercept_forward, noise_for
from .pipeline import Pipeline, Source

# So many images are enough for a median.
IMAGES = 15


def time_stages(pipeline: Pipeline, model: nn.Module,
                run: Callable[[list[dict]], object],
                images: Sequence[Source]) -> dict[str, float]:
    """Time each stage of predicting, one image after the other."""
    with torch.no_grad():
        names = list(deployed_forwards(model)) or list(
            find_parts(model, noise_for(model)))
    clock = _NetworkClock()
    parts = {name: model.get_submodule(name) for name in names}
    with intercept_forward(parts, clock):
        rows = [_time_image(pipeline, run, image, clock)
                for image in images[:IMAGES + 1]]
    rows = rows[1:] or rows
    return {stage: median(row[stage] for row in rows) for stage in rows[0]}


def _time_image(pipeline: Pipeline, run: Callable[[list[dict]], object],
                image: Source, clock: '_NetworkClock') -> dict[str, float]:
    clock.seconds = 0.
    marks = [time.perf_counter()]
    record = pipeline.read(image)
    marks.append(time.perf_counter())
    data = pipeline.prepare(record).data
    marks.append(time.perf_counter())
    run([data])
    marks.append(time.perf_counter())
    read, prepare, predict = (after - before for before, after
                              in zip(marks, marks[1:]))
    return dict(read=read, prepare=prepare, network=clock.seconds,
                rest=predict - clock.seconds)


class _NetworkClock:
    """Adds up what the parts of a network take."""

    def __init__(self):
        self.seconds = 0.

    def __call__(self, name: str, module: nn.Module, forward: Callable, *args,
                 **kwargs):
        start = time.perf_counter()
        outputs = forward(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return outputs
