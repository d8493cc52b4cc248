"""How long an export takes beside the model that it is of."""
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..runtime.model_spec import read_description
from ..runtime.predictor import compute
from ..runtime.sessions import DEFAULT, open_session
from ..utils.timing import Candidate, Timer, interleave, median, warm_up
from .wrappers import Network

TURNS, TURN_SECONDS = 5, 0.2


class Entrant(NamedTuple):
    """Something that is timed.

    Attributes:
        name (str): Runtime and version.
        weights (str): Their precision; '' of the checkpoint.
        candidate (Candidate): For the timer.
    """

    name: str
    weights: str
    candidate: Candidate


def speeds(folders: Sequence[Path], network: Network, size: tuple[int, int]
           ) -> list[dict]:
    """Time torch, runtimes in float32, and the runtimes' own choices.

    All take turns, with the same images and as many threads as torch has.
    """
    count = read_description(folders[0]).batch or 1
    images = np.full((count, 3, *size), 127, np.float32)
    entrants = [Entrant(f'torch {torch.__version__.split("+")[0]}, eager', '',
                        Candidate(_torch(network, images)))]
    for folder in folders:
        entrants += _entrants(folder, images)
    candidates = [entrant.candidate for entrant in entrants]
    for candidate in candidates:
        warm_up(candidate, Timer(), 2, 0.1, TURN_SECONDS)
    interleave(candidates, Timer(), TURNS)
    return [dict(name=entrant.name, weights=entrant.weights,
                 milliseconds=round(1e3 * median(
                     entrant.candidate.seconds) / count, 2))
            for entrant in entrants]


def _entrants(folder: Path, images: np.ndarray) -> Iterator[Entrant]:
    description, known = read_description(folder), set()
    for precision in ('float32', DEFAULT):
        session = open_session(folder, description, torch.get_num_threads(),
                               precision)
        # Most runtimes have no choice.
        if session.name not in known:
            known.add(session.name)
            yield Entrant(session.name, description.precision, Candidate(
                functools.partial(compute, session, images)))


def _torch(network: Network, images: np.ndarray) -> Callable:
    tensor = torch.from_numpy(images)

    def call() -> None:
        with torch.no_grad():
            network(tensor)

    return call
