"""Commands that fix an environment."""
import re
import shlex
import sys
from pathlib import Path

from ..utils.imports import PACKAGE, pinned, without_wheel
from .environment import Environment, Step

TORCH = f'pip install {pinned("torch", "torchvision")}'
TORCH_AGAIN = TORCH.replace('install', 'install --force-reinstall')
# The newest whose own wheels are for CUDA 12, and for GPUs before Turing.
TORCH_FOR_CUDA_12 = 'pip install torch==2.10.0 torchvision==0.25.0'
TORCH_FOR_OLD_GPUS = 'pip install torch==2.6.0 torchvision==0.21.0'
# Without the libraries of a desktop, such as libGL.
HEADLESS_OPENCV = ('pip uninstall -y opencv-python && pip install '
                   '--force-reinstall --no-deps '
                   f'{pinned("opencv-python-headless")}')
NO_DEPENDENCIES = '--force-reinstall --no-deps'

# OpenMMLab's distributions of a module, and those of the maintained forks.
# mmcv is the last, as it is compiled for the others.
DISTRIBUTIONS = dict(
    mmengine=('mmengine', 'onedl-mmengine'),
    mmdet=('mmdet', 'onedl-mmdetection'),
    mmseg=('mmsegmentation', 'onedl-mmsegmentation'),
    mmpretrain=('mmpretrain', 'onedl-mmpretrain'), mmcv=('mmcv', 'onedl-mmcv'))
PROVIDERS = dict(DISTRIBUTIONS, mmcv=(
    'mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'))
# Distributions that are not named like their module.
OTHER_NAMES = dict(
    cv2='opencv-python', PIL='pillow', yaml='pyyaml', sklearn='scikit-learn',
    skimage='scikit-image', pkg_resources='setuptools')


def install(env: Environment, module: str) -> str:
    if module == 'torch':
        return TORCH
    if module == 'torchvision':
        return _install_torchvision(env)
    if module == 'mmcv' and not (env.forks or env.needs_ops):
        return f'pip install {pinned("mmcv-lite")}'
    if module == 'mmcv':
        return build_mmcv(env)
    # mmsegmentation imports them without requiring them.
    more = ' ftfy regex' if module == 'mmseg' else ''
    return f'pip install {_distribution(env, module)}{more}'


def reinstall(env: Environment, module: str) -> str:
    """Write the files of an installed module again."""
    if module == 'mmcv':
        return build_mmcv(env)
    return (TORCH_AGAIN if module == 'torch' else
            f'pip install {NO_DEPENDENCIES} {_distribution(env, module)}')


def _distribution(env: Environment, module: str) -> str:
    return pinned(DISTRIBUTIONS.get(module, (module, module))[env.forks])


def _install_torchvision(env: Environment) -> str:
    """Install that of the torch, which each torchvision requires."""
    if not env.release('torch'):
        return TORCH
    # Builds for another CUDA, or for the CPU, have the same release.
    release = '.'.join(map(str, env.release('torch')))
    return ('pip uninstall -y torch torchvision && pip install '
            f'torch=={release} torchvision')


def fix_import(env: Environment, module: str) -> str:
    """Install what an import lacks, else write the module's files again."""
    step = env.steps.get(module, Step())
    if 'MMCV==' in step.error:
        return build_mmcv(env)
    if 'MMEngine==' in step.error:
        return reinstall(env, 'mmengine')
    if any('.multimodal' in name for name in step.modules):
        # mmpretrain works without it.
        return ('pip uninstall -y transformers' if without_wheel(
            'transformers') else f'pip install {pinned("transformers")}')
    if re.search("'(ftfy|regex)'", step.error):
        return 'pip install ftfy regex'
    if found := re.search(r"No module named '(\w+)", step.error):
        name = found.group(1)
        return f'pip install {pinned(OTHER_NAMES.get(name, name))}'
    if module == 'mmlowformer':
        return install_mmlowformer('--force-reinstall')
    if module == 'torchvision':
        return _install_torchvision(env)
    return reinstall(env, module.partition('.')[0])


def build_mmcv(env: Environment, settings: str = '',
               standard: str = '') -> str:
    """Compile mmcv with its ops for the torch that is installed."""
    forks = env.forks and 'mmcv' not in env.versions
    if venv := checkout_venv():
        return f'rm -rf {venv} && make setup{" STACK=onedl" if forks else ""}'
    # pip's cache does not know which torch a wheel was compiled for.
    options = '--no-build-isolation --no-cache-dir'
    if {'mmcv', 'onedl-mmcv'} & set(env.versions):
        options += f' {NO_DEPENDENCIES}'
    lite = 'mmcv-lite' in env.versions
    source, unpack = pinned(DISTRIBUTIONS['mmcv'][forks]), ''
    if standard:
        # The C++ standard in mmcv's setup.py overrides that of torch.
        folder = source.replace('==', '-')
        unpack = ('pip download --no-deps --no-build-isolation --no-binary '
                  f'mmcv {source} && tar xf {folder}.tar.gz && sed -i.bak '
                  f's/c++17/{standard}/ {folder}/setup.py && ')
        source = f'./{folder}'
    return (f'{"pip uninstall -y mmcv-lite && " if lite else ""}'
            f'pip install {pinned("setuptools")} wheel ninja && {unpack}'
            f'MMCV_WITH_OPS=1 {settings}pip install {options} {source}')


def older_python() -> str:
    return ('make setup PYTHON=python3.11' if checkout_venv() else
            'conda create -n lowformer python=3.11')


def checkout_venv() -> str:
    """Name of the environment of ``make setup``, if this Python is in it."""
    venv, root = Path(sys.prefix), PACKAGE.parent
    is_own = venv.parent == root and (root / 'tools/setup_env.py').exists()
    return venv.name if is_own else ''


def keep_family(family: list[str], installed: dict[str, list[str]],
                env: Environment) -> str:
    """Uninstall the other family, and install again what it overwrote."""
    kept = {module: [name for name in names if name in family][:1]
            for module, names in installed.items()}
    gone = [name for module, names in installed.items() for name in names
            if name not in kept[module]]
    versions = {name: version for name, version in env.versions.items()
                if name not in gone}
    left = Environment({**env.steps, 'versions': Step(versions)}, env.tasks)
    return ' && '.join([f'pip uninstall -y {" ".join(gone)}', *(
        reinstall(left, module) for module, names in installed.items()
        if names != kept[module])])


def install_mmlowformer(option: str) -> str:
    root = PACKAGE.parent
    checkout = (shlex.quote(str(root)) if (root / 'setup.py').exists() else
                '/path/of/the/checkout')
    return f'pip install --no-deps {option} {checkout}'
