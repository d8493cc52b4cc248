"""Create the environment: ``.venv`` with the pinned stack.

Standard library only, because it runs before anything is installed. Running
it again does nothing unless its inputs have changed or files are missing.
"""
import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import mmcv_wheel
from mmcv_wheel import SetupError, output_of

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
VERSION = '{}.{}'.format(*sys.version_info[:2])
# The mmcv of each stack. requirements/<stack>.txt lists the other packages,
# requirements/<mmcv>.txt has its version.
STACKS = dict(openmmlab='mmcv', onedl='onedl-mmcv')
# What the doctor checks in the end.
TASKS = ('detection', 'segmentation', 'classification', 'train')
# Which build of torch to install: default for that of the package index, or
# the end of a version on PyTorch's index, such as cpu or cu126.
BACKEND = 'TORCH_BACKEND'
PYTORCH_INDEX = 'https://download.pytorch.org/whl/'


def check_python():
    """Refuse a Python that ``requirements/python.txt`` does not allow."""
    oldest, end = map(int, re.findall(
        r'3\.(\d+)', read_pin('python.txt', 'python')))
    if not (3, oldest) <= sys.version_info[:2] < (3, end):
        raise SetupError(
            f'Python 3.{oldest} to 3.{end - 1} is needed, this is {VERSION}. '
            'Name another with: make setup PYTHON=python3.11')


def check_machine(stack):
    """Refuse early, and name missing programs and their packages."""
    check_python()
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
    mmcv = STACKS[stack]
    mmcv_wheel.check_cache(read_pin(f'{mmcv}.txt', mmcv))


def read_pin(file, package):
    """The requirement of a package in ``requirements/<file>``."""
    text = (REQUIREMENTS / file).read_text()
    return re.search(rf'^{package}[=<>][^\s;]+', text, re.M).group()


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
    """Create it, unless this Python created it in this place, and it works."""
    python = venv / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    config = venv / 'pyvenv.cfg'
    # `activate` and the programs name the folder.
    origin = f'mmlowformer = {" ".join(sys.version.split())}, {venv}'
    if (config.exists() and origin in config.read_text().splitlines()
            and not subprocess.run([python, '-m', 'pip', '--version'],
                                   capture_output=True).returncode):
        return python
    if (not config.exists() and not venv.name.startswith('.venv')
            and venv.exists() and any(venv.iterdir())):
        raise SetupError(f'{venv} holds other files: name another --venv')
    print(f'-- creating {venv}', flush=True)
    # --clear removes an environment that is broken or incomplete.
    if subprocess.run([sys.executable, '-m', 'venv', '--clear', venv]
                      ).returncode:
        raise SetupError(
            'This Python cannot create virtual environments: sudo '
            f'apt-get install python{VERSION}-venv (Debian, Ubuntu)')
    with config.open('a') as file:
        file.write(f'{origin}\n')
    return python


def pip_install(python):
    """The command that installs packages; uv does it in parallel."""
    if uv := shutil.which('uv'):
        return [uv, 'pip', 'install', '-q', '--python', python]
    # Python compiles what is imported, which is a small part.
    return [python, '-m', 'pip', 'install', '-q', '--no-compile']


def has_gpu():
    """Whether there is an NVIDIA GPU, or a driver for one."""
    return bool(shutil.which('nvidia-smi')
                or Path('/proc/driver/nvidia').exists()
                or os.environ.get('FORCE_CUDA') == '1')


def install_torch(python):
    """Install torch without CUDA, 3 GB less, if no GPU needs it."""
    pins = [read_pin('torch.txt', name) for name in ('torchvision', 'torch')]
    asked = os.environ.get(BACKEND, '')
    build = asked or ('cpu' if sys.platform == 'linux' and not has_gpu()
                      else 'default')
    choose = f'to choose: make setup {BACKEND}=default, cpu or cu126'
    if build != 'default':
        print(f'-- installing torch, build {build} ({choose})', flush=True)
        result = subprocess.run(
            [*pip_install(python), '--extra-index-url',
             f'{PYTORCH_INDEX}{build}', *(f'{pin}+{build}' for pin in pins)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not result.returncode:
            return
        if asked:
            raise SetupError(f'{result.stdout}\ninstalling {pins[1]}+{build}: '
                             f'failed ({choose})')
        print('   your package index does not have it')
    run([*pip_install(python), *pins],
        f"installing torch, the package index's build ({choose})")


def write_opencv_stub(folder):
    """A wheel "opencv-python" that only requires OpenCV's headless build.

    MMEngine and mmcv require opencv-python, whose libraries of a desktop
    (libGL, libgthread) servers and containers lack.
    """
    headless = read_pin('opencv.txt', 'opencv-python-headless')
    version = headless.split('==')[1]
    files = dict(
        METADATA='Metadata-Version: 2.1\nName: opencv-python\n'
        f'Version: {version}\nRequires-Dist: {headless}\n',
        WHEEL='Wheel-Version: 1.0\nRoot-Is-Purelib: true\n'
        'Tag: py3-none-any\n', RECORD='')
    wheel = Path(folder, f'opencv_python-{version}-py3-none-any.whl')
    with ZipFile(wheel, 'w') as archive:
        for name, text in files.items():
            archive.writestr(f'opencv_python-{version}.dist-info/{name}', text)
    return wheel


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


def bring_up(venv, stack, with_tests):
    """Install everything in an environment, and check that it works."""
    python = install_libraries(venv, stack, with_tests)
    run([*pip_install(python), '--no-build-isolation', '--no-deps', '-e',
         ROOT], 'installing mmlowformer')
    run([python, '-m', 'mmlowformer.doctor', *TASKS],
        'checking the environment (python -m mmlowformer.doctor)', cwd=venv)


def install_libraries(venv, stack, with_tests):
    """Install what mmlowformer needs; return the environment's Python."""
    python, mmcv = create_venv(venv), STACKS[stack]
    others = [name for name in STACKS.values() if name != mmcv]
    if other := output_of(python, (
            'from importlib.metadata import distributions as all; '
            f'print(*[d.name for d in all() if d.name in {others}])')):
        raise SetupError(f'{venv} holds {other}, which is not in the stack '
                         f'{stack}: name another --venv, or delete it')

    def install(what, *arguments):
        run([*pip_install(python), *arguments], f'installing {what}')

    def listed(*names):
        return [word for name in names
                for word in ('-r', REQUIREMENTS / f'{name}.txt')]

    packages = listed(stack, 'opencv', 'hub', 'serve',
                      *['tests'] * with_tests)

    def install_others():
        with tempfile.TemporaryDirectory() as folder:
            install('an empty opencv-python', '--no-deps',
                    write_opencv_stub(folder))
        install('mmengine, mmdet, mmsegmentation, mmpretrain'
                + ', test tools' * with_tests, *packages)

    install('tools that compile mmcv', *listed('build'))
    install_torch(python)
    wheel = get_wheel(python, read_pin(f'{mmcv}.txt', mmcv), install_others)
    install('mmcv', '--no-deps', '--force-reinstall', wheel)
    install('what mmcv needs', *listed(mmcv), *packages)
    if with_tests:
        install('multi-object trackers', '--no-deps', *listed('mot'))
    return python


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


def records_of(venv):
    """The lists of files that packages have installed."""
    return [*venv.glob('[Ll]ib*/python*/site-packages/*.dist-info/RECORD')]


def missing_file(venv, packages):
    """A file that has been deleted from the environment, or None."""
    records = records_of(venv)
    if len(records) < packages:
        return 'a package'
    for record in records:
        site = record.parents[1]
        for line in record.read_text().splitlines():
            name = line.rsplit(',', 2)[0].strip('"')
            if not os.path.exists(f'{site}/{name}'):
                return name
    return None


def must_bring_up(venv, done, state):
    """Whether something changed; what must be made anew is marked."""
    lost = missing_file(venv, done['packages'])
    backend = state['backend'] or done['backend']
    if lost or backend != done['backend']:
        print(f'-- {venv}: ' + (f'{lost} is missing' if lost else
                                f'another {BACKEND}') + '; creating it anew')
        # create_venv() clears what it has not written.
        (venv / 'pyvenv.cfg').write_text('')
        return True
    return (state['inputs'] != done['inputs']
            or state['tests'] > done['tests'])


def once(venv, state, bring_up, *arguments):
    """Install an environment unless it is whole and nothing has changed."""
    stamp = venv / 'mmlowformer-setup'
    done = None
    # An older stamp is no JSON.
    with contextlib.suppress(OSError, ValueError):
        done = json.loads(stamp.read_text())
    if done and not must_bring_up(venv, done, state):
        return
    check_machine(state['stack'])
    stamp.unlink(missing_ok=True)
    bring_up(venv, *arguments)
    stamp.write_text(json.dumps({**state, 'packages': len(records_of(venv))}))
    print(f'-- ready: {venv}')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--stack', choices=STACKS, default='openmmlab',
                        help="OpenMMLab's own packages (default), or the "
                        'maintained forks')
    parser.add_argument('--venv', type=Path, help='folder of the environment '
                        '(default: .venv, or .venv-STACK)')
    parser.add_argument('--with-tests', action='store_true',
                        help='install also what tests need: exports, trackers')
    parser.add_argument('--no-install-project', action='store_true',
                        help='install the libraries, but not mmlowformer, as '
                        'a layer of a container')
    parser.add_argument('--extra', help='extra of setup.py to install in an '
                        'environment on top of that one: VENV-EXTRA')
    parser.add_argument('--check-python', action='store_true',
                        help='only check the version of this Python')
    args = parser.parse_args()
    venv = (args.venv or ROOT / ('.venv' if args.stack == 'openmmlab' else
                                 f'.venv-{args.stack}')).resolve()
    state = dict(inputs=fingerprint(args.stack), stack=args.stack,
                 tests=args.with_tests, backend=os.environ.get(BACKEND, ''))
    try:
        if args.check_python:
            check_python()
            return
        if args.no_install_project:
            check_machine(args.stack)
            install_libraries(venv, args.stack, args.with_tests)
            return
        once(venv, state, bring_up, args.stack, args.with_tests)
        if args.extra:
            once(venv.with_name(f'{venv.name}-{args.extra}'), state,
                 bring_up_extra, venv, args.extra)
    except SetupError as error:
        sys.exit(f'setup: {error}')
    except KeyboardInterrupt:
        sys.exit('\nsetup: interrupted; run it again to continue')


if __name__ == '__main__':
    main()
