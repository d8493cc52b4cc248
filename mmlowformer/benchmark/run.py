"""A whole measurement: build, check, warm up, take turns, report."""
import copy
import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..ops.module_utils import to_channels_last
from ..utils.tensors import tensors_in
from ..utils.timing import (
    WIDE_SPREAD,
    Candidate,
    CudaTimer,
    Timer,
    median,
    percentile,
    spread,
    take_turns,
    time_each_call,
    time_window,
    warm_up,
)
from .environment import describe_environment
from .execution import Variant, prepare
from .memory import PeakMemory
from .models import Facts, Spec, facts_of
from .options import DTYPES, Options, options_for
from .output_errors import checked_errors
from .profiling import Share, profile

SCHEMA = 2
MODES = ('throughput', 'latency', 'train')
# Multiplications of two square matrices show what the device can do. They are
# so large, unless the device is slow at this type: then half a second's worth.
PEAK_SIZE = dict(cpu=2048, cuda=8192)
PEAK_SECONDS = 0.5


@dataclass
class Settings:
    """What is measured, and how thoroughly.

    Attributes:
        shape (tuple[int, int]): Height and width of the images.
        batch_size (int): Images in a call.
        mode (str): One of :data:`MODES`.
        options (Options): What is done to the models.
        min_time (float): Seconds that each model is timed for, in all turns
            together.
        repeats (int): Number of turns of each model.
        warm_up_calls (int): At least so many calls before timing.
        warm_up_time (float): At least so many seconds before timing.
        seed (int): Of the images, and of the models' weights.
        profiled_calls (int): How many calls of each model to look into,
            after timing. Defaults to 0.
        cpu_time (bool): Whether to count the seconds of the processor rather
            than those of the clock. Defaults to False.
    """

    shape: tuple[int, int] = (512, 512)
    batch_size: int = 2
    mode: str = 'throughput'
    options: Options = field(default_factory=Options)
    min_time: float = 5.
    repeats: int = 9
    warm_up_calls: int = 3
    warm_up_time: float = 1.
    seed: int = 0
    profiled_calls: int = 0
    cpu_time: bool = False


class BenchmarkProgress:
    """Callbacks of a measurement; these ignore all calls."""

    def message(self, text: str) -> None:
        """Show something that a user has to know."""

    def start_series(self, total_cost: float) -> None:
        """Start a series of measurements."""

    def start_measurement(self, title: str, cost: float, steps: int) -> None:
        """Start a measurement of a series."""

    def start_phase(self, title: str, steps: int) -> None:
        """Start a phase of a measurement."""

    def step(self, text: str = '') -> None:
        """Start a step of the phase."""


@dataclass
class Entrant:
    """A model on its way through the measurement."""

    spec: Spec
    options: Options
    facts: Facts | None = None
    variant: Variant | None = None
    candidate: Candidate | None = None
    errors: list[float] = field(default_factory=list)
    memory: dict = field(default_factory=dict)
    shares: list[Share] = field(default_factory=list)
    failure: str | None = None


def timer_for(settings: Settings) -> Timer:
    if settings.options.device == 'cuda':
        return CudaTimer()
    return Timer(time.process_time if settings.cpu_time else
                 time.perf_counter)


def measure(specs: list[Spec], settings: Settings, timer: Timer | None = None,
            progress: BenchmarkProgress | None = None) -> dict:
    """Measure models side by side."""
    timer = timer or timer_for(settings)
    progress = progress or BenchmarkProgress()
    requested = settings.batch_size
    set_up(settings.options)
    while True:
        try:
            entrants, peaks, rounds = _attempt(
                specs, settings, timer, progress)
            break
        except torch.OutOfMemoryError as error:
            if settings.batch_size == 1:
                raise UserError('out of memory with a single image; name '
                                'smaller models or a smaller --shape') \
                    from error
        # Outside of the except clause, whose traceback holds on to tensors.
        settings.batch_size //= 2
        progress.message('out of memory: all models again with a batch size '
                         f'of {settings.batch_size}')
        _free(settings.options.device)
    return dict(
        schema=SCHEMA, settings=asdict(settings),
        requested_batch_size=requested,
        complete=rounds == settings.repeats, rounds=rounds,
        environment=describe_environment(settings.options.device),
        peak=peaks,
        rows=[_row(entrant, settings,
                   peaks[entrant.options.dtype]['flops'])
              for entrant in entrants])


def set_up(options: Options) -> None:
    """Set what is the same for all models of a process."""
    if options.threads:
        torch.set_num_threads(options.threads)
    tf32 = options.dtype == 'tf32'
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # Sizes never change, so the fastest kernel can be looked for.
    torch.backends.cudnn.benchmark = True


def _free(device: str) -> None:
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()


def _attempt(specs: list[Spec], settings: Settings, timer: Timer,
             progress: BenchmarkProgress) -> tuple[list[Entrant], dict, int]:
    """Measure with the batch size as it is."""
    entrants = [Entrant(spec, options_for(settings.options, spec.options))
                for spec in specs]
    progress.start_phase('build, check, warm up', len(entrants))
    for entrant in entrants:
        progress.step(entrant.spec.name)
        _enter(entrant, settings, timer)
    running = [entrant for entrant in entrants if entrant.candidate]
    peaks = {dtype: peak_candidate(settings.options.device, dtype, timer)
             for dtype in dict.fromkeys(e.options.dtype for e in entrants)}
    for _, peak in peaks.values():
        warm_up(peak, timer, 2, 0.2, settings.min_time / settings.repeats / 4)
    progress.start_phase('take turns',
                   settings.repeats * (len(running) + len(peaks)))
    rounds = take_turns(
        [*(entrant.candidate for entrant in running if entrant.candidate),
         *(peak for _, peak in peaks.values())],
        timer, settings.repeats,
        time_each_call if settings.mode == 'latency' else time_window,
        progress.step)
    if settings.profiled_calls and rounds == settings.repeats:
        _profile(running, settings, progress)
    return entrants, {
        dtype: dict(flops=2 * size**3 / median(peak.seconds), size=size)
        for dtype, (size, peak) in peaks.items()}, rounds


def _profile(running: list[Entrant], settings: Settings,
             progress: BenchmarkProgress) -> None:
    progress.start_phase('profile', len(running))
    for entrant in running:
        progress.step(entrant.spec.name)
        if entrant.candidate:
            entrant.shares = profile(entrant.candidate.call,
                                     settings.profiled_calls,
                                     settings.options.device)


def _enter(entrant: Entrant, settings: Settings, timer: Timer) -> None:
    """Get a model ready, or note why it cannot take part."""
    try:
        memory = PeakMemory(settings.options.device)
        entrant.candidate = _build(entrant, settings)
        warm_up(entrant.candidate, timer, settings.warm_up_calls,
                settings.warm_up_time, settings.min_time / settings.repeats)
        entrant.memory = memory.read()
    except torch.OutOfMemoryError:
        raise
    # Whatever is wrong with one model, the others are measured.
    except Exception as error:
        if 'out of memory' in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        entrant.candidate = None
        entrant.failure = f'{type(error).__name__}: ' + (
            str(error) or 'no message').splitlines()[0]


def _build(entrant: Entrant, settings: Settings) -> Candidate:
    options = entrant.options
    torch.manual_seed(settings.seed)
    images = torch.randn(settings.batch_size, entrant.spec.channels,
                         *settings.shape, device=options.device)
    model = entrant.spec.build().to(options.device)
    # Some backbones of MMPreTrain return nothing here.
    model.eval()
    entrant.facts = facts_of(model, settings.shape,
                             entrant.spec.channels)
    if settings.mode == 'train':
        return Candidate(_training_step(model, options, images))
    with torch.inference_mode():
        reference = [output.clone() for output in tensors_in(model(images))]
    # Compiling and tracing do not go together with inference mode.
    with torch.no_grad():
        entrant.variant = prepare(copy.deepcopy(model), options, images)
        del model
        cast = entrant.variant.cast(images)
        outputs = entrant.variant.call(cast)
    entrant.errors = checked_errors(outputs, reference, options.dtype)
    return Candidate(partial(_infer, entrant.variant, cast))


def _infer(variant: Variant, images: Tensor) -> None:
    with variant.guard():
        variant.call(images)


def _training_step(model: nn.Module, options: Options,
                   images: Tensor) -> Callable[[], None]:
    """Forward, backward and AdamW."""
    if options.channels_last:
        to_channels_last(model)
        images = images.contiguous(memory_format=torch.channels_last)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters())
    dtype = DTYPES[options.dtype]

    def step() -> None:
        with torch.autocast(options.device, dtype,
                            enabled=dtype != torch.float32):
            outputs = tensors_in(model(images))
        losses = [output.float().pow(2).mean() for output in outputs]
        torch.stack(losses).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak_candidate(device: str, dtype: str,
                   timer: Timer) -> tuple[int, Candidate]:
    """The size of the matrices, and their multiplication."""
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


def _row(entrant: Entrant, settings: Settings, peak: float) -> dict:
    spec, facts, variant = entrant.spec, entrant.facts, entrant.variant
    row: dict[str, object] = dict(
        name=spec.name, family=spec.family, kind=spec.kind,
               options=asdict(entrant.options), failure=entrant.failure)
    if facts:
        row.update(asdict(facts))
    if not facts or not entrant.candidate:
        return row
    seconds = entrant.candidate.seconds
    rate = settings.batch_size / median(seconds)
    row.update(
        batch_size=settings.batch_size,
        images_per_second=rate,
        milliseconds=dict(
            min=1e3 * min(seconds),
            **{f'p{p}': 1e3 * percentile(seconds, p) for p in (50, 90, 99)}),
        spread=spread(seconds), unsteady=spread(seconds) > WIDE_SPREAD,
        turns=len(seconds), memory=entrant.memory,
        profile=[asdict(share) for share in entrant.shares])
    if variant:
        row.update(
            macs_per_second=rate * facts.macs,
            fraction_of_peak=2 * rate * facts.macs / peak,
            errors=entrant.errors, steps=variant.steps,
            compile_seconds=variant.compile_seconds)
    return row
