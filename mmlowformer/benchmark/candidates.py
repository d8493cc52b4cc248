"""Build, check and warm up a model that is then timed in turns."""
import copy
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..utils.tensors import tensors_in
from ..utils.timing import (
    Candidate,
    TakesTurns,
    Timer,
    TimeTurn,
    time_each_call,
    time_window,
    warm_up,
)
from .execution import checked_errors, prepare
from .memory import PeakMemory
from .models import Spec, kind_of, model_info
from .options import DTYPES, Options, Settings, options_for
from .profiling import profile
from .training import prepare_training

# The product of two square matrices of this size is the peak of the device;
# of a smaller size where it takes longer than PEAK_SECONDS.
PEAK_SIZE = dict(cpu=2048, cuda=8192)
PEAK_SECONDS = 0.5


class TimedModel(TakesTurns):
    """A model that is timed in turns, here or in another process."""

    # Why it cannot be timed any more.
    failure: str | None = None

    def profile(self, calls: int) -> list[dict]:
        """Time the operators of so many calls."""
        raise NotImplementedError

    def close(self) -> None:
        """Free its memory."""


@dataclass
class LocalModel(Candidate, TimedModel):
    """A model in this process; an error in a turn ends its measurement."""

    device: str = 'cpu'

    def take_turn(self, timer: Timer, time_turn: TimeTurn) -> None:
        """Call it, and time it, unless it has failed."""
        if self.failure:
            return
        try:
            super().take_turn(timer, time_turn)
        except Exception as error:
            self.failure = describe_failure(error)

    def profile(self, calls: int) -> list[dict]:
        """Time the operators of so many calls."""
        return [asdict(operator) for operator in
                profile(self.call, calls, self.device)]


def set_up(options: Options) -> None:
    """Apply the settings that all models of a process share."""
    if options.threads:
        torch.set_num_threads(options.threads)
    tf32 = options.dtype == 'tf32'
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # Sizes never change, so cuDNN can search for the fastest kernel.
    torch.backends.cudnn.benchmark = True


def describe_failure(error: Exception) -> str:
    """Why a model fails; others are measured unless memory runs out."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    if 'out of memory' in str(error):
        raise torch.OutOfMemoryError(str(error)) from error
    return f'{type(error).__name__}: ' + (
        str(error) or 'no message').splitlines()[0]


def time_turn_of(settings: Settings) -> TimeTurn:
    """How the calls of a turn are timed."""
    return time_each_call if settings.mode == 'latency' else time_window


def empty_row(spec: Spec, settings: Settings) -> dict:
    """What is known of a model before it is built."""
    return dict(name=spec.name, family=spec.family, kind=spec.kind,
                options=asdict(options_for(settings.options, spec.options)),
                failure=None)


def prepare_model(spec: Spec, settings: Settings,
                  timer: Timer) -> tuple[dict, LocalModel | None]:
    """Prepare a model: its row of plain values, and what is timed.

    The row of a model that fails has the reason in ``failure``.
    """
    row = empty_row(spec, settings)
    try:
        memory = PeakMemory(settings.options.device)
        candidate = _build(spec, settings, row)
        warm_up(candidate, timer, settings.warm_up_calls,
                settings.warm_up_time, settings.min_time / settings.repeats)
        row['memory'] = memory.read()
    except Exception as error:
        row['failure'] = describe_failure(error)
        return row, None
    return row, candidate


def build(spec: Spec, settings: Settings) -> tuple[nn.Module, Tensor]:
    """Build a model, and images for it."""
    torch.manual_seed(settings.seed)
    images = torch.randn(settings.batch_size, spec.channels, *settings.shape,
                         device=settings.options.device)
    model = spec.build().to(settings.options.device)
    # Some backbones of MMPreTrain return None here.
    model.eval()
    return model, images


def reference_outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The outputs of a model as it was built."""
    with torch.inference_mode():
        return [output.clone() for output in tensors_in(model(images))]


def _build(spec: Spec, settings: Settings, row: dict) -> LocalModel:
    options = options_for(settings.options, spec.options)
    model, images = build(spec, replace(settings, options=options))
    row.update(asdict(model_info(model, settings.shape, spec.channels)),
               kind=kind_of(spec, model))
    if settings.mode == 'train':
        training = prepare_training(model, spec, options, images)
        row.update(steps=training.steps,
                   compile_seconds=training.compile_seconds)
        return LocalModel(training.call, device=options.device)
    reference = reference_outputs(model, images)
    # Compilation and tracing do not work in inference mode.
    with torch.no_grad():
        prepared = prepare(copy.deepcopy(model), options, images)
        del model
        cast = prepared.cast(images)
        outputs = prepared.call(cast)
    row.update(errors=checked_errors(outputs, reference, options.dtype),
               steps=prepared.steps, compile_seconds=prepared.compile_seconds)
    return LocalModel(partial(prepared.run, cast), device=options.device)


def peak_candidate(device: str, dtype: str,
                   timer: Timer) -> tuple[int, Candidate]:
    """The size of the matrices, and their product."""
    size = min(256, PEAK_SIZE[device])
    while True:
        one, other = torch.randn(2, size, size, device=device,
                                 dtype=DTYPES[dtype])
        candidate = Candidate(partial(torch.matmul, one, other))
        # Twice the size takes eight times as long.
        if (size == PEAK_SIZE[device]
                or 8 * timer.measure(candidate.call) > PEAK_SECONDS):
            return size, candidate
        size *= 2
