"""Checks of mmcv's compiled ops, and of what compiling them takes."""
import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from . import fixes
from .facts import Facts
from .results import Result, broken, missing, ok, skipped, warning

# Times of mmcv's nms in torchvision's. Compiled with -O2 or -O3 it takes about
# as long (at most 1.8 times, on a busy machine), without optimisation 8 to 16
# times as long.
SLOW = 2.5
NAME = 'mmcv ops'
NO_OPS = "ModuleNotFoundError: No module named 'mmcv._ext'"
NO_CUDA_OPS = 'nms_impl: implementation for device cuda:0 not found.'


def check_ops(facts: Facts) -> Iterator[Result]:
    """Whether the ops are there, run, and are as fast as they should be."""
    error = facts.error('mmcv._ext') or facts.error('ops')
    build = fixes.build_mmcv(facts)
    cause = facts.first_failed('torch', 'mmengine', 'mmcv')
    if cause:
        yield skipped(NAME, cause)
    elif facts.absent('mmcv._ext') and 'mmcv-lite' in facts.versions:
        text = 'none, this is mmcv-lite'
        yield (broken(NAME, text, NO_OPS, build) if facts.needs_ops else
               missing(NAME, NO_OPS, build, text))
    elif facts.absent('mmcv._ext'):
        yield broken(NAME, 'mmcv was installed without them', NO_OPS, build)
    elif 'undefined symbol' in error:
        yield broken(NAME, 'compiled for another torch than '
                     f'{facts.value("torch")}', error, build)
    elif error:
        yield broken(NAME, 'they do not run', error, build)
    else:
        yield _speed(facts, facts.value('ops'))
        yield from _on_gpu(facts)


def _speed(facts: Facts, ratio: float | None) -> Result:
    if ratio is None:
        return ok(NAME, 'nms runs; not timed, torchvision does not work')
    text = f"nms takes {ratio:.1f} x torchvision's time"
    if ratio < SLOW:
        return ok(NAME, text)
    return warning(NAME, f'slow: compiled without optimisation; {text}',
                   'testing a detector takes far longer than it should',
                   fixes.build_mmcv(facts, flags='-O3'))


def _on_gpu(facts: Facts) -> Iterator[Result]:
    name, error = 'mmcv on GPU', facts.error('ops on gpu')
    gpu = facts.value('gpu') or {}
    if not gpu.get('available'):
        return
    build = fixes.build_mmcv(facts, cuda=True)
    if not error and facts.works('focal loss in bf16'):
        yield ok(name, 'nms and focal loss run')
    elif not error:
        yield ok(name, 'they run, but the focal loss not in bfloat16',
                 facts.error('focal loss in bf16'),
                 'python tools/train.py CONFIG --amp fp16')
    elif 'not found' in error or 'not compiled with GPU' in error:
        yield broken(name, 'the ops were compiled for the CPU only',
                     NO_CUDA_OPS, build)
    else:
        yield broken(name, f'the ops do not run on this {gpu["name"]}',
                     error, build)


def check_compiler(facts: Facts) -> Iterator[Result]:
    """What the remedy of :func:`check_ops` needs, if there is need of it."""
    name = 'compiler'
    if facts.works('mmcv._ext') or not facts.works('torch') \
            or not facts.needs_ops:
        return
    compiler = os.environ.get('CXX', 'c++').split()[0]
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    gpu = facts.value('gpu') or {}
    if not (shutil.which(compiler) or shutil.which('g++')):
        yield broken(name, 'none for C++, and mmcv has to be compiled',
                     "error: command 'g++' failed: No such file or directory",
                     fixes.COMPILER)
    elif not header.exists():
        version = sysconfig.get_python_version()
        yield broken(name, f"Python's headers are missing: {header}",
                     'fatal error: Python.h: No such file or directory',
                     f'sudo apt-get install python{version}-dev')
    elif gpu.get('available') and not _nvcc():
        yield broken(name, 'no nvcc, and mmcv has to be compiled for a GPU',
                     'OSError: CUDA_HOME environment variable is not set.',
                     'conda install -c nvidia cuda-toolkit='
                     f'{gpu["cuda"]}')
    else:
        yield ok(name, 'there')


def _nvcc() -> bool:
    home = os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
    folders = [home] if home else ['/usr/local/cuda']
    return bool(shutil.which('nvcc')) or any(
        (Path(folder) / 'bin' / 'nvcc').exists() for folder in folders)
