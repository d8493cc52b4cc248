"""Timing an export and its checkpoint side by side."""
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..runtime.model_spec import read_description
from ..runtime.predictor import compute
from ..runtime.sessions import DEFAULT, open_session
from ..utils.timing import Candidate, Timer, interleave, median, warm_up
from .wrappers import ExportWrapper

TURNS, TURN_SECONDS = 5, 0.2


def time_models(folders: Sequence[Path], model: ExportWrapper,
                size: tuple[int, int]) -> list[dict]:
    """Time torch, and each runtime in float32 and in its own precision.

    All take the same images, and as many threads as torch has. The
    ``weights`` of the checkpoint are ''.
    """
    count = read_description(folders[0]).batch or 1
    images = np.full((count, 3, *size), 127, np.float32)
    name = f'torch {torch.__version__.split("+")[0]}, eager'
    timed = {(name, ''): Candidate(functools.partial(
        torch.no_grad()(model.forward), torch.from_numpy(images)))}
    for folder in folders:
        description = read_description(folder)
        for precision in ('float32', DEFAULT):
            session = open_session(folder, description,
                                   torch.get_num_threads(), precision)
            # Most runtimes have a single precision, and so a single name.
            timed.setdefault(
                (session.name, description.precision),
                Candidate(functools.partial(compute, session, images)))
    candidates = list(timed.values())
    for candidate in candidates:
        warm_up(candidate, Timer(), 2, 0.1, TURN_SECONDS)
    interleave(candidates, Timer(), TURNS)
    return [dict(name=name, weights=weights, milliseconds=round(
        1e3 * median(candidate.seconds) / count, 2))
        for (name, weights), candidate in timed.items()]


def slower_note(speed: list[dict]) -> str:
    """A note if rounding the weights gains no speed here, else ''."""
    rounded, plain = (
        [item for item in speed if item['weights'] in weights]
        for weights in (('float16', 'int8'), ('float32', )))
    if not rounded:
        return ''
    best, rival = (min(items, key=lambda item: item['milliseconds'])
                   for items in (rounded, plain))
    if best['milliseconds'] < rival['milliseconds']:
        return ''
    return (f'{best["weights"]} is no faster on this machine than '
            f'{rival["name"]} with float32 weights '
            f'({rival["milliseconds"]:.1f} ms)')
