"""Compile mmcv's wheel, optimised, from few big units, and keep it.

Standard library only, as ``setup_env.py``, which calls it.
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
RECIPE = 3
OPTIMISED = '-O3'
# Setting CFLAGS replaces all of Python's own flags, so the optimisation is
# named here. Debug symbols (-g) would cost a third of the compile time.
FLAGS = f'{OPTIMISED} -DNDEBUG -fwrapv -g0'
# Nearly all of the time goes into torch's headers, which each file includes
# again. bezier_align, roi_align and roi_align_rotated, which define the same
# names, are in different thirds of the sorted cpu/.
UNITS = {'.': 1, 'cpu': 3}
# Heavy, and its own unit already.
BINDINGS = 'pybind.cpp'
# mmcv's roi_align looks for the largest sample even where the average is
# asked for. No processor foresees the outcome, which doubles the time.
SEARCH = 'if (val > maxval)'
SEARCH_IF_NEEDED = 'if (pool_mode == 0 && val > maxval)'

NO_NVCC = """torch sees a GPU, but there is no CUDA compiler (nvcc) to build \
mmcv's CUDA ops.
Either install the CUDA toolkit {cuda} and set CUDA_HOME, or build the CPU \
ops only:
  CUDA_VISIBLE_DEVICES= make setup"""


class SetupError(Exception):
    """A step failed; the message says which, and what to do."""


class CompileError(SetupError):
    """The compiler failed."""


def output_of(python, code):
    return subprocess.run([python, '-c', code], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def compile_flags():
    return f'{os.environ.get("CFLAGS", "")} {FLAGS}'.strip()


def has_cuda(python):
    """Whether CUDA ops are to be compiled; refuse if they cannot be."""
    wanted = (os.environ.get('FORCE_CUDA') == '1' or output_of(
        python, 'import torch; print(torch.cuda.is_available())') == 'True')
    if wanted:
        check_nvcc(python)
    return wanted


def check_nvcc(python):
    home, cuda = output_of(
        python, 'import torch; from torch.utils.cpp_extension import '
        'CUDA_HOME; print(CUDA_HOME or "-", torch.version.cuda)').split()
    if home == '-' or not (Path(home) / 'bin' / 'nvcc').exists():
        raise SetupError(NO_NVCC.format(cuda=cuda))


def recipe_key():
    """Short name of how the wheel is built."""
    recipe = f'{RECIPE} {compile_flags()} {os.environ.get("CXX", "")}'
    return hashlib.sha256(recipe.encode()).hexdigest()[:8]


def wheel_folder(python, package, with_cuda):
    """Cache folder of the wheel; the ops are bound to all in its name."""
    torch_version = output_of(python, 'import torch; print(torch.__version__)')
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    key = '-'.join([
        package.replace('==', ''), f'torch{torch_version}',
        f'cp{sys.version_info[0]}{sys.version_info[1]}', sys.platform,
        platform.machine(), 'cuda' if with_cuda else 'cpu', recipe_key()])
    return cache / 'mmlowformer' / 'wheels' / key


def unite(folder, units, apart=()):
    """Replace a folder's ``.cpp`` files by so many that include them."""
    sources = [path for path in sorted(folder.glob('*.cpp'))
               if path.name not in apart]
    size = -(-len(sources) // units)
    for index in range(units):
        # psamask.cpp defines min and max as macros, which torch's headers do
        # not survive: so these are first, and no macro outlives its file.
        lines = ['#include <torch/types.h>']
        for path in sources[index * size:(index + 1) * size]:
            macros = re.findall(r'^\s*#\s*define\s+(\w+)', path.read_text(),
                                re.M)
            lines.append(f'#include "{path.stem}.inc"')
            lines.extend(f'#undef {macro}' for macro in macros)
            path.rename(path.with_suffix('.inc'))
        (folder / f'unit_{index}.cpp').write_text('\n'.join(lines) + '\n')


def ops_folder(source):
    return source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'


def unite_ops(source):
    for folder, units in UNITS.items():
        unite(ops_folder(source) / folder, units, apart=[BINDINGS])


def speed_up_roi_align(source):
    """Search for the largest sample only where it is used; same outputs."""
    path = ops_folder(source) / 'cpu' / 'roi_align.cpp'
    path.write_text(path.read_text().replace(SEARCH, SEARCH_IF_NEEDED))


def show_progress(stream, log, compiling):
    """Turn ninja's ``[12/80]`` lines into one progress display."""
    start, shown = time.monotonic(), -1
    for line in stream:
        log.write(line)
        if "building 'mmcv._ext'" in line:
            compiling.set()
        step = re.search(r'\[(\d+)/(\d+)\]', line)
        if not step:
            continue
        done, total = map(int, step.groups())
        text = (f'   mmcv: {done}/{total} files compiled, '
                f'{time.monotonic() - start:.0f} s')
        if sys.stdout.isatty():
            print(f'\r{text}', end='', flush=True)
        elif done * 10 // total > shown:
            shown = done * 10 // total
            print(text, flush=True)
    if sys.stdout.isatty():
        print()


def check_optimised(log_path):
    """Refuse a build whose log has a line of the C++ compiler without -O3.

    The last ``-O`` of a line is what counts. nvcc optimises by itself.
    """
    lines = [line for line in log_path.read_text().splitlines()
             if re.search(r' -c \S+\.cpp\b', line)]
    if not lines:
        raise SetupError(f'the build of mmcv compiled no C++, see {log_path}')
    for line in lines:
        levels = [word for word in line.split() if word.startswith('-O')]
        if levels[-1:] != [OPTIMISED]:
            file = re.search(r' -c (\S+)', line).group(1)
            raise SetupError(
                f'mmcv was compiled without {OPTIMISED} ({Path(file).name}: '
                f'{" ".join(levels) or "no -O"}), see {log_path}')


def download(python, package, scratch):
    """Unpacked sources of ``package``."""
    name = package.split('==')[0]
    command = [python, '-m', 'pip', 'download', '-q', '--no-deps',
               '--no-build-isolation', '--no-binary', name, '-d', scratch,
               package]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT)
    archive = next(Path(scratch).glob('*.tar.gz'), None)
    if result.returncode or not archive:
        raise SetupError(f'{result.stdout}\ndownloading {package}: failed. '
                         f'Command: {shlex.join(map(str, command))}')
    return archive


def unpack(archive, folder):
    """Folder of the sources in ``archive``, made ready."""
    with tarfile.open(archive) as file:
        # filter= came with 3.10.12; extractall without it would warn.
        safe = dict(filter='data') if hasattr(tarfile, 'data_filter') else {}
        file.extractall(folder, **safe)
    source = next(path for path in folder.iterdir() if path.is_dir())
    speed_up_roi_align(source)
    return source


def build_environment(python):
    env = dict(os.environ, MMCV_WITH_OPS='1', CFLAGS=compile_flags())
    env.pop('CXXFLAGS', None)  # would replace CFLAGS
    # ninja, installed beside this Python, has to be found by torch.
    env['PATH'] = f'{python.parent}{os.pathsep}{env["PATH"]}'
    env.setdefault('MAX_JOBS', str(os.cpu_count()))
    return env


def compile_wheel(python, source, out, log_path, compiling):
    """Compile unpacked sources; the log is checked, too."""
    command = [python, '-m', 'pip', 'wheel', '-v', '--no-deps',
               '--no-build-isolation', '--no-cache-dir', '-w', out, source]
    with open(log_path, 'w') as log, subprocess.Popen(
            command, env=build_environment(python), text=True,
            errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as process:
        show_progress(process.stdout, log, compiling)
    if process.returncode:
        tail = log_path.read_text().splitlines()[-25:]
        raise CompileError('\n'.join(tail) + (
            f'\nmmcv did not compile; the whole log is {log_path}. '
            'Out of memory? Try: MAX_JOBS=1 make setup'))
    check_optimised(log_path)


def compile_quickly(python, archive, scratch, log_path, compiling):
    """Compile in few units; False if that does not work."""
    source = unpack(archive, scratch / 'united')
    try:
        unite_ops(source)
        compile_wheel(python, source, scratch / 'wheel', log_path, compiling)
    except (CompileError, OSError) as error:
        kept = log_path.with_suffix('.united.log')
        if log_path.exists():
            os.replace(log_path, kept)
        reason = kept if isinstance(error, CompileError) else error
        print(f'-- mmcv in few big files did not compile ({reason}); once '
              'more, file by file (5 to 10 minutes on two cores)', flush=True)
        return False
    return True


def check_writable(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SetupError(
            f'mmcv\'s wheel cannot be kept in {folder} ({error.strerror}): '
            'set XDG_CACHE_HOME to a folder that can be written') from error


def build(python, package, folder, with_cuda, compiling=None):
    """Compile mmcv with its ops; the wheel is in ``folder`` or nothing is."""
    compiling = compiling or threading.Event()
    check_writable(folder.parent)
    log_path = folder.parent / f'{folder.name}.log'
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            scratch = Path(scratch)
            archive = download(python, package, scratch)
            if with_cuda or not compile_quickly(python, archive, scratch,
                                                log_path, compiling):
                compile_wheel(python, unpack(archive, scratch / 'plain'),
                              scratch / 'wheel', log_path, compiling)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(scratch / 'wheel', folder)
    finally:
        compiling.set()
    return next(folder.glob('*.whl'))
