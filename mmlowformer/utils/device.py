"""Names of the device and of the processor."""
import platform
from pathlib import Path

import torch
from mmengine.device import get_device

from .text import counted


def device_name() -> str:
    """Describe the device of a Runner, for example ``cuda (NVIDIA A100)``."""
    device = get_device()
    if device == 'cuda':
        return f'cuda ({torch.cuda.get_device_name()})'
    return f'{device} ({counted(torch.get_num_threads(), "thread")})'


def cpu_name() -> str:
    """The name of the processor."""
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':')[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
