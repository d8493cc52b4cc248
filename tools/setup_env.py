"""Create the development environment: ``.venv`` with the pinned stack.

Standard library only, because it runs before anything is installed. Running
it again does nothing unless its inputs have changed.
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
VERSION = '{}.{}'.format(*sys.version_info[:2])
# The mmcv of each stack. requirements/<stack>.txt lists the other packages,
# requirements/<mmcv>.txt has its version.
STACKS = dict(openmmlab='mmcv', onedl='onedl-mmcv')
# What the doctor checks in the end.
TASKS = ('detection', 'segmentation', 'classification', 'train', 'benchmark')


def check_machine():
    """Refuse early, and name missing programs and their packages."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise SetupError(f'Python 3.10 to 3.12 is needed, this is {VERSION}. '
                         'Name another with: make setup PYTHON=python3.11')
    compiler = os.environ.get('CXX', 'c++').split()[0]
    if not (shutil.which(compiler) or shutil.which('g++')):
        raise SetupError(
            'No C++ compiler was found, and mmcv is compiled here: sudo '
            'apt-get install g++ (Debian, Ubuntu), sudo dnf install gcc-c++ '
            '(Fedora, RHEL), conda install -c conda-forge gxx, xcode-select '
            '--install (macOS), or set CXX')
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise SetupError(
            f'{header} is missing, and mmcv is compiled here: sudo apt-get '
            f'install python{VERSION}-dev (Debian, Ubuntu), sudo dnf install '
            f'python{VERSION}-devel (Fedora, RHEL)')


def read_pin(file, package):
    """``package==version`` as pinned in ``requirements/<file>``."""
    text = (REQUIREMENTS / file).read_text()
    return re.search(rf'^{package}==\S+', text, re.M).group()


def fingerprint(stack):
    """A digest that changes when the environment must be updated."""
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
    if not python.exists() or subprocess.run(
            [python, '-m', 'pip', '--version'], capture_output=True
    ).returncode:
        print(f'-- creating {venv}', flush=True)
        # --clear removes an environment that is broken or incomplete.
        if subprocess.run([sys.executable, '-m', 'venv', '--clear', venv]
                          ).returncode:
            raise SetupError(
                'This Python cannot create virtual environments: sudo '
                f'apt-get install python{VERSION}-venv (Debian, Ubuntu)')
    return python


def get_wheel(python, package, install):
    """The path of mmcv's wheel; ``install`` runs while it is compiled."""
    with_cuda = mmcv_wheel.has_cuda(python)
    folder = mmcv_wheel.wheel_folder(python, package, with_cuda)
    if cached := next(folder.glob('*.whl'), None):
        print(f'-- mmcv: wheel from {folder}', flush=True)
        install()
        return cached
    print(f'-- compiling {package} with its ops, once (a minute or two on two '
          f'cores),\n   into {folder}', flush=True)
    compiling = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        wheel = pool.submit(mmcv_wheel.build, python, package, folder,
                            with_cuda, compiling)
        # mmcv's setup.py must not import packages that are half installed.
        compiling.wait()
        install()
        return wheel.result()


def bring_up(venv, stack):
    """Install everything in an environment, and check that it works."""
    python, mmcv = create_venv(venv), STACKS[stack]
    others = [name for name in STACKS.values() if name != mmcv]
    if other := output_of(python, (
            'from importlib.metadata import distributions as all; '
            f'print(*[d.name for d in all() if d.name in {others}])')):
        raise SetupError(f'{venv} holds {other}, which is not in the stack '
                         f'{stack}: name another --venv, or delete it')

    def install(what, *arguments):
        # Python compiles what is imported, which is a small part.
        run([python, '-m', 'pip', 'install', '-q', '--no-compile', *arguments],
            f'installing {what}')

    def listed(*names):
        return [word for name in names
                for word in ('-r', REQUIREMENTS / f'{name}.txt')]

    install('torch', *listed('build', 'torch'))
    wheel = get_wheel(
        python, read_pin(f'{mmcv}.txt', mmcv), lambda: install(
            'mmengine, mmdet, mmsegmentation, mmpretrain, test tools',
            *listed(stack, 'serve', 'tests')))
    install('mmcv', '--no-deps', '--force-reinstall', wheel)
    install('what mmcv needs', *listed(mmcv, stack))
    install('multi-object trackers', '--no-deps', *listed('mot'))
    install('mmlowformer', '--no-build-isolation', '--no-deps', '-e', ROOT)
    run([python, '-m', 'mmlowformer.doctor', *TASKS],
        'checking the environment (python -m mmlowformer.doctor)', cwd=venv)


def bring_up_extra(venv, base, extra):
    """Install an extra of setup.py in an environment on top of another.

    For packages that want versions with which the tests do not work.
    """
    python = create_venv(venv)
    where = 'import site; print(site.getsitepackages()[0])'
    below = output_of(base / python.relative_to(venv), where)
    Path(output_of(python, where), 'below.pth').write_text(
        f'import site; site.addsitedir({below!r})\n')
    run([python, '-m', 'pip', 'install', '-q', '--no-compile',
         '--no-build-isolation', '-e', f'{ROOT}[{extra}]'],
        f'installing the extra {extra}')


def once(venv, state, bring_up, *arguments):
    """Install an environment unless its fingerprint is unchanged."""
    stamp = venv / 'mmlowformer-setup'
    if stamp.exists() and stamp.read_text() == state:
        return
    check_machine()
    stamp.unlink(missing_ok=True)
    bring_up(venv, *arguments)
    stamp.write_text(state)
    print(f'-- ready: {venv}')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--stack', choices=STACKS, default='openmmlab',
                        help="OpenMMLab's own packages (default), or the "
                        'maintained forks')
    parser.add_argument('--venv', type=Path, help='folder of the environment '
                        '(default: .venv, or .venv-STACK)')
    parser.add_argument('--extra', help='extra of setup.py to install in an '
                        'environment on top of that one: VENV-EXTRA')
    args = parser.parse_args()
    venv = (args.venv or ROOT / ('.venv' if args.stack == 'openmmlab' else
                                 f'.venv-{args.stack}')).resolve()
    state = fingerprint(args.stack)
    try:
        once(venv, state, bring_up, args.stack)
        if args.extra:
            once(venv.with_name(f'{venv.name}-{args.extra}'), state,
                 bring_up_extra, venv, args.extra)
    except SetupError as error:
        sys.exit(f'setup: {error}')
    except KeyboardInterrupt:
        sys.exit('\nsetup: interrupted; run it again to continue')


if __name__ == '__main__':
    main()
