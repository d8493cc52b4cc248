"""Time each stage from a file to a result."""
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import nn

from ..deployment.deploy import deployed_forwards
from ..deployment.tracing import find_parts, intercept_forward, noise_for
from ..utils.images import Source
from .pipeline import Pipeline

# Images for a stable median.
IMAGES = 15


def time_stages(pipeline: Pipeline, model: nn.Module,
                run: Callable[[list[dict]], object],
                images: Sequence[Source]) -> dict[str, float]:
    """Return the median seconds of each stage, one image at a time."""
    parts: list[float] = []

    def time_part(name: str, module: nn.Module, forward: Callable, *args,
                  **kwargs):
        start = time.perf_counter()
        outputs = forward(*args, **kwargs)
        parts.append(time.perf_counter() - start)
        return outputs

    def time_image(image: Source) -> dict[str, float]:
        parts.clear()
        start = time.perf_counter()
        record = pipeline.read(image)
        read = time.perf_counter()
        data = pipeline.prepare(record).data
        prepared = time.perf_counter()
        run([data])
        network = sum(parts)
        return dict(read=read - start, prepare=prepared - read,
                    network=network,
                    rest=time.perf_counter() - prepared - network)

    with torch.no_grad():
        names = list(deployed_forwards(model)) or list(
            find_parts(model, noise_for(model)))
    with intercept_forward({name: model.get_submodule(name)
                            for name in names}, time_part):
        rows = [time_image(image) for image in images[:IMAGES + 1]]
    # The first image warms up.
    rows = rows[1:] or rows
    return {stage: median(row[stage] for row in rows) for stage in rows[0]}
