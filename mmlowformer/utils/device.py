"""Names of the device and of the processor, and what it can compute."""
import os
import platform
from pathlib import Path

import torch
from mmengine.device import get_device

from .text import counted

# CPU capabilities, of x86 and ARM.
INSTRUCTIONS = {torch.bfloat16: ('avx512_bf16', 'amx_bf16', 'bf16'),
                torch.float16: ('avx512_fp16', 'amx_fp16', 'fp16_arith')}


def device_name() -> str:
    """Describe the device of a Runner, for example ``cuda (NVIDIA A100)``."""
    device = get_device()
    if device == 'cuda':
        return f'cuda ({torch.cuda.get_device_name()})'
    return f'{device} ({counted(torch.get_num_threads(), "thread")})'


def usable_cpus() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The name of the processor."""
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':')[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def has_instructions(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for a data type."""
    if dtype == torch.float32:
        return True
    # torch before 2.10 cannot list them.
    capabilities: dict = getattr(torch.cpu, 'get_capabilities', dict)()
    return any(capabilities.get(name) for name in INSTRUCTIONS[dtype])
