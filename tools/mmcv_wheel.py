"""Compile mmcv's wheel with optimization, from a few large files; cache it.

Standard library only: ``setup_env.py`` calls it before anything is installed.
"""
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
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


class SetupError(Exception):
    """A failed step; the message names it and the remedy."""


def wheels():
    """The folder of all wheels."""
    # Relative if the user has no HOME, as in some containers.
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return Path(cache, 'mmlowformer', 'wheels')


def scratch_folder():
    """A folder beside the wheels; refuse where none can be written."""
    folder, problem = wheels(), 'there is no HOME'
    try:
        if folder.is_absolute():
            folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(dir=folder)
    except OSError as error:
        problem = error.strerror
    raise SetupError(f"mmcv's wheel cannot be kept in {folder} ({problem}): "
                     'set XDG_CACHE_HOME to a writable folder')


def check_cache(package):
    """Refuse early if a wheel has to be compiled and cannot be kept."""
    try:
        found = any(wheels().glob(f'{package.replace("==", "")}-*/*.whl'))
    except PermissionError:  # HOME is another user's.
        found = False
    if not found:
        scratch_folder().cleanup()


def compile_flags():
    return f'{os.environ.get("CFLAGS", "")} {FLAGS}'.strip()


def wheel_folder(python, package):
    """The folder of the wheel, named after what the ops depend on.

    Also returns whether they are to have CUDA.
    """
    torch, gpu, cuda, home = subprocess.run(
        [python, '-c', 'import torch, torch.utils.cpp_extension as c; print('
         'torch.__version__, torch.cuda.is_available(), torch.version.cuda, '
         'c.CUDA_HOME)'], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip().split(maxsplit=3)
    with_cuda = gpu == 'True' or os.environ.get('FORCE_CUDA') == '1'
    if with_cuda and not Path(home, 'bin', 'nvcc').exists():
        raise SetupError(
            'torch sees a GPU, but nvcc, which compiles the CUDA ops of mmcv, '
            f'was not found: install the CUDA toolkit {cuda} and set '
            'CUDA_HOME, or compile for the CPU only: CUDA_VISIBLE_DEVICES= '
            'make setup')
    recipe = f'{RECIPE} {compile_flags()} {os.environ.get("CXX", "")}'
    return wheels() / '-'.join([
        package.replace('==', ''), f'torch{torch}',
        'cp{}{}'.format(*sys.version_info), sysconfig.get_platform(),
        'cuda' if with_cuda else 'cpu',
        hashlib.sha256(recipe.encode()).hexdigest()[:8]]), with_cuda


def download(python, package, folder):
    """Download a package and return the folder of its sources."""
    # pip runs setup.py even to download. mmcv's fails on Python 3.13, but the
    # sources are there by then, and are not cleaned up.
    command = [python, '-m', 'pip', 'download', '-q', '--no-deps',
               '--no-build-isolation', '--no-clean', '--no-binary', ':all:',
               '-d', folder, package]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT,
                            env={**os.environ, 'TMPDIR': str(folder)})
    if setup := next(folder.glob('*/*/setup.py'), None):
        return setup.parent
    raise SetupError(f'{result.stdout}\ndownloading {package}: failed. '
                     f'Command: {shlex.join(map(str, command))}')


def edit(path, *changes):
    text = path.read_text(encoding='utf-8')
    for old, new in changes:
        text = re.sub(old, new, text)
    path.write_text(text, encoding='utf-8')


def adapt(source, units):
    """Adapt mmcv's sources, and unite those of the folders in ``units``."""
    # torch adds the C++ standard that its headers need, unless one is named.
    # Since Python 3.13 exec() does not define names of its caller.
    edit(source / 'setup.py', (r"'-std=c\+\+\d+',?", ''),
         (r"(version_file, 'exec'\))\)", r'\1, globals())'),
         (r"locals\(\)(?=\['__version__'\])", 'globals()'))
    # Skip the search for the largest sample unless max pooling needs it. A
    # processor cannot predict the branch, which doubles the time of averages.
    edit(source / OPS / 'cpu' / 'roi_align.cpp', (
        r'if \(val > maxval\)', 'if (pool_mode == 0 && val > maxval)'))
    for name, count in units.items():
        # Other versions may have other folders.
        if (source / OPS / name).is_dir():
            unite(source / OPS / name, count)


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


def compile_wheel(python, source, out, log_path, on_compiling):
    """Compile the sources; return whether the compiler succeeded."""
    # torch has to find ninja, which is installed beside this Python.
    path = f'{python.parent}{os.pathsep}{os.environ["PATH"]}'
    env = {'MAX_JOBS': str(os.cpu_count()), **os.environ, 'PATH': path,
           'MMCV_WITH_OPS': '1', 'CFLAGS': compile_flags()}
    env.pop('CXXFLAGS', None)  # would replace CFLAGS
    start = time.monotonic()
    with open(log_path, 'w') as log, subprocess.Popen(
            [python, '-m', 'pip', 'wheel', '-v', '--no-deps',
             '--no-build-isolation', '--no-cache-dir', '-w', out, source],
            env=env, text=True, errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            log.write(line)
            if "building 'mmcv._ext'" in line:
                on_compiling()
            if step := re.match(r'\s*\[(\d+/\d+)\]', line):
                print(f'   mmcv: {step[1]} files compiled, '
                      f'{time.monotonic() - start:.0f} s', flush=True)
    if process.returncode:
        # Compiling file by file would fail, too, after minutes.
        if (full := 'No space left on device') in log_path.read_text():
            raise SetupError(f'mmcv did not compile: {full}; see {log_path}. '
                             'It needs about 1 GB in TMPDIR and in '
                             f'{log_path.parent}')
        return False
    check_optimized(log_path)
    return True


def check_optimized(log_path):
    """Refuse a build that compiled any C++ file without -O3, or none."""
    commands = re.findall(r'.* -c .+\.cpp\b.*', log_path.read_text())
    # The last one counts.
    others = [command for command in commands if re.findall(
        r'(?<= )-O\S*', command)[-1:] != [OPTIMIZED]]
    if others or not commands:
        raise SetupError(
            f'mmcv was compiled without {OPTIMIZED}, see {log_path}: '
            + (others or ['no C++ was compiled'])[0])


def build(python, package, folder, with_cuda, on_compiling):
    """Compile mmcv with its ops; ``folder`` holds the wheel or is absent."""
    log_path = folder.parent / f'{folder.name}.log'
    with scratch_folder() as name:
        scratch = Path(name)
        original = download(python, package, scratch)
        for units in ({}, ) if with_cuda else (UNITS, {}):
            source = shutil.copytree(original, scratch / f'{len(units)}')
            adapt(source, units)
            if compile_wheel(python, source, scratch / 'wheel', log_path,
                             on_compiling):
                break
            if units:
                log = log_path.replace(log_path.with_suffix('.united.log'))
                print(f'-- mmcv in few large files did not compile ({log}); '
                      'compiling it file by file (5 to 10 minutes on two '
                      'cores)', flush=True)
        else:
            tail = '\n'.join(log_path.read_text().splitlines()[-25:])
            raise SetupError(
                f'{tail}\nmmcv did not compile; the whole log is {log_path}. '
                'Out of memory? Try: MAX_JOBS=1 make setup')
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(scratch / 'wheel', folder)
    return next(folder.glob('*.whl'))
