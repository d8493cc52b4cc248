"""Checks of Python, torch, MMEngine, mmcv and what these need."""
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

from . import fixes
from .facts import PACKAGE, Facts, Outcome
from .results import Result, broken, missing, ok, skipped, warning

SUPPORTED_PYTHON = ((3, 10), (3, 12))
OLDEST_TORCH = (2, 1)
# Its headers want C++20, and mmcv 2.1.0 passes -std=c++17.
TORCH_TOO_NEW_TO_COMPILE = (2, 14)
NUMPY_WITHOUT_IN1D = (2, 4)

# Who provides a module: OpenMMLab's distributions, and the fork's.
PROVIDERS = dict(
    mmengine=(('mmengine', ), 'onedl-mmengine'),
    mmcv=(('mmcv', 'mmcv-lite', 'mmcv-full'), 'onedl-mmcv'),
    mmdet=(('mmdet', ), 'onedl-mmdetection'),
    mmseg=(('mmsegmentation', ), 'onedl-mmsegmentation'),
    mmpretrain=(('mmpretrain', ), 'onedl-mmpretrain'))
# For OpenMMLab's own mmdet 3.3.0 and mmsegmentation 1.2.2.
TOO_NEW_MMCV = (2, 2)
WRONG_MMCV = 'AssertionError: MMCV=={} is used but incompatible.'


def release(version: str | None) -> tuple[int, ...]:
    """The numbers of a version: ``2.12.1+cu130`` is ``(2, 12, 1)``."""
    numbers = re.match(r'\d+(\.\d+)*', version or '')
    return tuple(map(int, numbers.group().split('.'))) if numbers else ()


def check_python(facts: Facts) -> Iterator[Result]:
    """The versions of Python that this project is tested with."""
    version = sys.version_info[:2]
    name, text = 'Python', '{}.{}'.format(*version)
    low, high = ('{}.{}'.format(*bound) for bound in SUPPORTED_PYTHON)
    new = ('make setup PYTHON=python3.11' if fixes.project_environment()
           else 'conda create -n lowformer python=3.11')
    if version < SUPPORTED_PYTHON[0]:
        yield broken(name, f'{text}, {low} to {high} is needed',
                     'ERROR: Package \'mmlowformer\' requires a different '
                     'Python', new)
    elif version > SUPPORTED_PYTHON[1]:
        yield warning(name, f'{text}, but mmcv 2.1.0 compiles up to {high}',
                      "KeyError: '__version__'", new)
    else:
        yield ok(name, text)


def check_families(facts: Facts) -> Iterator[Result]:
    """OpenMMLab's libraries and the forks write to the same folders."""
    name = 'families'
    present = {module: [dist for dist in (*own, fork)
                        if dist in facts.versions]
               for module, (own, fork) in PROVIDERS.items()}
    forks = [dist for dists in present.values() for dist in dists
             if dist.startswith('onedl-')]
    others = [dist for dists in present.values() for dist in dists
              if not dist.startswith('onedl-')]
    doubled = [module for module, dists in present.items() if len(dists) > 1]
    if not (doubled or (forks and others)):
        if forks or others:
            yield ok(name, 'the maintained forks (onedl-*)' if forks
                     else "OpenMMLab's")
        return
    symptom = _symptom_of_two_families(facts, doubled)
    remedy = _one_family(facts, present, keep_forks=len(forks) > len(others))
    if doubled:
        dists = ' and '.join(present[doubled[0]])
        yield broken(name, f'{dists} are both installed; they overwrite each '
                     "other's files", symptom, remedy)
    else:
        yield warning(name, f'{forks[0]} beside {others[0]}: both families '
                      'in one environment', symptom, remedy)


def _symptom_of_two_families(facts: Facts, doubled: list[str]) -> str:
    version = facts.value('mmcv')
    if release(version) >= TOO_NEW_MMCV or not doubled:
        return WRONG_MMCV.format(version or '...')
    return f"ImportError: cannot import name '...' from '{doubled[0]}'"


def _one_family(facts: Facts, present: dict, keep_forks: bool) -> str:
    """Uninstall the other family, and write anew what it overwrote."""
    gone, again = [], []
    for module, dists in present.items():
        if not dists:
            continue
        kept = [dist for dist in dists
                if dist.startswith('onedl-') == keep_forks][:1]
        gone += [dist for dist in dists if dist not in kept]
        if dists != kept:
            again.append(module)
    versions = {dist: version for dist, version in facts.versions.items()
                if dist not in gone}
    staying = replace(
        facts, steps=dict(facts.steps, versions=Outcome(versions)))
    return ' && '.join([f'pip uninstall -y {" ".join(gone)}',
                        *fixes.reinstall_all(again, staying)])


def check_setuptools(facts: Facts) -> Iterator[Result]:
    """MMEngine 0.10.7 and the build of mmcv 2.1.0 import pkg_resources."""
    version = facts.versions.get('setuptools', 'none')
    if facts.works('pkg_resources') or facts.forks:
        yield ok('setuptools', version)
    else:
        yield warning('setuptools', f"{version}: mmcv cannot be built, and "
                      "_base_ = 'mmdet::...' fails",
                      "ModuleNotFoundError: No module named 'pkg_resources'",
                      fixes.SETUPTOOLS)


def check_numpy(facts: Facts) -> Iterator[Result]:
    """NumPy, and whether torch was compiled for it."""
    version = facts.value('numpy')
    if facts.absent('numpy'):
        yield missing('numpy', facts.error('numpy'),
                      fixes.NUMPY_WITH_IN1D)
    elif version is None:
        yield broken('numpy', 'importing it fails', facts.error('numpy'),
                     'pip install --force-reinstall "numpy<2.4"')
    elif facts.works('torch') and not facts.works('torch and numpy'):
        yield broken('numpy', f'{version}, but this torch is for numpy 1',
                     facts.error('torch and numpy'), fixes.NUMPY_1)
    elif (release(version) >= NUMPY_WITHOUT_IN1D
          and facts.versions.get('mmpretrain') == '1.2.0'):
        yield warning('numpy', f"{version}: mmpretrain's RetrievalRecall "
                      'fails',
                      "AttributeError: module 'numpy' has no attribute "
                      "'in1d'", fixes.NUMPY_WITH_IN1D)
    else:
        yield ok('numpy', version)


def check_torch(facts: Facts) -> Iterator[Result]:
    """Torch, and whether mmcv compiles against it."""
    version = facts.value('torch')
    if facts.absent('torch'):
        yield missing('torch', facts.error('torch'), fixes.TORCH)
    elif version is None:
        yield broken('torch', 'importing it fails', facts.error('torch'),
                     fixes.reinstall_torch())
    elif release(version) < OLDEST_TORCH:
        yield broken('torch', f'{version}, 2.1 or newer is needed',
                     "No module named 'torch.utils.flop_counter'",
                     fixes.TORCH)
    elif (release(version) >= TORCH_TOO_NEW_TO_COMPILE and not facts.forks
          and not facts.works('mmcv._ext')):
        yield broken('torch', f'{version}: mmcv 2.1.0 compiles against 2.13 '
                     'at most',
                     '#error C++20 or later compatible compiler is required',
                     fixes.TORCH)
    else:
        yield ok('torch', version)


def check_torchvision(facts: Facts) -> Iterator[Result]:
    """A torchvision belongs to one torch."""
    name, version = 'torchvision', facts.versions.get('torchvision')
    failed = facts.first_failed(name, 'torchvision works')
    torch = release(facts.value('torch'))
    if facts.absent(name):
        remedy = (fixes.torchvision_for(torch) if torch else
                  fixes.TORCH)
        yield missing(name, facts.error(name), remedy)
    elif not torch:
        yield skipped(name, 'torch')
    elif failed is None:
        yield ok(name, facts.value(name))
    else:
        belongs = release(version)[1:2] == (torch[1] + 15, )
        # Of the same release but another build: CPU-only, or another CUDA.
        remedy = (fixes.reinstall_torch()
                  if belongs else fixes.torchvision_for(torch))
        yield broken(name, f'{version} is not that of torch '
                     f'{facts.value("torch")}', facts.error(failed), remedy)


def check_mmengine(facts: Facts) -> Iterator[Result]:
    """MMEngine."""
    yield from _check_import('mmengine', facts)


def check_mmcv(facts: Facts) -> Iterator[Result]:
    """Mmcv without its ops."""
    error = facts.error('cv2')
    if error and facts.works('mmengine') and not facts.absent('cv2'):
        yield broken('mmcv', 'OpenCV, which it needs, cannot be imported',
                     error, fixes.HEADLESS_OPENCV)
    elif facts.works('mmcv') and release(facts.value('mmcv')) < (2, ):
        version = facts.value('mmcv')
        yield broken('mmcv', f'{version}, 2.0 or newer is needed',
                     WRONG_MMCV.format(version), fixes.install(
                         'mmcv', facts))
    else:
        yield from _check_import('mmcv', facts)


def _check_import(module: str, facts: Facts) -> Iterator[Result]:
    error = facts.error(module)
    # mmcv-lite is enough for the backbone.
    lite = module == 'mmcv' and not (facts.forks or facts.needs_ops)
    if not error:
        yield ok(module, facts.value(module))
    elif facts.absent(module):
        yield missing(
            module, f'mmlowformer needs {module}, which is not installed',
            fixes.LITE if lite else fixes.install(module, facts))
    elif module == 'mmcv' and (
            failed := facts.first_failed('torch', 'mmengine')):
        yield skipped(module, failed)
    else:
        remedy = fixes.install_missing(error)
        yield broken(module, 'importing it fails', error,
                     remedy or fixes.reinstall(module, facts))


def check_installed(facts: Facts) -> Iterator[Result]:
    """Whether configs find this package from any folder."""
    found, here = facts.value('installed'), str(PACKAGE)
    remedy = fixes.install_mmlowformer('-e')
    if found is None:
        yield broken('mmlowformer', 'not installed, found from this folder '
                     'only', "KeyError: 'mmlowformer.LowFormer is not in the "
                     "mmdet::model registry", remedy)
    elif found != here:
        yield warning('mmlowformer', f'another copy is used: {found}',
                      'what you change in this folder has no effect', remedy)
    else:
        yield ok('mmlowformer', f'installed, {facts.value("mmlowformer")}'
                 if facts.works('mmlowformer') else 'installed')
