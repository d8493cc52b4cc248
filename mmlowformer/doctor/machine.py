"""Checks of the machine: GPU and driver, disk, shared memory, load."""
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

from . import fixes
from .facts import Facts
from .results import Result, broken, missing, ok, skipped, warning

SHARED_MEMORY = '/dev/shm'
MARK_OF_DOCKER = '/.dockerenv'
DRIVER_TOO_OLD = 'The NVIDIA driver on your system is too old'
CPU_TORCH = 'AssertionError: Torch not compiled with CUDA enabled'
BUS_ERROR = ('RuntimeError: DataLoader worker (pid ...) is killed by signal: '
             'Bus error.')
DISK_FULL = 'OSError: [Errno 28] No space left on device'
RELOAD_DRIVER = 'sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm'
# The configs' learning rates are for so many.
GPUS = 8
PEERS = ('timm', 'onnx', 'onnxruntime', 'openvino')


def driver() -> dict | None:
    """Version and newest CUDA of the NVIDIA driver, None without one."""
    try:
        text = subprocess.run(
            ['nvidia-smi'], capture_output=True, text=True, check=True,
            timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = {key: re.search(pattern, text) for key, pattern in (
        ('version', r'Driver Version:\s*([\d.]+)'),
        ('cuda', r'CUDA [\w ]*Version:\s*([\d.]+)'))}
    return {key: match.group(1) if match else ''
            for key, match in found.items()}


def check_gpu(facts: Facts) -> Iterator[Result]:
    """CUDA of torch against the driver, and a computation."""
    gpu = facts.value('gpu')
    if not facts.works('torch'):
        yield skipped('GPU', 'torch')
    elif gpu is None:
        yield broken('GPU', 'torch fails to look for one',
                     facts.error('gpu'), RELOAD_DRIVER)
    elif gpu['available']:
        yield _computing(facts, gpu)
    else:
        yield _unused(gpu, driver())


def _computing(facts: Facts, gpu: dict) -> Result:
    error = facts.error('gpu computes')
    if not error:
        few = gpu['count'] < GPUS and facts.tasks & {'train'}
        return ok('GPU', f'{gpu["count"]} x {gpu["name"]}, CUDA '
                  f'{gpu["cuda"]}', *(_TOO_HIGH_A_RATE if few else ()))
    old = 'no kernel image' in error and gpu['capability'] < [7, 5]
    return broken('GPU', f'torch does not compute on this {gpu["name"]}',
                  error, fixes.TORCH_FOR_OLD_GPUS if old else
                  fixes.TORCH)


_TOO_HIGH_A_RATE = ('loss: nan, with a learning rate for 8 GPUs on fewer',
                    'python tools/train.py CONFIG --auto-scale-lr')


def _unused(gpu: dict, driver: dict | None) -> Result:
    """Why torch sees no GPU."""
    if os.environ.get('CUDA_VISIBLE_DEVICES', '0') in ('', '-1'):
        return ok('GPU', 'hidden by CUDA_VISIBLE_DEVICES')
    if driver is None:
        if shutil.which('nvidia-smi'):
            return warning('GPU', 'nvidia-smi fails, so the driver does',
                           "NVIDIA-SMI has failed because it couldn't "
                           'communicate with the NVIDIA driver',
                           'sudo modprobe nvidia')
        return ok('GPU', 'none; all runs on the CPU')
    text = f'driver {driver["version"]} for CUDA {driver["cuda"]}'
    if gpu['cuda'] is None:
        return broken('GPU', f'{text}, but this torch is for the CPU only',
                      CPU_TORCH, fixes.reinstall_torch())
    major = int(driver['cuda'].split('.')[0] or 0)
    if major < int(gpu['cuda'].split('.')[0]) \
            or DRIVER_TOO_OLD in gpu['warning']:
        remedy = (fixes.TORCH_FOR_CUDA_12 if major == 12 else
                  fixes.NEWER_DRIVER)
        return broken('GPU', f'{text}, torch is for {gpu["cuda"]}',
                      DRIVER_TOO_OLD, remedy)
    return broken('GPU', f'{text}, but torch sees none',
                  gpu['warning'] or 'torch.cuda.is_available() is False',
                  RELOAD_DRIVER)


def check_distributed(facts: Facts) -> Iterator[Result]:
    """What several processes need."""
    name = 'distributed'
    if not facts.works('distributed'):
        yield skipped(name, 'torch')
    elif facts.value('distributed'):
        yield ok(name, 'torch can start several processes')
    else:
        yield warning(name, 'this torch has none: one process only',
                      'RuntimeError: Default process group has not been '
                      'initialized', fixes.TORCH)


def free_space(path: str) -> float | None:
    """What is free on the disk of a folder, in GiB."""
    if not os.path.isdir(path):
        return None
    return shutil.disk_usage(path).free / 2**30


def check_shared_memory(facts: Facts) -> Iterator[Result]:
    """Room for the batches of the data loaders' workers."""
    name = 'shared memory'
    free = free_space(SHARED_MEMORY)
    if free is None:
        yield ok(name, f'no {SHARED_MEMORY} on this system')
        return
    text = f'{free:.2g} GiB free in {SHARED_MEMORY}'
    remedy = fixes.SHARED_MEMORY
    if os.path.exists(MARK_OF_DOCKER):
        remedy = fixes.DOCKER_SHARED_MEMORY
    if free < 0.125:
        yield broken(name, f"{text}, too little for the loaders' workers",
                     BUS_ERROR, remedy)
    elif free < 1:
        yield warning(name, f'{text}, little for large images', BUS_ERROR,
                      remedy)
    else:
        yield ok(name, text)


def check_disk(facts: Facts) -> Iterator[Result]:
    """Room for checkpoints in this folder."""
    free = free_space('.') or 0.
    text = f'{free:.2g} GiB free here'
    remedy = 'python tools/train.py CONFIG --work-dir /larger/disk/NAME'
    if free < 1:
        yield broken('disk', f'{text}, a checkpoint takes up to 1',
                     DISK_FULL, remedy)
    elif free < 5:
        yield warning('disk', f'{text}, room for few checkpoints', DISK_FULL,
                      remedy)
    else:
        yield ok('disk', text)


def check_peers(facts: Facts) -> Iterator[Result]:
    """What LowFormer is compared with."""
    absent = [name for name in PEERS if name not in facts.versions]
    if absent:
        yield missing('to compare', f"No module named '{absent[0]}'",
                      f'pip install {" ".join(absent)}',
                      f'not installed: {", ".join(absent)}')
    else:
        yield ok('to compare', ', '.join(PEERS))


def check_load(facts: Facts) -> Iterator[Result]:
    """Times are of use on an idle machine only."""
    cores = os.cpu_count() or 1
    text = f'{facts.load:.1f} processes on {cores} cores in the last minute'
    if facts.load > 0.5 * cores + 0.5:
        yield warning('load', text, 'times that differ from run to run',
                      'top -o %CPU')
    else:
        yield ok('load', text)
