"""Bring up the development environment: ``.venv`` with the pinned stack.

Standard library only, because it runs before anything is installed. Calling
it again when nothing changed takes no time.
"""
import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mmcv_wheel
from mmcv_wheel import SetupError, output_of

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
SUPPORTED_PYTHON = ((3, 10), (3, 12))
# What mmcv is called there. The packages of a stack are in
# requirements/<stack>.txt, its mmcv in requirements/<name of mmcv>.txt.
STACKS = dict(openmmlab='mmcv', onedl='onedl-mmcv')
# What has to work in the end, for the doctor.
TASKS = ('detection', 'segmentation', 'classification', 'train', 'benchmark')

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
    """``package==version`` as pinned in ``requirements/<file>``."""
    text = (REQUIREMENTS / file).read_text()
    return re.search(rf'^{package}==\S+', text, re.M).group()


def fingerprint(stack):
    """Changes whenever the environment has to be brought up again."""
    digest = hashlib.sha256(f'{ROOT}\n{sys.version}\n{stack}\n'.encode())
    for path in [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py',
                 Path(__file__), Path(mmcv_wheel.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(command, what, **kwargs):
    print(f'-- {what}', flush=True)
    if subprocess.run(command, **kwargs).returncode:
        raise SetupError(f'{what}: failed, see above. Command: '
                         f'{" ".join(map(str, command))}')


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


def holds_other_stack(python, stack):
    """Distribution of another stack's mmcv in the environment, or ''."""
    others = [name for other, name in STACKS.items() if other != stack]
    return output_of(python, (
        'from importlib.metadata import distributions; '
        f'print(*[d.name for d in distributions() if d.name in {others}])'))


def wheel_meanwhile(python, package, install):
    """Path of mmcv's wheel; call ``install`` while it is being compiled."""
    with_cuda = mmcv_wheel.has_cuda(python)
    folder = mmcv_wheel.wheel_folder(python, package, with_cuda)
    cached = next(folder.glob('*.whl'), None)
    if cached:
        print(f'-- mmcv: wheel from {folder}', flush=True)
        install()
        return cached
    print(f'-- compiling {package} with its ops, once (a minute or two on two '
          f'cores),\n   into {folder}', flush=True)
    compiling = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        wheel = pool.submit(mmcv_wheel.build, python, package, folder,
                            with_cuda, compiling)
        # mmcv's setup.py imports what is installed, half installed as well.
        compiling.wait()
        install()
        return wheel.result()


def bring_up(venv, stack):
    python = create_venv(venv)
    other = holds_other_stack(python, stack)
    if other:
        raise SetupError(f'{venv} holds {other}, which is not of the stack '
                         f'{stack}: name another --venv, or delete it')
    # Python compiles on the first import, and of most files there is none.
    pip = [python, '-m', 'pip', 'install', '-q', '--no-compile']
    run([*pip, '-r', REQUIREMENTS / 'build.txt',
         '-r', REQUIREMENTS / 'torch.txt'], 'installing torch')
    wheel = wheel_meanwhile(
        python, read_pin(f'{STACKS[stack]}.txt', STACKS[stack]),
        lambda: run([*pip, '-r', REQUIREMENTS / f'{stack}.txt',
                     '-r', REQUIREMENTS / 'serve.txt',
                     '-r', REQUIREMENTS / 'tests.txt'],
                    'installing mmengine, mmdet, mmsegmentation, '
                    'mmpretrain, test tools'))
    run([*pip, '--no-deps', '--force-reinstall', wheel], 'installing mmcv')
    run([*pip, '-r', REQUIREMENTS / f'{STACKS[stack]}.txt',
         '-r', REQUIREMENTS / f'{stack}.txt'],
        'installing what mmcv needs')
    run([*pip, '--no-deps', '-r', REQUIREMENTS / 'mot.txt'],
        'installing trackers of many objects')
    run([*pip, '--no-build-isolation', '--no-deps', '-e', ROOT],
        'installing mmlowformer')
    run([python, '-m', 'mmlowformer.doctor', *TASKS],
        'checking the environment (python -m mmlowformer.doctor)', cwd=venv)


def bring_up_extra(venv, base, extra):
    """One of setup.py's extras, in an environment on top of another one.

    For packages that want others in versions that the tests do not work with.
    """
    python = create_venv(venv)
    where = 'import site; print(site.getsitepackages()[0])'
    below = output_of(base / python.relative_to(venv), where)
    Path(output_of(python, where), 'below.pth').write_text(
        f'import site; site.addsitedir({below!r})\n')
    run([python, '-m', 'pip', 'install', '-q', '--no-compile',
         '--no-build-isolation', '-e', f'{ROOT}[{extra}]'],
        f'installing the extra {extra}')


def once(venv, state, bring_up):
    """Unless an environment is there, brought up in the same state."""
    stamp = venv / 'mmlowformer-setup'
    if stamp.exists() and stamp.read_text() == state:
        return
    check_machine()
    stamp.unlink(missing_ok=True)
    bring_up()
    stamp.write_text(state)
    print(f'-- ready: {venv}')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--stack', choices=STACKS, default='openmmlab',
                        help='OpenMMLab\'s own packages (default), or the '
                        'maintained forks')
    parser.add_argument('--venv', type=Path, help='where to create it '
                        '(default: .venv, or .venv-STACK)')
    parser.add_argument('--extra', help="one of setup.py's, in an environment "
                        'of its own on top of that: VENV-EXTRA')
    args = parser.parse_args()
    venv = args.venv or ROOT / (
        '.venv' if args.stack == 'openmmlab' else f'.venv-{args.stack}')
    venv = venv.resolve()
    state = fingerprint(args.stack)
    try:
        once(venv, state, lambda: bring_up(venv, args.stack))
        if args.extra:
            top = venv.with_name(f'{venv.name}-{args.extra}')
            once(top, state, lambda: bring_up_extra(top, venv, args.extra))
    except SetupError as error:
        sys.exit(f'setup: {error}')
    except KeyboardInterrupt:
        sys.exit('\nsetup: interrupted; run it again to go on')


if __name__ == '__main__':
    main()
