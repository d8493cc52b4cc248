"""Checks of the machine: GPU, compilers, free space and load."""
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

from . import fixes
from .environment import CheckResult, Environment, broken, ok, warning

SHARED_MEMORY, DOCKER_MARK = '/dev/shm', '/.dockerenv'
DRIVER_TOO_OLD = 'The NVIDIA driver on your system is too old'
RELOAD_DRIVER = 'sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm'


def driver() -> dict[str, str] | None:
    """Version of the NVIDIA driver, and the newest CUDA that it supports."""
    try:
        text = subprocess.run(['nvidia-smi'], capture_output=True, text=True,
                              check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = dict(version=re.search(r'Driver Version:\s*([\d.]+)', text),
                 cuda=re.search(r'CUDA [\w ]*Version:\s*([\d.]+)', text))
    return {key: match.group(1) if match else ''
            for key, match in found.items()}


def gpu(env: Environment) -> CheckResult:
    found, error = env['gpu'], env.error('gpu computes')
    if not found:
        return broken('torch fails to look for one', env.error('gpu'),
                      RELOAD_DRIVER)
    if not found['available']:
        return unused_gpu(found, driver())
    if error:
        old = 'no kernel image' in error and found['capability'] < [7, 5]
        return broken(f'torch does not compute on this {found["name"]}',
                      error, fixes.TORCH_FOR_OLD_GPUS if old else fixes.TORCH)
    text = f'{found["count"]} x {found["name"]}, CUDA {found["cuda"]}'
    # The learning rates of the configs are for eight.
    if found['count'] < 8 and 'train' in env.tasks:
        return ok(text, 'loss: nan, with a learning rate for 8 GPUs on fewer',
                  'python tools/train.py CONFIG --auto-scale-lr')
    return ok(text)


def unused_gpu(gpu: dict, driver: dict[str, str] | None) -> CheckResult:
    if os.environ.get('CUDA_VISIBLE_DEVICES', '0') in ('', '-1'):
        return ok('hidden by CUDA_VISIBLE_DEVICES')
    if not driver and not shutil.which('nvidia-smi'):
        return ok('none; everything runs on the CPU')
    if not driver:
        return warning('nvidia-smi fails, so the driver does',
                       "NVIDIA-SMI has failed because it couldn't "
                       'communicate with the NVIDIA driver',
                       'sudo modprobe nvidia')
    text = f'driver {driver["version"]} for CUDA {driver["cuda"]}'
    if gpu['cuda'] is None:
        return broken(f'{text}, but this torch is for the CPU only',
                      'AssertionError: Torch not compiled with CUDA enabled',
                      fixes.TORCH_AGAIN)
    major = int(driver['cuda'].split('.')[0] or 0)
    if (major < int(gpu['cuda'].split('.')[0])
            or DRIVER_TOO_OLD in gpu['warning']):
        return broken(f'{text}, torch is for {gpu["cuda"]}', DRIVER_TOO_OLD,
                      fixes.TORCH_FOR_CUDA_12 if major == 12 else
                      'sudo ubuntu-drivers install')
    return broken(f'{text}, but torch sees none', gpu['warning']
                  or 'torch.cuda.is_available() is False', RELOAD_DRIVER)


def compile_error(standard: str) -> str:
    """The first error of compiling three lines as mmcv's are compiled."""
    torch = importlib.util.find_spec('torch')
    headers = Path(torch.origin).parent / 'include' if (
        torch and torch.origin) else Path()
    command = [*shlex.split(os.environ.get('CXX', 'g++')), f'-std={standard}',
               '-E', '-x', 'c++', '-', '-o', os.devnull,
               f'-I{sysconfig.get_path("include")}', f'-I{headers}',
               f'-I{headers / "torch/csrc/api/include"}']
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=120,
            input='#include <Python.h>\n#include <torch/all.h>\nint i;\n')
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return next((line for line in result.stderr.splitlines()
                 if result.returncode and 'error' in line), '')


def compiler(env: Environment) -> CheckResult | None:
    """The tools that compiling mmcv needs, if it must be compiled."""
    if (not env.error('mmcv._ext') or env.error('torch')
            or not env.needs_ops):
        return None
    # make setup and the forks leave the choice to torch.
    standard = ('c++20' if fixes.checkout_venv() or env.forks else 'c++17')
    if error := compile_error(standard):
        if 'Python.h' in error:
            return broken("Python's headers are missing", error,
                          'sudo apt-get install '
                          f'python{sysconfig.get_python_version()}-dev')
        if 'C++20' in error:
            return broken('mmcv passes -std=c++17, too little for this torch',
                          error, fixes.build_mmcv(env, standard='c++20'))
        return broken('none that compiles C++, and mmcv has to be compiled',
                      error, 'sudo apt-get install g++')
    home = (os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
            or '/usr/local/cuda')
    if env.has_gpu and not (shutil.which('nvcc')
                             or Path(home, 'bin/nvcc').exists()):
        return broken('no nvcc, and mmcv has to be compiled for a GPU',
                      'OSError: CUDA_HOME environment variable is not set.',
                      'conda install -c nvidia cuda-toolkit='
                      + env['gpu']['cuda'])
    return ok('there')


def free_space(path: str) -> float | None:
    """Free space on the disk of a folder, in GiB."""
    return (shutil.disk_usage(path).free / 2**30 if os.path.isdir(path)
            else None)


def room(path: str, least: float, enough: float, use: str, symptom: str,
         remedy: str) -> CheckResult:
    """Compare the free space with what is needed, in GiB."""
    free = free_space(path)
    if free is None:
        return ok(f'no {path} on this system')
    text = f'{free:.2g} GiB free in {os.path.abspath(path)}'
    if free >= enough:
        return ok(text)
    return (broken if free < least else warning)(
        f'{text}, {use}', symptom, remedy)


def shared_memory(env: Environment) -> CheckResult:
    """Room for batches between the workers of data loaders and training."""
    # Docker's 64 MB are enough for small batches.
    return room(SHARED_MEMORY, 0.03, 1, "little for the data loaders' "
                'workers', 'RuntimeError: DataLoader worker (pid ...) is '
                'killed by signal: Bus error.',
                'docker run --shm-size=8g ...' if os.path.exists(DOCKER_MARK)
                else f'sudo mount -o remount,size=8G {SHARED_MEMORY}')


def disk(env: Environment) -> CheckResult:
    return room('.', 1, 5, 'a checkpoint takes up to 1',
                'OSError: [Errno 28] No space left on device',
                'python tools/train.py CONFIG --work-dir /larger/disk/NAME')


def load(env: Environment) -> CheckResult:
    """Timings are of use on an idle machine only."""
    cores = os.cpu_count() or 1
    text = f'{env["load"]:.1f} processes on {cores} cores in the last minute'
    if env['load'] <= 0.5 * cores + 0.5:
        return ok(text)
    return warning(text, 'times that differ from run to run', 'top -o %CPU')
