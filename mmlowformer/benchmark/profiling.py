"""Profile a call, operator by operator."""
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from ..utils.timing import median

# Called by convolutions of deployed networks.
PACKED = 'mkldnn::_convolution_pointwise'
OPERATORS = ('aten::', PACKED)


@dataclass
class OperatorTime:
    """The time of all operators of one kind in a call."""

    # For convolutions with the kernel size.
    operator: str
    count: int = 0
    milliseconds: float = 0.
    # For all images; 0 if torch's profiler does not count them.
    macs: int = 0


def profile(call: Callable[[], object], count: int,
            device: str) -> list[OperatorTime]:
    """Time the operators of a call; compiled code hides them."""
    # Kineto would print several lines for each call.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    calls = [_profile_once(call, device) for _ in range(count)]
    times = [
        replace(time, milliseconds=median(
            [one[kind].milliseconds for one in calls if kind in one]))
        for kind, time in calls[0].items()]
    return sorted(times, key=lambda time: -time.milliseconds)


def _profile_once(call: Callable[[], object],
                  device: str) -> dict[str, OperatorTime]:
    activities = [ProfilerActivity.CPU]
    if device == 'cuda':
        activities.append(ProfilerActivity.CUDA)
    with torch_profile(activities=activities, record_shapes=True,
                       with_flops=True, acc_events=True) as recorded:
        call()
    times: dict[str, OperatorTime] = {}
    for event in recorded.events():
        # The outermost operators include all that they call.
        if event.cpu_parent is None and event.name.startswith(OPERATORS):
            kind = _kind(event)
            time = times.setdefault(kind, OperatorTime(kind))
            time.count += 1
            time.milliseconds += 1e-3 * (
                event.device_time_total if device == 'cuda' else
                event.cpu_time_total)
            time.macs += _macs(event)
    return times


def _kind(event: FunctionEvent) -> str:
    name = event.name.rpartition('::')[2]
    if name != 'conv2d' and event.name != PACKED:
        return name
    # The annotation of input_shapes is wrong.
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
