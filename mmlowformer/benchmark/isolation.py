"""Models in processes of their own, so that a crash costs one model only."""
import signal
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from ..errors import SIGNALS, blocked_signals
from ..utils.timing import Timer, TimeTurn, timer_for
from .candidates import (
    TimedModel,
    empty_row,
    prepare_model,
    set_up,
    time_turn_of,
)
from .models import Spec
from .options import Settings

TURN, PROFILE = 'turn', 'profile'


class IsolatedModel(TimedModel):
    """A model in a worker process, which waits for its turns."""

    def __init__(self, spec: Spec, settings: Settings):
        self.seconds: list[float] = []
        context = _context(settings.options.device)
        self._pipe, pipe = context.Pipe()
        self._process = context.Process(
            target=_work, args=(pipe, spec, settings))
        with blocked_signals():
            self._process.start()
        pipe.close()

    def take_turn(self, timer: Timer, time_turn: TimeTurn) -> None:
        """Let the worker time a turn, unless the model has failed."""
        if self.failure:
            return
        reply = self.ask(TURN)
        if reply:
            self.failure, seconds = reply
            self.seconds += seconds

    def profile(self, calls: int) -> list[dict]:
        """Time the operators of so many calls."""
        return self.ask(PROFILE, calls) or []

    def ask(self, *request: str | int) -> Any:
        """The worker's reply; None if the worker has died."""
        try:
            if request:
                self._pipe.send(request)
            # Programs that the worker has started may hold the pipe open.
            if self._pipe not in wait([self._pipe, self._process.sentinel]):
                raise EOFError
            reply = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            self.failure = _describe_exit(self._process.exitcode or 0)
            return None
        if isinstance(reply, torch.OutOfMemoryError):
            raise reply
        return reply

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def prepare_isolated(spec: Spec, settings: Settings
                     ) -> tuple[dict, IsolatedModel | None]:
    """Prepare a model in a process of its own, like ``prepare_model``."""
    model = IsolatedModel(spec, settings)
    try:
        # The first message of a worker.
        row = model.ask() or dict(empty_row(spec, settings),
                                  failure=model.failure)
    except BaseException:
        model.close()
        raise
    if row['failure']:
        model.close()
        return row, None
    return row, model


def _context(device: str) -> Any:
    """How workers are started."""
    # CUDA does not work in forked processes.
    if device == 'cuda' or 'forkserver' not in get_all_start_methods():
        return get_context('spawn')
    # Forked workers start at once, and share the libraries' memory.
    context = get_context('forkserver')
    context.set_forkserver_preload([__name__])
    return context


def _work(pipe: Connection, spec: Spec, settings: Settings) -> None:
    """Prepare a model, and do what is asked until the pipe is closed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    set_up(settings.options)
    timer = timer_for(settings.options.device, settings.cpu_time)
    try:
        row, model = prepare_model(spec, settings, timer)
        pipe.send(row)
        while model:
            request, *arguments = pipe.recv()
            if request == PROFILE:
                pipe.send(model.profile(*arguments))
                continue
            model.seconds.clear()
            model.take_turn(timer, time_turn_of(settings))
            pipe.send((model.failure, model.seconds))
    except torch.OutOfMemoryError as error:
        pipe.send(torch.OutOfMemoryError(str(error)))
    except EOFError:
        pass  # The first process has ended.


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f'its process exited with status {status}'
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f'signal {-status}'
    return f'its process was killed by {name}' + (
        ', perhaps as memory ran out' if name == 'SIGKILL' else '')
