"""Bring up the development environment: ``.venv`` with the pinned stack.

Standard library only, because it runs before anything is installed. Calling
it again when nothing changed takes no time.
"""
import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
SUPPORTED_PYTHON = ((3, 10), (3, 12))

NO_COMPILER = """No C++ compiler found, and mmcv's ops are compiled here.
  Debian/Ubuntu: sudo apt-get install g++
  Fedora/RHEL:   sudo dnf install gcc-c++
  conda:         conda install -c conda-forge gxx
  macOS:         xcode-select --install
If it has another name, set CXX."""

NO_HEADERS = """Python's C headers are missing ({header}), and mmcv's ops are \
compiled here.
  Debian/Ubuntu: sudo apt-get install python{version}-dev
  Fedora/RHEL:   sudo dnf install python{version}-devel"""

NO_VENV = """This Python cannot create virtual environments (no ensurepip).
  Debian/Ubuntu: sudo apt-get install python{version}-venv"""

NO_NVCC = """torch sees a GPU, but there is no CUDA compiler (nvcc) to build \
mmcv's CUDA ops.
Either install the CUDA toolkit {cuda} and set CUDA_HOME, or build the CPU \
ops only:
  CUDA_VISIBLE_DEVICES= make setup"""


class SetupError(Exception):
    """A step failed; the message says which, and what to do."""


def check_machine():
    """Refuse early, naming what is missing and how to get it."""
    low, high = SUPPORTED_PYTHON
    version = '{}.{}'.format(*sys.version_info[:2])
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f'Python {low[0]}.{low[1]} to {high[0]}.{high[1]} is needed, this '
            f'is {version}. Name another with: make setup PYTHON=python3.11')
    compiler = os.environ.get('CXX', 'c++').split()[0]
    if not (shutil.which(compiler) or shutil.which('g++')):
        raise SetupError(NO_COMPILER)
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise SetupError(NO_HEADERS.format(header=header, version=version))


def read_pin(file, package):
    """Version of ``package`` pinned in ``requirements/<file>``."""
    text = (REQUIREMENTS / file).read_text()
    return re.search(rf'^{package}==(\S+)', text, re.M).group(1)


def fingerprint():
    """Changes whenever the environment has to be brought up again."""
    digest = hashlib.sha256(f'{ROOT}\n{sys.version}\n'.encode())
    for path in [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py',
                 Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(command, what, **kwargs):
    print(f'-- {what}', flush=True)
    if subprocess.run(command, **kwargs).returncode:
        raise SetupError(f'{what}: failed, see above. Command: '
                         f'{" ".join(map(str, command))}')


def output_of(python, code):
    return subprocess.run([python, '-c', code], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def create_venv(venv):
    python = venv / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    usable = python.exists() and subprocess.run(
        [python, '-m', 'pip', '--version'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if not usable:
        print(f'-- creating {venv}', flush=True)
        # --clear: what is there is a broken or half-made environment.
        made = subprocess.run([sys.executable, '-m', 'venv', '--clear', venv])
        if made.returncode:
            raise SetupError(NO_VENV.format(
                version='{}.{}'.format(*sys.version_info[:2])))
    return python


def wheel_folder(python):
    """Cache folder of the mmcv wheel; the ops are bound to all in its name."""
    torch_version, cuda = output_of(
        python, 'import torch; print(torch.__version__, '
        'torch.cuda.is_available())').split()
    with_cuda = cuda == 'True' or os.environ.get('FORCE_CUDA') == '1'
    if with_cuda:
        check_nvcc(python)
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    key = '-'.join([
        f'mmcv{read_pin("mmcv.txt", "mmcv")}', f'torch{torch_version}',
        f'cp{sys.version_info[0]}{sys.version_info[1]}', sys.platform,
        platform.machine(), 'cuda' if with_cuda else 'cpu'])
    return cache / 'mmlowformer' / 'wheels' / key


def check_nvcc(python):
    home, cuda = output_of(
        python, 'import torch; from torch.utils.cpp_extension import '
        'CUDA_HOME; print(CUDA_HOME or "-", torch.version.cuda)').split()
    if home == '-' or not (Path(home) / 'bin' / 'nvcc').exists():
        raise SetupError(NO_NVCC.format(cuda=cuda))


def show_progress(stream, log):
    """Turn ninja's ``[12/80]`` lines into one progress display."""
    start, shown = time.monotonic(), -1
    for line in stream:
        log.write(line)
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


def build_mmcv(python, folder):
    """Compile mmcv with its ops; the wheel is in ``folder`` or nothing is.
    """
    version = read_pin('mmcv.txt', 'mmcv')
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Debug symbols (-g) cost a third of the compile time.
    env = dict(os.environ, MMCV_WITH_OPS='1',
               CFLAGS=f'{os.environ.get("CFLAGS", "")} -g0'.strip())
    # ninja, installed beside this Python, has to be found by torch.
    env['PATH'] = f'{python.parent}{os.pathsep}{env["PATH"]}'
    env.setdefault('MAX_JOBS', str(os.cpu_count()))
    log_path = folder.parent / f'{folder.name}.log'
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [python, '-m', 'pip', 'wheel', '-v', '--no-deps',
                   '--no-build-isolation', '--no-cache-dir', '--no-binary',
                   'mmcv', '-w', Path(scratch) / 'wheel', f'mmcv=={version}']
        with open(log_path, 'w') as log, subprocess.Popen(
                command, env=env, text=True, errors='replace',
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            show_progress(process.stdout, log)
        if process.returncode:
            tail = log_path.read_text().splitlines()[-25:]
            raise SetupError('\n'.join(tail) + (
                f'\nmmcv {version} did not compile; the whole log is '
                f'{log_path}. Out of memory? Try: MAX_JOBS=1 make setup'))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(Path(scratch) / 'wheel', folder)
    return next(folder.glob('*.whl'))


def mmcv_wheel(python):
    folder = wheel_folder(python)
    cached = next(folder.glob('*.whl'), None)
    if cached:
        print(f'-- mmcv: wheel from {folder}', flush=True)
        return cached
    print('-- compiling mmcv with its ops (once; 5 to 10 minutes on two '
          f'cores) into {folder}', flush=True)
    return build_mmcv(python, folder)


def bring_up(venv):
    python = create_venv(venv)
    pip = [python, '-m', 'pip', 'install', '-q']
    run([*pip, '-r', REQUIREMENTS / 'build.txt',
         '-r', REQUIREMENTS / 'torch.txt'], 'installing torch')
    run([*pip, '--no-deps', '--force-reinstall', mmcv_wheel(python)],
        'installing mmcv')
    run([*pip, '-r', REQUIREMENTS / 'mmcv.txt',
         '-r', REQUIREMENTS / 'openmmlab.txt',
         '-r', REQUIREMENTS / 'tests.txt'],
        'installing mmengine, mmdet, mmsegmentation, mmpretrain, test tools')
    run([*pip, '--no-build-isolation', '--no-deps', '-e', ROOT],
        'installing mmlowformer')
    run([python, '-c', 'import mmcv._ext'],
        'checking that mmcv has its ops', cwd=venv)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv',
                        help='where to create it (default: .venv)')
    venv = parser.parse_args().venv.resolve()
    stamp = venv / 'mmlowformer-setup'
    try:
        if stamp.exists() and stamp.read_text() == fingerprint():
            return
        check_machine()
        stamp.unlink(missing_ok=True)
        bring_up(venv)
        stamp.write_text(fingerprint())
    except SetupError as error:
        sys.exit(f'setup: {error}')
    except KeyboardInterrupt:
        sys.exit('\nsetup: interrupted; run it again to go on')
    print(f'-- ready: {venv}')


if __name__ == '__main__':
    main()
