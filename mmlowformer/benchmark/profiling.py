"""Where the time of a call goes, operator by operator."""
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from ..utils.timing import median

# torch's, and what convolutions of deployed networks call.
PACKED = 'mkldnn::_convolution_pointwise'
OPERATORS = ('aten::', PACKED)


@dataclass
class Share:
    """What the operators of one kind take of a call.

    Attributes:
        operator (str): The kind; of a convolution its kernel, too.
        count (int): How many of them a call has.
        milliseconds (float): What they take together.
        macs (int): Their multiply-accumulates, for all images; 0 where
            torch's profiler does not know them.
    """

    operator: str
    count: int = 0
    milliseconds: float = 0.
    macs: int = 0


def profile(call: Callable[[], object], times: int,
            device: str) -> list[Share]:
    """Measure the operators that a call consists of.

    What a compiler or an exporter has fused is not seen.
    """
    # Or several lines would be printed for each call.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    calls = [_profile_once(call, device) for _ in range(times)]
    shares = [
        replace(share, milliseconds=median(
            [one[kind].milliseconds for one in calls if kind in one]))
        for kind, share in calls[0].items()]
    return sorted(shares, key=lambda share: -share.milliseconds)


def _profile_once(call: Callable[[], object], device: str) -> dict[str, Share]:
    activities = [ProfilerActivity.CPU]
    if device == 'cuda':
        activities.append(ProfilerActivity.CUDA)
    with torch_profile(activities=activities, record_shapes=True,
                       with_flops=True, acc_events=True) as recorded:
        call()
    shares: dict[str, Share] = {}
    for event in recorded.events():
        # Operators that a call consists of, with all that they call.
        if event.cpu_parent is None and event.name.startswith(OPERATORS):
            kind = _kind(event)
            share = shares.setdefault(kind, Share(kind))
            share.count += 1
            share.milliseconds += 1e-3 * (
                event.device_time_total if device == 'cuda' else
                event.cpu_time_total)
            share.macs += _macs(event)
    return shares


def _kind(event: FunctionEvent) -> str:
    name = event.name.rpartition('::')[2]
    if name != 'conv2d' and event.name != PACKED:
        return name
    # As torch records them, although its annotation says otherwise.
    shapes: Sequence = event.input_shapes
    (_, in_channels, *_), (_, channels, height, width) = shapes[:2]
    groups = (' depthwise' if channels == 1 else
              ' in groups' if channels < in_channels else '')
    return f'conv2d {height}x{width}{groups}'


def _macs(event: FunctionEvent) -> int:
    if event.name != PACKED:
        return (event.flops or 0) // 2
    shapes: Sequence = event.input_shapes
    (images, _, *size), weight = shapes[:2]
    settings: Sequence = event.concrete_inputs[3:6]
    positions = [
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, kernel, padding, stride, dilation in zip(
            size, weight[2:], *settings)]
    return images * prod(positions) * prod(weight)
