"""Compile mmcv's wheel with optimization, from a few large files; cache it.

Standard library only: ``setup_env.py`` calls it before anything is installed.
"""
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

# Increase it when the same flags begin to give another binary.
RECIPE = 4
OPTIMIZED = '-O3'
# CFLAGS replace all of Python's own flags, so the optimization is here. Debug
# symbols (-g) would cost a third of the compile time.
FLAGS = f'{OPTIMIZED} -DNDEBUG -fwrapv -g0'
# Compiling torch's headers takes most of the time, so files are compiled
# together: this many units in each folder. bezier_align, roi_align and
# roi_align_rotated define the same names; they are in different thirds.
UNITS = {'.': 1, 'cpu': 3}
OPS = 'mmcv/ops/csrc/pytorch'
# For mmcv's setup.py, which pip runs even to download it: before Python 3.13
# exec() defined names of the function that calls it.
OLD_EXEC = """
import builtins, sys
def exec_in_caller(code, *scopes, run=builtins.exec, **closure):
    frame = sys._getframe(1)
    run(code, *(scopes or (frame.f_globals, frame.f_locals)), **closure)
if sys.version_info >= (3, 13):
    builtins.exec = exec_in_caller
"""


class SetupError(Exception):
    """A failed step; the message names it and the remedy."""


def output_of(python, code):
    return subprocess.run([python, '-c', code], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def compile_flags():
    return f'{os.environ.get("CFLAGS", "")} {FLAGS}'.strip()


def has_cuda(python):
    """Whether to compile CUDA ops; refuse without a CUDA compiler."""
    available, version, home = output_of(
        python, 'import torch, torch.utils.cpp_extension as c; '
        'print(torch.cuda.is_available(), torch.version.cuda, c.CUDA_HOME)'
    ).split(maxsplit=2)
    if available == 'False' and os.environ.get('FORCE_CUDA') != '1':
        return False
    if not Path(home, 'bin', 'nvcc').exists():
        raise SetupError(
            'torch sees a GPU, but nvcc, which compiles the CUDA ops of mmcv, '
            f'was not found: install the CUDA toolkit {version} and set '
            'CUDA_HOME, or compile for the CPU only: CUDA_VISIBLE_DEVICES= '
            'make setup')
    return True


def wheels():
    """The folder of all wheels."""
    # Relative if the user has no HOME, as in some containers.
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return Path(cache, 'mmlowformer', 'wheels')


def check_cache(package):
    """Refuse early if a wheel has to be compiled and cannot be kept."""
    folder = wheels()
    if not folder.is_absolute():
        raise SetupError('There is no HOME to keep mmcv\'s wheel in: set '
                         'XDG_CACHE_HOME to a writable folder')
    if not [*folder.glob(f'{package.replace("==", "")}-*/*.whl')]:
        _scratch_folder(folder).cleanup()


def wheel_folder(python, package, with_cuda):
    """Cache folder of the wheel, named after what the ops depend on."""
    torch_version = output_of(python, 'import torch; print(torch.__version__)')
    recipe = f'{RECIPE} {compile_flags()} {os.environ.get("CXX", "")}'
    return wheels() / '-'.join([
        package.replace('==', ''), f'torch{torch_version}',
        'cp{}{}'.format(*sys.version_info[:2]), sys.platform,
        platform.machine(), 'cuda' if with_cuda else 'cpu',
        hashlib.sha256(recipe.encode()).hexdigest()[:8]])


def unite(folder, units):
    """Replace ``.cpp`` files by a few that include them."""
    # The bindings are a large file already.
    sources = [path for path in sorted(folder.glob('*.cpp'))
               if path.name != 'pybind.cpp']
    size = -(-len(sources) // units)
    for index in range(units):
        # psamask.cpp defines min and max as macros, which would break torch's
        # headers: so these are first, and macros end with their file.
        lines = ['#include <torch/types.h>']
        for path in sources[index * size:(index + 1) * size]:
            macros = re.findall(r'^\s*#\s*define\s+(\w+)', path.read_text(),
                                re.M)
            lines += [f'#include "{path.stem}.inc"',
                      *(f'#undef {macro}' for macro in macros)]
            path.rename(path.with_suffix('.inc'))
        (folder / f'unit_{index}.cpp').write_text('\n'.join(lines) + '\n')


def speed_up_roi_align(source):
    """Skip the search for the largest sample unless max pooling needs it.

    A processor cannot predict the branch, which doubles the time of averages.
    """
    path = source / OPS / 'cpu' / 'roi_align.cpp'
    path.write_text(path.read_text().replace(
        'if (val > maxval)', 'if (pool_mode == 0 && val > maxval)'))


def update_setup(path):
    """Adapt mmcv's setup.py to Python 3.13 and to newer versions of torch.

    torch adds the C++ standard that its headers need, unless one is named.
    """
    text = path.read_text(encoding='utf-8')
    text = re.sub(r"'-std=c\+\+\d+',?", '', text)
    text = text.replace("version_file, 'exec'))",
                        "version_file, 'exec'), globals())")
    path.write_text(text.replace("locals()['__version__']",
                                 "globals()['__version__']"), encoding='utf-8')


def show_progress(stream, log, compiling):
    """Turn ninja's ``[12/80]`` lines into a line for each tenth."""
    start, shown = time.monotonic(), -1
    for line in stream:
        log.write(line)
        if "building 'mmcv._ext'" in line:
            compiling.set()
        step = re.search(r'\[(\d+)/(\d+)\]', line)
        tenth = int(step[1]) * 10 // int(step[2]) if step else -1
        if tenth > shown:
            shown = tenth
            print(f'   mmcv: {step[1]}/{step[2]} files compiled, '
                  f'{time.monotonic() - start:.0f} s', flush=True)


def check_optimized(log_path):
    """Refuse a build that compiled any C++ file without -O3."""
    commands = re.findall(r'.* -c .+\.cpp\b.*', log_path.read_text())
    if not commands:
        raise SetupError(f'the build of mmcv compiled no C++, see {log_path}')
    for command in commands:
        # The last one counts.
        level = ['no -O', *re.findall(r'(?<= )-O\S*', command)][-1]
        if level != OPTIMIZED:
            raise SetupError(f'mmcv was compiled without {OPTIMIZED} ({level})'
                             f', see {log_path}: {command}')


def download(python, package, scratch):
    """Download the sources of a package."""
    command = [python, '-m', 'pip', 'download', '-q', '--no-deps',
               '--no-build-isolation', '--no-binary', package.split('==')[0],
               '-d', scratch, package]
    (scratch / 'sitecustomize.py').write_text(OLD_EXEC)
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT,
                            env={**os.environ, 'PYTHONPATH': str(scratch)})
    archive = next(scratch.glob('*.tar.gz'), None)
    if result.returncode or not archive:
        raise SetupError(f'{result.stdout}\ndownloading {package}: failed. '
                         f'Command: {shlex.join(map(str, command))}')
    return archive


def unpack(archive, folder, units=None):
    """Unpack and patch the sources; unite those of folders in ``units``."""
    with tarfile.open(archive) as file:
        # filter= came with 3.10.12; extractall without it would warn.
        safe = dict(filter='data') if hasattr(tarfile, 'data_filter') else {}
        file.extractall(folder, **safe)
    source = next(path for path in folder.iterdir() if path.is_dir())
    speed_up_roi_align(source)
    update_setup(source / 'setup.py')
    for name, count in (units or {}).items():
        # Other versions may have other folders.
        if (source / OPS / name).is_dir():
            unite(source / OPS / name, count)
    return source


def compile_wheel(python, source, out, log_path, compiling):
    """Compile unpacked sources; return whether the compiler succeeded."""
    # torch has to find ninja, which is installed beside this Python.
    path = f'{python.parent}{os.pathsep}{os.environ["PATH"]}'
    env = {'MAX_JOBS': str(os.cpu_count()), **os.environ, 'PATH': path,
           'MMCV_WITH_OPS': '1', 'CFLAGS': compile_flags()}
    env.pop('CXXFLAGS', None)  # would replace CFLAGS
    with open(log_path, 'w') as log, subprocess.Popen(
            [python, '-m', 'pip', 'wheel', '-v', '--no-deps',
             '--no-build-isolation', '--no-cache-dir', '-w', out, source],
            env=env, text=True, errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as process:
        show_progress(process.stdout, log, compiling)
    if process.returncode:
        return False
    check_optimized(log_path)
    return True


def build(python, package, folder, with_cuda, compiling=None):
    """Compile mmcv with its ops; ``folder`` holds the wheel or is absent."""
    compiling = compiling or threading.Event()
    log_path = folder.parent / f'{folder.name}.log'
    try:
        with _scratch_folder(folder.parent) as name:
            scratch = Path(name)
            archive = download(python, package, scratch)
            for units in ({}, ) if with_cuda else (UNITS, {}):
                source = unpack(archive, scratch / f'{len(units)}', units)
                if compile_wheel(python, source, scratch / 'wheel', log_path,
                                 compiling):
                    break
                if units:
                    log = log_path.replace(log_path.with_suffix('.united.log'))
                    print(f'-- mmcv in few large files did not compile ({log})'
                          '; compiling it file by file (5 to 10 minutes on '
                          'two cores)', flush=True)
            else:
                tail = '\n'.join(log_path.read_text().splitlines()[-25:])
                raise SetupError(
                    f'{tail}\nmmcv did not compile; the whole log is '
                    f'{log_path}. Out of memory? Try: MAX_JOBS=1 make setup')
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch / 'wheel', folder)
    finally:
        compiling.set()
    return next(folder.glob('*.whl'))


def _scratch_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder)
    except OSError as error:
        raise SetupError(
            f"mmcv's wheel cannot be kept in {folder} ({error.strerror}): set "
            'XDG_CACHE_HOME to a writable folder') from error
