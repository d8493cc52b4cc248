"""Commands that fix an environment."""
import re
import shlex
import sys
from pathlib import Path

from ..utils.imports import PACKAGE, pinned
from .environment import Environment, Step

TORCH = f'pip install {pinned("torch", "torchvision")}'
TORCH_AGAIN = TORCH.replace('install', 'install --force-reinstall')
# The newest whose own wheels are for CUDA 12, and for GPUs before Turing.
TORCH_FOR_CUDA_12 = 'pip install torch==2.10.0 torchvision==0.25.0'
TORCH_FOR_OLD_GPUS = 'pip install torch==2.6.0 torchvision==0.21.0'
# Without the libraries of a desktop, such as libGL.
HEADLESS_OPENCV = ('pip uninstall -y opencv-python && pip install '
                   '--force-reinstall --no-deps opencv-python-headless')

# Distributions of OpenMMLab, and of the maintained forks.
DISTRIBUTIONS = dict(
    mmengine=('mmengine', 'onedl-mmengine'), mmcv=('mmcv', 'onedl-mmcv'),
    mmdet=('mmdet', 'onedl-mmdetection'),
    mmseg=('mmsegmentation', 'onedl-mmsegmentation'),
    mmpretrain=('mmpretrain', 'onedl-mmpretrain'))
PROVIDERS = dict(DISTRIBUTIONS, mmcv=(
    'mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'))
# Distributions that are not named like their module.
OTHER_NAMES = dict(
    cv2='opencv-python', PIL='pillow', yaml='pyyaml', sklearn='scikit-learn',
    skimage='scikit-image', pkg_resources='setuptools')


def install(env: Environment, *modules: str, again: bool = False) -> str:
    """Install modules, or write the files of installed ones again."""
    if modules == ('torch', ):
        return TORCH_AGAIN if again else TORCH
    if modules == ('torchvision', ):
        return _install_torchvision(env)
    if modules == ('mmcv', ) and not (again or env.forks or env.needs_ops):
        return f'pip install {pinned("mmcv-lite")}'
    commands = []
    if names := [DISTRIBUTIONS.get(module, (module, module))[env.forks]
                 for module in modules if module != 'mmcv']:
        options = ' --force-reinstall --no-deps' if again else ''
        # mmsegmentation imports them without requiring them.
        more = ' ftfy regex' if 'mmseg' in modules and not again else ''
        commands.append(f'pip install{options} {pinned(*names)}{more}')
    if 'mmcv' in modules:
        commands.append(build_mmcv(env))
    return ' && '.join(commands)


def fix_import(env: Environment, module: str, otherwise: str = '') -> str:
    """Install what an import lacks, else write the module's files again."""
    if found := re.search(r"No module named '(\w+)", env.error(module)):
        name = found.group(1)
        return f'pip install {pinned(OTHER_NAMES.get(name, name))}'
    return otherwise or install(env, module.partition('.')[0], again=True)


def fix_library(env: Environment, module: str) -> str:
    """Fix the import of a module of MMDetection and the like."""
    error = env.error(module)
    if 'MMCV==' in error:
        return build_mmcv(env)
    if 'MMEngine==' in error:
        return install(env, 'mmengine', again=True)
    if any('.multimodal' in name for name in env.steps[module].modules):
        return f'pip install {pinned("transformers")}'
    if re.search("'(ftfy|regex)'", error):
        return 'pip install ftfy regex'
    return fix_import(env, module)


def build_mmcv(env: Environment, settings: str = '') -> str:
    """Compile mmcv with its ops for the torch that is installed."""
    forks = env.forks and 'mmcv' not in env.versions
    if venv := checkout_venv():
        return f'rm -rf {venv} && make setup{" STACK=onedl" if forks else ""}'
    # pip's cache does not know which torch a wheel was compiled for.
    options = '--no-build-isolation --no-cache-dir'
    if {'mmcv', 'onedl-mmcv'} & set(env.versions):
        options += ' --force-reinstall --no-deps'
    lite = 'mmcv-lite' in env.versions
    return (f'{"pip uninstall -y mmcv-lite && " if lite else ""}'
            f'pip install {pinned("setuptools")} wheel ninja && '
            f'MMCV_WITH_OPS=1 {settings}pip install {options} '
            f'{pinned(DISTRIBUTIONS["mmcv"][forks])}')


def checkout_venv() -> str:
    """Name of the environment of ``make setup``, if this Python is in it."""
    venv, root = Path(sys.prefix), PACKAGE.parent
    is_own = venv.parent == root and (root / 'tools/setup_env.py').exists()
    return venv.name if is_own else ''


def keep_family(family: list[str], env: Environment) -> str:
    """Uninstall the other family, and install again what it overwrote."""
    gone, again = [], []
    for module, names in PROVIDERS.items():
        names = tuple(name for name in names if name in env.versions)
        kept = tuple(name for name in names if name in family)[:1]
        gone += [name for name in names if name not in kept]
        if names != kept:
            again.append(module)
    versions = {name: version for name, version in env.versions.items()
                if name not in gone}
    left = Environment({**env.steps, 'versions': Step(versions)}, env.tasks)
    return (f'pip uninstall -y {" ".join(gone)} && '
            + install(left, *again, again=True))


def _install_torchvision(env: Environment) -> str:
    """Install that of the torch: 0.15 for 2.0, 0.16 for 2.1, and so on."""
    if not (torch := env.release('torch')):
        return TORCH
    # The right release in another build: for the CPU, or for another CUDA.
    if env.release('torchvision')[1:2] == (torch[1] + 15, ):
        return TORCH_AGAIN
    return ('pip install --force-reinstall --no-deps '
            f'"torchvision==0.{torch[1] + 15}.*"')


def install_mmlowformer(option: str) -> str:
    root = PACKAGE.parent
    checkout = (shlex.quote(str(root)) if (root / 'setup.py').exists() else
                '/path/of/the/checkout')
    return f'pip install --no-deps {option} {checkout}'
