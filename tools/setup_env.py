"""Create the environment: ``.venv`` with the pinned stack.

Standard library only, because it runs before anything is installed. Running
it again does nothing unless its inputs have changed or files are missing.
"""
import argparse
import contextlib
import csv
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mmcv_wheel
from mmcv_wheel import SetupError

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
VERSION = '{}.{}'.format(*sys.version_info)
# The mmcv of each stack. requirements/<stack>.txt lists the other packages,
# requirements/<mmcv>.txt has its version.
STACKS = dict(openmmlab='mmcv', onedl='onedl-mmcv')
# What the doctor checks in the end.
TASKS = ('detection', 'segmentation', 'classification', 'train')
# Which build of torch to install: default for that of the package index, or
# the end of a version on PyTorch's index, such as cpu or cu126.
BACKEND = 'TORCH_BACKEND'
PYTORCH_INDEX = 'https://download.pytorch.org/whl/'
# The file in an environment that says how it was made.
STAMP = 'mmlowformer-setup'


def read_pin(file, package):
    """The requirement of a package in ``requirements/<file>``."""
    text = (REQUIREMENTS / file).read_text()
    return re.search(rf'^{package}[=<>][^\s;]+', text, re.M).group()


def listed(*names):
    """Arguments of pip that name files in ``requirements/``."""
    return [word for name in names
            for word in ('-r', REQUIREMENTS / f'{name}.txt')]


def fingerprint(stack):
    """A digest that changes when the environment must be updated."""
    digest = hashlib.sha256(f'{ROOT}\n{stack}\n'.encode())
    for path in [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py',
                 Path(__file__), Path(mmcv_wheel.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_python():
    """Refuse a Python that ``requirements/python.txt`` does not allow."""
    oldest, end = map(int, re.findall(
        r'3\.(\d+)', read_pin('python.txt', 'python')))
    if not (3, oldest) <= sys.version_info[:2] < (3, end):
        raise SetupError(
            f'Python 3.{oldest} to 3.{end - 1} is needed, this is {VERSION}. '
            'Name another with: make setup PYTHON=python3.11')


def check_machine(mmcv):
    """Refuse early, and name missing programs and their packages."""
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
    mmcv_wheel.check_cache(mmcv)


def run(command, what, **kwargs):
    print(f'-- {what}', flush=True)
    if subprocess.run(command, **kwargs).returncode:
        raise SetupError(f'{what}: failed, see above. Command: '
                         f'{" ".join(map(str, command))}')


def create_venv(venv, reason):
    """Create an environment in place of one that is broken or incomplete."""
    if (venv.exists() and any(venv.iterdir()) and not (venv / STAMP).exists()
            and not venv.name.startswith('.venv')):
        raise SetupError(f'{venv} holds other files: name another --venv')
    print(f'-- creating {venv}{reason}', flush=True)
    if subprocess.run([sys.executable, '-m', 'venv', '--clear', venv]
                      ).returncode:
        raise SetupError(
            'This Python cannot create virtual environments: sudo '
            f'apt-get install python{VERSION}-venv (Debian, Ubuntu)')


def site_packages(venv):
    return next(venv.glob('lib/python*/site-packages'))


def uv_options(python):
    """pip's settings of indexes as options of uv, which does not read them."""
    shown = subprocess.run([python, '-m', 'pip', 'config', 'list'], text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    # The last one counts: those of the environment.
    shown.sort(key=lambda line: line.startswith(':env:'))
    settings = dict(re.findall(r"^[:\w]+\.([\w-]+)='(.*)'$",
                               '\n'.join(shown), re.M))
    for name, variable in (('cert', 'SSL_CERT_FILE'), ('proxy', 'ALL_PROXY')):
        if name in settings:
            os.environ.setdefault(variable, settings[name])
    # Like pip: the newest of all indexes, not that of the first.
    options = ['--index-strategy', 'unsafe-best-match']
    for name in ('index-url', 'extra-index-url', 'find-links', 'constraint',
                 'trusted-host'):
        for value in settings.get(name, '').replace('\\n', ' ').split():
            options += [f'--{name}', value]
    return options + ['--no-index'] * ('no-index' in settings)


@functools.cache
def pip_install(python):
    """The command that installs packages; uv does it in parallel."""
    if uv := shutil.which('uv'):
        print(f'-- {uv} installs the packages, in place of pip', flush=True)
        return [uv, 'pip', 'install', '-q', '--python', python,
                *uv_options(python)]
    # Python compiles what is imported, which is a small part.
    return [python, '-m', 'pip', 'install', '-q', '--no-compile']


def has_gpu():
    """Whether there is an NVIDIA GPU, or a driver for one."""
    return bool(shutil.which('nvidia-smi')
                or Path('/proc/driver/nvidia').exists()
                or os.environ.get('FORCE_CUDA') == '1')


def install_torch(python, asked):
    """Install torch without CUDA, 3 GB less, if no GPU needs it."""
    pins = [read_pin('torch.txt', name) for name in ('torchvision', 'torch')]
    choose = f'(to choose: make setup {BACKEND}=default, cpu or cu126)'
    small = sys.platform == 'linux' and not has_gpu()
    for build in [asked] if asked else ['cpu'] * small + ['default']:
        print(f'-- installing torch, build {build} {choose}', flush=True)
        index = [] if build == 'default' else [
            '--extra-index-url', f'{PYTORCH_INDEX}{build}']
        result = subprocess.run(
            [*pip_install(python), *index,
             *(f'{pin}+{build}' if index else pin for pin in pins)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not result.returncode:
            return
        print(f"   {build}: neither in your package index nor in PyTorch's")
    raise SetupError(f'{result.stdout}\ninstalling {pins[1]}, build {build}: '
                     f'failed {choose}')


def provide_opencv(site):
    """Install an empty "opencv-python" that requires the headless build.

    MMEngine and mmcv require opencv-python, whose libraries of a desktop
    (libGL, libgthread) servers and containers lack.
    """
    headless = read_pin('opencv.txt', 'opencv-python-headless')
    version = headless.split('==')[1]
    for other in site.glob('opencv_python-*.dist-info'):
        shutil.rmtree(other)
    folder = site / f'opencv_python-{version}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: opencv-python\n'
        f'Version: {version}\nRequires-Dist: {headless}\n')
    (folder / 'RECORD').write_text(''.join(
        f'{folder.name}/{name},,\n' for name in ('METADATA', 'RECORD')))


def get_wheel(python, package, install):
    """The path of mmcv's wheel; ``install`` runs while it is compiled."""
    folder, with_cuda = mmcv_wheel.wheel_folder(python, package)
    if wheel := next(folder.glob('*.whl'), None):
        print(f'-- mmcv: wheel from {folder}', flush=True)
        install()
        return wheel
    print(f'-- compiling {package} with its ops, once (a minute or two on two '
          f'cores),\n   into {folder}', flush=True)
    with ThreadPoolExecutor(1) as pool:
        # Not before the compiler starts: mmcv's setup.py must not import
        # packages that are half installed.
        installing = functools.cache(lambda: pool.submit(install))
        wheel = mmcv_wheel.build(python, package, folder, with_cuda,
                                 installing)
        installing().result()
    return wheel


def bring_up(venv, state):
    """Install everything in an environment, and check that it works."""
    python, stack, tests = venv / 'bin/python', state['stack'], state['tests']
    for other in {*STACKS.values()} - {STACKS[stack]}:
        if any(site_packages(venv).glob(other.replace('-', '_') + '-*')):
            raise SetupError(f'{venv} holds {other}, which is not in the stack'
                             f' {stack}: name another --venv, or delete it')

    def install(what, *arguments):
        run([*pip_install(python), *arguments], f'installing {what}')

    packages = listed(stack, 'opencv', 'hub', 'serve', *['tests'] * tests)
    install('tools that compile mmcv', *listed('build'))
    install_torch(python, state['backend'])
    provide_opencv(site_packages(venv))
    wheel = get_wheel(python, state['mmcv'], lambda: install(
        'mmengine, mmdet, mmsegmentation, mmpretrain'
        + ', test tools' * tests, *packages))
    install('mmcv', '--no-deps', '--force-reinstall', wheel)
    install('what mmcv needs', *listed(STACKS[stack]), *packages)
    if tests:
        install('multi-object trackers', '--no-deps', *listed('mot'))
    install('mmlowformer', '--no-build-isolation', '--no-deps', '-e', ROOT)
    run([python, '-m', 'mmlowformer.doctor', *TASKS],
        'checking the environment (python -m mmlowformer.doctor)', cwd=venv)


def bring_up_extra(venv, state, base, extra):
    """Install an extra of setup.py in an environment on top of another.

    For packages that want versions with which the tests do not work.
    """
    (site_packages(venv) / 'below.pth').write_text(
        f'import site; site.addsitedir({str(site_packages(base))!r})\n')
    # uv would install again what lies below.
    run([venv / 'bin/python', '-m', 'pip', 'install', '-q', '--no-compile',
         '--no-build-isolation', '-e', f'{ROOT}[{extra}]'],
        f'installing the extra {extra}')


def records_of(venv):
    """The lists of files that packages have installed."""
    return [*venv.glob('lib/python*/site-packages/*.dist-info/RECORD')]


def missing_file(venv, packages):
    """A file that has been deleted from the environment, or None."""
    records = records_of(venv)
    for record in records:
        with record.open(newline='', encoding='utf-8') as file:
            for name, *_ in csv.reader(file):
                # Byte code is written anew.
                if not (name.endswith('.pyc') or os.path.exists(
                        f'{record.parents[1]}/{name}')):
                    return name
    return 'a package' if len(records) < packages else None


def once(venv, state, bring_up, *arguments):
    """Install an environment unless it is whole and nothing has changed."""
    stamp, done = venv / STAMP, {}
    with contextlib.suppress(OSError, ValueError):
        done = json.loads(stamp.read_text())
    backend = os.environ.get(BACKEND) or done.get('backend', '')
    # `activate` and the programs name the folder.
    origin = f'{sys.version}, {venv}, {backend}'
    lost = missing_file(venv, done.get('packages', 0))
    anew = bool(lost) or done.get('origin') != origin
    if not anew and (done['inputs'] == state['inputs']
                     and done['tests'] >= state['tests']):
        return
    check_machine(state['mmcv'])
    if anew:
        create_venv(venv, f', as {lost} is missing' if lost else
                    f', as Python, its place or {BACKEND} changed'
                    if 'origin' in done else ', as an older set-up made it'
                    if stamp.exists() else '')
    state = {**state, 'backend': backend, 'origin': origin}
    # If this is interrupted, the next set-up goes on.
    stamp.write_text(json.dumps({**state, 'inputs': '', 'packages': 0}))
    bring_up(venv, state, *arguments)
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
    parser.add_argument('--extra', help='extra of setup.py to install in an '
                        'environment on top of that one: VENV-EXTRA')
    parser.add_argument('--check-python', action='store_true',
                        help='only check the version of this Python')
    args = parser.parse_args()
    venv = (args.venv or ROOT / ('.venv' if args.stack == 'openmmlab' else
                                 f'.venv-{args.stack}')).resolve()
    mmcv = STACKS[args.stack]
    state = dict(inputs=fingerprint(args.stack), stack=args.stack,
                 mmcv=read_pin(f'{mmcv}.txt', mmcv), tests=args.with_tests)
    try:
        check_python()
        if args.check_python:
            return
        once(venv, state, bring_up)
        if args.extra:
            once(venv.with_name(f'{venv.name}-{args.extra}'), state,
                 bring_up_extra, venv, args.extra)
    except SetupError as error:
        sys.exit(f'setup: {error}')
    except KeyboardInterrupt:
        sys.exit('\nsetup: interrupted; run it again to continue')


if __name__ == '__main__':
    main()
