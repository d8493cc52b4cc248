"""The commands that mend an environment.

Versions are those of ``requirements/``, which an installed package lacks.
"""
import re
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

from .facts import PACKAGE, Facts

TORCH = 'pip install torch==2.12.1 torchvision==0.27.1'
# The newest torch whose own wheels are for CUDA 12, and the newest that has
# kernels for GPUs older than Turing.
TORCH_FOR_CUDA_12 = 'pip install torch==2.10.0 torchvision==0.25.0'
TORCH_FOR_OLD_GPUS = 'pip install torch==2.6.0 torchvision==0.21.0'
NUMPY_1 = 'pip install "numpy<2"'
NUMPY_WITH_IN1D = 'pip install "numpy<2.4"'
SETUPTOOLS = 'pip install "setuptools<81"'
MMSEG_NEEDS = 'pip install ftfy regex'
TRANSFORMERS = 'pip install transformers==4.40.2'
HEADLESS_OPENCV = ('pip uninstall -y opencv-python && '
                   'pip install --force-reinstall --no-deps '
                   'opencv-python-headless')
COMPILER = 'sudo apt-get install g++'
SHARED_MEMORY = 'sudo mount -o remount,size=8G /dev/shm'
DOCKER_SHARED_MEMORY = 'docker run --shm-size=8g ...'
NEWER_DRIVER = 'sudo ubuntu-drivers install'

OPENMMLAB = dict(
    mmengine='mmengine==0.10.7', mmcv='mmcv==2.1.0', mmdet='mmdet==3.3.0',
    mmseg='mmsegmentation==1.2.2', mmpretrain='mmpretrain==1.2.0')
FORKS = dict(
    mmengine='onedl-mmengine==0.10.12', mmcv='onedl-mmcv==2.3.6',
    mmdet='onedl-mmdetection==3.5.1', mmseg='onedl-mmsegmentation==1.4.2',
    mmpretrain='onedl-mmpretrain==1.3.6')
LITE = 'pip install mmcv-lite==2.1.0'

# Distributions whose name is not that of their module.
DISTRIBUTIONS = dict(
    cv2='opencv-python', PIL='pillow', yaml='pyyaml', sklearn='scikit-learn',
    skimage='scikit-image', pkg_resources='"setuptools<81"')


def requirement(module: str, forks: bool) -> str:
    """The pinned distribution that provides a module of OpenMMLab."""
    return (FORKS if forks else OPENMMLAB)[module]


def install(module: str, facts: Facts) -> str:
    """Install a library of OpenMMLab, of the family that is there."""
    if module == 'mmcv':
        return build_mmcv(facts)
    command = f'pip install {requirement(module, facts.forks)}'
    return f'{command} ftfy regex' if module == 'mmseg' else command


def install_missing(error: str) -> str | None:
    """Install what ``No module named 'x'`` names."""
    name = re.search(r"No module named '(\w+)", error)
    if not name:
        return None
    return f'pip install {DISTRIBUTIONS.get(name.group(1), name.group(1))}'


def reinstall(module: str, facts: Facts) -> str:
    """Write a library's files anew."""
    return reinstall_all([module], facts)[0]


def reinstall_torch() -> str:
    """Write the files of torch and torchvision anew."""
    return TORCH.replace('install', 'install --force-reinstall')


def reinstall_all(modules: Collection[str], facts: Facts) -> list[str]:
    """Write the files of libraries of OpenMMLab anew."""
    pure = [requirement(module, facts.forks) for module in modules
            if module != 'mmcv']
    commands = []
    if pure:
        commands.append('pip install --force-reinstall --no-deps '
                        + ' '.join(pure))
    if 'mmcv' in modules:
        commands.append(build_mmcv(facts))
    return commands


def install_mmlowformer(option: str) -> str:
    """Install this package from its checkout, where that is known."""
    root = PACKAGE.parent
    checkout = (shlex.quote(str(root)) if (root / 'setup.py').exists() else
                '/path/of/the/checkout')
    return f'pip install --no-deps {option} {checkout}'


def show_configs(host: str) -> str:
    """Print the folder whose path can stand in ``_base_``."""
    return (f'python -c "import {host}; '
            f'print({host}.__path__[0] + \'/.mim/configs\')"')


def project_environment() -> Path | None:
    """The checkout's own environment, if this Python is in it."""
    venv, root = Path(sys.prefix), PACKAGE.parent
    is_own = venv.parent == root and (root / 'tools/setup_env.py').exists()
    return venv if is_own else None


def build_mmcv(facts: Facts, cuda: bool = False, flags: str = '') -> str:
    """Compile mmcv with its ops for the torch that is there."""
    venv = project_environment()
    forks = facts.forks and 'mmcv' not in facts.versions
    if venv:
        stack = ' STACK=onedl' if forks else ''
        return f'rm -rf {venv.name} && make setup{stack}'
    settings = 'MMCV_WITH_OPS=1'
    if cuda:
        settings += ' FORCE_CUDA=1'
    if flags:
        settings += f' CFLAGS={flags}'
    # The cache does not know which torch a wheel was compiled for.
    options = '--no-build-isolation --no-cache-dir'
    if any(name in facts.versions for name in ('mmcv', 'onedl-mmcv')):
        options += ' --force-reinstall --no-deps'
    steps = [f'{SETUPTOOLS} wheel ninja',
             f'{settings} pip install {options} '
             f'{requirement("mmcv", forks)}']
    if 'mmcv-lite' in facts.versions:
        steps.insert(0, 'pip uninstall -y mmcv-lite')
    return ' && '.join(steps)


def torchvision_for(torch_version: tuple) -> str:
    """The torchvision of a torch: 0.15 came with 2.0, and so on."""
    return ('pip install --force-reinstall --no-deps '
            f'"torchvision==0.{torch_version[1] + 15}.*"')
