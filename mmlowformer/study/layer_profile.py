"""Time each layer of a network while the network runs."""
import copy
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..benchmark.candidates import (
    build,
    peak_candidate,
    reference_outputs,
    set_up,
)
from ..benchmark.execution import checked_errors, prepare
from ..benchmark.models import Spec
from ..benchmark.options import Options, Settings
from ..benchmark.run import BenchmarkProgress
from ..errors import UserError
from ..models.exported_model import ExportedNetwork
from ..utils.tensors import tensors_in
from ..utils.timing import (
    Candidate,
    Timer,
    interleave,
    median,
    relative_iqr,
    timer_for,
    warm_up,
)
from .kernel_profile import WHOLE, Profiler, rows_of
from .runtime_profilers import OnnxKernels, OpenVinoKernels
from .sweep import Measurement

# Values that are copied to measure memory bandwidth: more than any cache.
COPIED = dict(cpu=2**25, cuda=2**28)


@dataclass
class Layer:
    """The time of a layer, without the layers inside of it."""

    # Its class; of a convolution its kernel, too.
    kind: str
    # For each call of the network.
    seconds: list[float] = field(default_factory=list)
    # Read and written in a call, weights included.
    bytes: int = 0


class LayerTimer:
    """Calls a network while its layers are timed."""

    def __init__(self, network: nn.Module, call: Callable[[], object],
                 timer: Timer):
        self.network, self.call, self.timer = network, call, timer
        self.layers: dict[str, Layer] = {}
        self._marks: list[tuple] = []
        self._open: list[tuple] = []

    def __call__(self) -> None:
        """Run the network once."""
        with ExitStack() as hooks:
            for name, module in self.network.named_modules():
                hooks.enter_context(
                    module.register_forward_pre_hook(self._enter))
                hooks.enter_context(module.register_forward_hook(
                    partial(self._leave, name)))
            self.call()
        self.timer.synchronize()
        taken: dict[str, float] = defaultdict(float)
        for name, start, end, inside in self._marks:
            taken[name] += self.timer.between(start, end) - sum(
                self.timer.between(*pair) for pair in inside)
        for name, seconds in taken.items():
            self.layers[name].seconds.append(seconds)
        self._marks.clear()

    def _enter(self, module: nn.Module, inputs) -> None:
        self._open.append((self.timer.mark(), []))

    def _leave(self, name: str, module: nn.Module, inputs, outputs) -> None:
        end = self.timer.mark()
        start, inside = self._open.pop()
        self._marks.append((name, start, end, inside))
        if self._open:
            self._open[-1][1].append((start, end))
        layer = self.layers.setdefault(name, Layer(_kind(module)))
        if not layer.seconds:
            layer.bytes += _bytes(module, inputs, outputs)

    def forget(self) -> None:
        """Discard the measurements of the warm-up."""
        for layer in self.layers.values():
            layer.seconds.clear()
            layer.bytes = 0

    def facts(self, name: str) -> tuple[str, int]:
        """Kind and bytes of a layer; one that has not run moves nothing."""
        layer = self.layers.get(name)
        return (layer.kind, layer.bytes) if layer else (
            _kind(self.network.get_submodule(name)), 0)

    def rows(self, macs: dict[str, int], batch_size: int) -> list[dict]:
        """One row for each layer, in the order in which they end."""
        return [dict(name=name or WHOLE, kind=layer.kind,
                     macs=batch_size * macs.get(name, 0), bytes=layer.bytes,
                     milliseconds=1e3 * median(layer.seconds))
                for name, layer in self.layers.items() if layer.seconds]


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        groups = {1: '', module.in_channels: ' depthwise'}.get(
            module.groups, ' grouped')
        return f'conv {height}x{width}{groups}'
    return type(module).__name__


def _bytes(module: nn.Module, inputs, outputs) -> int:
    own = [*module.parameters(recurse=False)]
    return sum(tensor.numel() * tensor.element_size() for tensor in
               [*tensors_in(inputs), *tensors_in(outputs), *own])


def own_macs(model: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-accumulates of each layer, without the layers inside of it."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        # A timer whose clock counts.
        counted = LayerTimer(model, partial(model, image), Timer(
            lambda: counter.get_total_flops() // 2))
        counted()
    return {name: int(layer.seconds[0])
            for name, layer in counted.layers.items() if layer.seconds[0]}


def assign_macs(macs: dict[str, int], new: dict[str, int],
                timed: list[str]) -> dict[str, int]:
    """Assign the MACs of layers that a deployed network skips to others."""
    found = {name: count for name, count in new.items() if name in timed}
    for name, count in macs.items():
        skipped = name not in timed
        while name and name not in timed:
            name = name.rpartition('.')[0]
        if not (skipped and any(other.startswith(f'{name}.')
                                for other in new)):
            found[name] = found.get(name, 0) + count
    return found


def measurement_of(spec: Spec, settings: Settings, calls: int,
            timer: Timer | None = None) -> Measurement:
    """The measurement of a network's layers."""
    _check(settings.options)
    height, _ = settings.shape
    return Measurement(
        dict(model=spec.name, size=height, batch_size=settings.batch_size),
        partial(_measure, spec, settings, calls, timer or timer_for(
            settings.options.device, settings.cpu_time)),
        steps=4 * settings.repeats + 1)


def _check(options: Options) -> None:
    if options.cuda_graph:
        raise UserError('network: a CUDA graph is only timed as a whole; omit '
                        '--cuda-graph')
    if options.backend == 'torchscript':
        raise UserError('network: TorchScript does not report which layers '
                        'its kernels belong to; use --backend onnxruntime or '
                        'openvino, --compile, or tools/benchmark.py --profile '
                        'for operators')
    if options.device == 'cuda' and (options.compile or
                                     options.backend != 'torch'):
        raise UserError('network: on a GPU only eager layers are timed; omit '
                        '--compile and --backend, or profile operators with '
                        'tools/benchmark.py --profile')


def _measure(spec: Spec, settings: Settings, calls: int, timer: Timer,
             progress: BenchmarkProgress) -> dict:
    try:
        return _measure_layers(spec, settings, calls, timer, progress)
    except UserError as error:
        raise UserError(f'{spec.name}: {error}') from error
    except torch.OutOfMemoryError as error:
        raise UserError(f'{spec.name}: out of memory; name smaller --sizes '
                        'or a smaller --batch-size') from error


def _measure_layers(spec: Spec, settings: Settings, calls: int, timer: Timer,
                    progress: BenchmarkProgress) -> dict:
    options = settings.options
    set_up(options)
    progress.step('build')
    model, images = build(spec, settings)
    if isinstance(model, ExportedNetwork):
        raise UserError('an exported file does not name its layers; name the '
                        'model, with --backend onnxruntime or openvino')
    reference = reference_outputs(model, images)
    # The layers of the network before compilation or export.
    eager = replace(options, compile=None, backend='torch')
    network = copy.deepcopy(model)
    with torch.no_grad():
        prepared = prepare(network, eager, images)
        cast = prepared.cast(images)
        layers = LayerTimer(network, partial(prepared.run, cast), timer)
        macs = own_macs(model, images[:1])
        known = dict(model.named_modules())
        new = {name: count for name, count in own_macs(
            network, cast[:1]).items() if name not in known}
        if options != eager:
            # One call detects the layers.
            layers()
            prepared = prepare(copy.deepcopy(model), options, images)
        checked_errors(prepared.call(cast), reference, options.dtype)
    kernels = None if options == eager else _profiler(network, cast, options)
    record = _time(partial(prepared.run, cast), kernels or layers, settings,
                   calls, timer, progress)
    if record['complete']:
        macs = assign_macs(macs, new, list(layers.layers))
        record['rows'] = rows_of(
            kernels.kernels(), macs, layers.facts, settings.batch_size) \
            if kernels else layers.rows(macs, settings.batch_size)
    return record


def _profiler(network: nn.Module, images: Tensor,
              options: Options) -> Profiler:
    if options.compile:
        # It imports a compiler, which others do not need.
        from .inductor_profiler import CompiledKernels
        return CompiledKernels(network, images, options)
    profiler: Callable[..., Profiler] = (
        OnnxKernels if options.backend == 'onnxruntime' else OpenVinoKernels)
    with torch.no_grad():
        return profiler(network, images, options)


def _time(call: Callable[[], None], inside: LayerTimer | Profiler,
          settings: Settings, calls: int, timer: Timer,
          progress: BenchmarkProgress) -> dict:
    device, dtype = settings.options.device, settings.options.dtype
    size, peak = peak_candidate(device, dtype, timer)
    copies = Candidate(_copy(device))
    whole, layers = Candidate(call), Candidate(inside)
    turn = settings.min_time / settings.repeats
    for candidate in (whole, layers, peak, copies):
        warm_up(candidate, timer, settings.warm_up_calls,
                settings.warm_up_time, turn)
    layers.calls = max(1, -(-calls // settings.repeats))
    inside.forget()
    rounds = interleave((whole, layers, peak, copies), timer,
                        settings.repeats, after_turn=progress.step)
    if rounds < settings.repeats:
        return dict(complete=False)
    return dict(
        complete=True, milliseconds=1e3 * median(whole.seconds),
        spread=relative_iqr(whole.seconds),
        watched_milliseconds=1e3 * median(layers.seconds),
        peak_macs_per_second=size**3 / median(peak.seconds),
        bytes_per_second=2 * 4 * COPIED[device] / median(copies.seconds))


def _copy(device: str) -> Callable[[], Tensor]:
    source = torch.ones(COPIED[device], device=device)
    return partial(torch.empty_like(source).copy_, source)
