"""Measure models: build, check, warm up, interleave, report."""
import copy
import gc
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..utils.tensors import tensors_in
from ..utils.timing import (
    WIDE_SPREAD,
    Candidate,
    Timer,
    interleave,
    median,
    percentile,
    relative_iqr,
    time_each_call,
    time_window,
    timer_for,
    warm_up,
)
from .environment import describe_environment
from .execution import PreparedModel, prepare
from .memory import PeakMemory
from .models import ModelInfo, Spec, model_info
from .options import DTYPES, Options, options_for
from .output_errors import checked_errors
from .profiling import OperatorTime, profile
from .training import TrainingStep, prepare_training

SCHEMA = 2
MODES = ('throughput', 'latency', 'train')
# The product of two square matrices of this size is the peak of the device;
# of a smaller size where it takes longer than PEAK_SECONDS.
PEAK_SIZE = dict(cpu=2048, cuda=8192)
PEAK_SECONDS = 0.5


@dataclass
class Settings:
    """What to measure, and for how long."""

    # Height and width of the images.
    shape: tuple[int, int] = (512, 512)
    batch_size: int = 2
    mode: str = 'throughput'
    options: Options = field(default_factory=Options)
    # Seconds of timing for each model, in all turns together.
    min_time: float = 5.
    # Turns of each model.
    repeats: int = 9
    # At least so much warm-up.
    warm_up_calls: int = 3
    warm_up_time: float = 1.
    # Of the images and weights.
    seed: int = 0
    # Calls of each model to profile after timing.
    profiled_calls: int = 0
    # Count processor seconds instead of elapsed time.
    cpu_time: bool = False


class BenchmarkProgress:
    """Callbacks of a measurement; this base class ignores all calls."""

    def message(self, text: str) -> None:
        """Show a message to the user."""

    def start_series(self, total_cost: float) -> None:
        """Start a series of measurements."""

    def start_measurement(self, title: str, cost: float, steps: int) -> None:
        """Start a measurement of a series."""

    def start_phase(self, title: str, steps: int) -> None:
        """Start a phase of a measurement."""

    def step(self, text: str = '') -> None:
        """Start a step of the phase."""


@dataclass
class BenchmarkedModel:
    """A model and its measurements."""

    spec: Spec
    options: Options
    info: ModelInfo | None = None
    prepared: PreparedModel | None = None
    training: TrainingStep | None = None
    candidate: Candidate | None = None
    errors: list[float] = field(default_factory=list)
    memory: dict = field(default_factory=dict)
    operators: list[OperatorTime] = field(default_factory=list)
    failure: str | None = None


def benchmark(specs: list[Spec], settings: Settings,
              timer: Timer | None = None,
              progress: BenchmarkProgress | None = None) -> dict:
    """Measure models in turns.

    If memory runs out, all models are measured again with half the batch
    size.

    Args:
        specs (list[Spec]): The models.
        settings (Settings): What is measured, and for how long.
        timer (Timer, optional): Defaults to the device's timer.
        progress (BenchmarkProgress, optional): Callbacks.

    Returns:
        dict: Settings, environment, peak, and a row for each model; plain
        values, as the JSON file has them.

    Raises:
        UserError: If a single image does not fit into memory.
    """
    timer = timer or timer_for(settings.options.device,
                              settings.cpu_time)
    progress = progress or BenchmarkProgress()
    requested = settings.batch_size
    set_up(settings.options)
    while True:
        try:
            entries, peaks, rounds = _attempt(
                specs, settings, timer, progress)
            break
        except torch.OutOfMemoryError as error:
            if settings.batch_size == 1:
                raise UserError('out of memory with a single image; name '
                                'smaller models or a smaller --shape') \
                    from error
        # After the except clause, whose traceback keeps tensors alive.
        settings.batch_size //= 2
        progress.message('out of memory: all models again with a batch size '
                         f'of {settings.batch_size}')
        gc.collect()
        torch.cuda.empty_cache()
    return dict(
        schema=SCHEMA, settings=asdict(settings),
        requested_batch_size=requested,
        complete=rounds == settings.repeats, rounds=rounds,
        environment=describe_environment(settings.options.device),
        peak=peaks,
        rows=[_row(entry, settings,
                   peaks[entry.options.dtype]['flops'])
              for entry in entries])


def set_up(options: Options) -> None:
    """Apply the settings that all models of a process share."""
    if options.threads:
        torch.set_num_threads(options.threads)
    tf32 = options.dtype == 'tf32'
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # Sizes never change, so cuDNN can search for the fastest kernel.
    torch.backends.cudnn.benchmark = True


def _attempt(specs: list[Spec], settings: Settings, timer: Timer,
             progress: BenchmarkProgress
             ) -> tuple[list[BenchmarkedModel], dict, int]:
    """Measure with this batch size."""
    entries = [BenchmarkedModel(spec, options_for(settings.options,
                                                  spec.options))
               for spec in specs]
    progress.start_phase('build, check, warm up', len(entries))
    for entry in entries:
        progress.step(entry.spec.name)
        _prepare_entry(entry, settings, timer)
    running = [entry.candidate for entry in entries if entry.candidate]
    peaks = {dtype: peak_candidate(settings.options.device, dtype, timer)
             for dtype in dict.fromkeys(e.options.dtype for e in entries)}
    for _, peak in peaks.values():
        warm_up(peak, timer, 2, 0.2, settings.min_time / settings.repeats / 4)
    progress.start_phase('measure', settings.repeats * (
        len(running) + len(peaks)))
    rounds = interleave(
        [*running, *(peak for _, peak in peaks.values())],
        timer, settings.repeats,
        time_each_call if settings.mode == 'latency' else time_window,
        progress.step)
    if settings.profiled_calls and rounds == settings.repeats:
        _profile(entries, settings, progress)
    return entries, {
        dtype: dict(flops=2 * size**3 / median(peak.seconds), size=size)
        for dtype, (size, peak) in peaks.items()}, rounds


def _profile(entries: list[BenchmarkedModel], settings: Settings,
             progress: BenchmarkProgress) -> None:
    progress.start_phase('profile', len(entries))
    for entry in entries:
        progress.step(entry.spec.name)
        if entry.candidate:
            entry.operators = profile(
                entry.candidate.call, settings.profiled_calls,
                settings.options.device)


def _prepare_entry(entry: BenchmarkedModel, settings: Settings,
                   timer: Timer) -> None:
    """Prepare a model, or record why it fails; others are still measured."""
    try:
        memory = PeakMemory(settings.options.device)
        entry.candidate = _build(entry, settings)
        warm_up(entry.candidate, timer, settings.warm_up_calls,
                settings.warm_up_time, settings.min_time / settings.repeats)
        entry.memory = memory.read()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if 'out of memory' in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        entry.candidate = None
        entry.failure = f'{type(error).__name__}: ' + (
            str(error) or 'no message').splitlines()[0]


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


def _build(entry: BenchmarkedModel, settings: Settings) -> Candidate:
    options = entry.options
    model, images = build(entry.spec, replace(settings, options=options))
    entry.info = model_info(model, settings.shape, entry.spec.channels)
    if settings.mode == 'train':
        entry.training = prepare_training(model, entry.spec, options, images)
        return Candidate(entry.training.call)
    reference = reference_outputs(model, images)
    # Compilation and tracing do not work in inference mode.
    with torch.no_grad():
        entry.prepared = prepare(copy.deepcopy(model), options, images)
        del model
        cast = entry.prepared.cast(images)
        outputs = entry.prepared.call(cast)
    entry.errors = checked_errors(outputs, reference, options.dtype)
    return Candidate(partial(entry.prepared.run, cast))


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


def _row(entry: BenchmarkedModel, settings: Settings, peak: float) -> dict:
    spec, info, prepared = entry.spec, entry.info, entry.prepared
    row: dict[str, object] = dict(
        name=spec.name, family=spec.family, kind=spec.kind,
        options=asdict(entry.options), failure=entry.failure)
    if info:
        row.update(asdict(info))
    if not info or not entry.candidate:
        return row
    seconds = entry.candidate.seconds
    rate = settings.batch_size / median(seconds)
    spread = relative_iqr(seconds)
    row.update(
        batch_size=settings.batch_size, images_per_second=rate,
        milliseconds=dict(
            min=1e3 * min(seconds),
            **{f'p{p}': 1e3 * percentile(seconds, p) for p in (50, 90, 99)}),
        spread=spread, unsteady=spread > WIDE_SPREAD, turns=len(seconds),
        memory=entry.memory,
        profile=[asdict(operator) for operator in entry.operators])
    if entry.training:
        row.update(steps=entry.training.steps,
                   compile_seconds=entry.training.compile_seconds)
    if prepared:
        row.update(
            macs_per_second=rate * info.macs,
            fraction_of_peak=2 * rate * info.macs / peak,
            errors=entry.errors, steps=prepared.steps,
            compile_seconds=prepared.compile_seconds)
    return row
