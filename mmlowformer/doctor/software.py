"""Checks of Python, of the libraries and of LowFormer itself."""
import re
import sys

from ..export.requirements import NOT_RUNNABLE
from ..utils.imports import PACKAGE, fits_python, pinned, without_wheel
from . import fixes
from .environment import (
    CheckResult,
    Environment,
    broken,
    missing,
    ok,
    skipped,
    warning,
)

# The libraries, and the tasks that need them.
LIBRARIES = dict(mmdet=('detection', 'mot'), mmseg=('segmentation', ),
                 mmpretrain=('classification', ))
WRONG_MMCV = 'AssertionError: MMCV=={} is used but incompatible.'


def imports(module: str, env: Environment,
            text: str = 'importing it fails') -> CheckResult:
    error = env.error(module)
    if env.absent(module):
        if module in ('mmengine', 'mmcv'):
            error = (f'mmlowformer.LowFormer needs {module}, which is not '
                     'installed')
        return missing('not installed', error, fixes.install(env, module))
    if error:
        return broken(text, error, fixes.fix_import(env, module))
    return ok(env[module])


def python(env: Environment) -> CheckResult:
    text = '{}.{}'.format(*sys.version_info)
    if not fits_python(pinned('python')):
        return broken(f'{text}, {pinned("python")} is needed',
                      "ERROR: Package 'mmlowformer' requires a different "
                      'Python', fixes.older_python())
    return ok(text)


def families(env: Environment) -> CheckResult | None:
    """OpenMMLab's distributions and their forks write to the same folders."""
    installed = {module: [name for name in names if name in env.versions]
                 for module, names in fixes.PROVIDERS.items()}
    found = [name for names in installed.values() for name in names]
    forks = [name for name in found if name.startswith('onedl-')]
    others = [name for name in found if name not in forks]
    doubled = [module for module, names in installed.items() if names[1:]]
    if not found:
        return None
    if not doubled and not (forks and others):
        return ok('the maintained forks (onedl-*)' if forks else "OpenMMLab's")
    fix = fixes.keep_family(max(others, forks, key=len), installed, env)
    symptom = WRONG_MMCV.format(env['mmcv'] or '...')
    if not doubled:
        return warning(f'{forks[0]} beside {others[0]}: both families in one '
                       'environment', symptom, fix)
    if env.release('mmcv') < (2, 2):
        symptom = f"ImportError: cannot import name '...' from '{doubled[0]}'"
    return broken(f'{" and ".join(installed[doubled[0]])} are both installed; '
                  "they overwrite each other's files", symptom, fix)


def setuptools(env: Environment) -> CheckResult:
    version = env.versions.get('setuptools', 'none')
    error = env.error('pkg_resources')
    if not error or env.forks:
        return ok(version)
    return warning(f"{version}: mmcv cannot be built, and _base_ = "
                   "'mmdet::...' fails", error,
                   f'pip install {pinned("setuptools")}')


def torch(env: Environment) -> CheckResult:
    version = env['torch']
    if version and env.release('torch') < (2, 1):
        return broken(f'{version}, 2.1 or newer is needed', "No module named "
                      "'torch.utils.flop_counter'", fixes.TORCH)
    return imports('torch', env)


def numpy(env: Environment) -> CheckResult:
    version, error = env['numpy'], env.error('torch and numpy')
    if version and error and not env.error('torch'):
        return broken(f'{version}, but this torch is for numpy 1', error,
                      'pip install "numpy<2"')
    if env.error('numpy.in1d') and 'mmpretrain' in env.versions and version:
        return warning(f"{version}: mmpretrain's RetrievalRecall fails",
                       env.error('numpy.in1d'), fixes.install(env, 'numpy'))
    return imports('numpy', env)


def torchvision(env: Environment) -> CheckResult:
    return imports('torchvision', env, f'{env.versions.get("torchvision")} is '
                   f'not that of torch {env["torch"]}')


def mmcv(env: Environment) -> CheckResult:
    if env.error('cv2') and not env.absent('cv2'):
        return broken('OpenCV, which it needs, cannot be imported',
                      env.error('cv2'), fixes.HEADLESS_OPENCV)
    if env['mmcv'] and env.release('mmcv') < (2, ):
        return broken(f'{env["mmcv"]}, 2.0 or newer is needed',
                      WRONG_MMCV.format(env['mmcv']), fixes.build_mmcv(env))
    return imports('mmcv', env)


def ops(env: Environment) -> CheckResult:
    if error := env.error('mmcv._ext') or env.error('ops'):
        lite = env.absent('mmcv._ext') and 'mmcv-lite' in env.versions
        if lite:
            text = 'none, this is mmcv-lite'
        elif env.absent('mmcv._ext'):
            text = 'mmcv was installed without them'
        elif 'undefined symbol' in error:
            text = f'compiled for another torch than {env["torch"]}'
        else:
            text = 'they do not run'
        return (missing if lite and not env.needs_ops else broken)(
            text, error, fixes.build_mmcv(env))
    if env['ops']:
        return ok('nms runs, compiled with optimization')
    return warning('slow: compiled without optimization',
                   'testing a detector takes far longer than it should',
                   fixes.build_mmcv(env, 'CFLAGS=-O3 '))


def ops_on_gpu(env: Environment) -> CheckResult | None:
    if not env.has_gpu or env.error('ops'):
        return None
    if error := env.error('ops on gpu'):
        text = ('the ops were compiled for the CPU only'
                if re.search('not found|not compiled with GPU', error) else
                f'the ops do not run on this {env["gpu"]["name"]}')
        return broken(text, error, fixes.build_mmcv(env, 'FORCE_CUDA=1 '))
    return ok('nms runs')


def installed(env: Environment) -> CheckResult:
    """Whether configs find this package from any folder."""
    found, fix = env['installed'], fixes.install_mmlowformer('-e')
    if found is None:
        return broken('not installed, found from this folder only',
                      "KeyError: 'mmlowformer.LowFormer is not in the "
                      'mmdet::model registry', fix)
    if found != str(PACKAGE):
        return warning(f'another copy is used: {found}',
                       'what you change in this folder has no effect', fix)
    return ok(', '.join(filter(None, ['installed', env['mmlowformer']])))


def backbone(env: Environment) -> CheckResult:
    failed = env.first_failed('mmlowformer', 'forward', 'configs')
    if not failed:
        return ok('b0 gives finite feature maps, a config is read')
    error = env.error(failed)
    again = fixes.install_mmlowformer('--force-reinstall')
    if failed == 'mmlowformer':
        return broken('importing mmlowformer fails',
                      "KeyError: 'mmlowformer.LowFormer is not in the "
                      "mmdet::model registry'; the reason, which MMEngine "
                      f'hides, is {error}',
                      fixes.fix_import(env, failed))
    if failed == 'forward':
        return broken('b0 cannot be built or computed', error,
                      fixes.TORCH_AGAIN)
    return broken('its configs are not found', error, again)


def weights(env: Environment) -> CheckResult:
    error = env.error('pretrained')
    if re.search('No usable temporary directory|Errno 28', error):
        return broken('no temporary file can be written', error,
                      'export TMPDIR=/path/on/a/larger/disk')
    if error:
        return broken('init_cfg does not load weights as it should', error,
                      fixes.reinstall(env, 'mmengine'))
    text = 'loaded; those of another network are refused'
    if {'huggingface-hub', 'safetensors'} <= set(env.versions):
        return ok(text)
    return ok(f'{text}; those on the hub need more packages',
              'hf-hub:timm/... could not be fetched',
              'pip install huggingface_hub safetensors')


def library(name: str, env: Environment) -> CheckResult:
    """Its import, its look-up of the backbone, and its own base configs."""
    if env.absent(name):
        return imports(name, env)
    if failed := env.first_failed(name, f'{name}.models', f'{name}.datasets',
                                  f'{name}.evaluation'):
        step = env.steps[failed]
        if env.error('mmcv._ext') and (
                step.crashed or 'mmcv' in f'{step.error} {step.modules}'):
            return skipped('mmcv._ext')
        return broken(f'importing {failed} fails', step.error,
                      fixes.fix_import(env, failed))
    if error := env.error(f'{name} look-up'):
        if env.error('mmlowformer'):
            return skipped('mmlowformer')
        return broken('does not find mmlowformer.LowFormer', error,
                      fixes.reinstall(env, 'mmengine'))
    base = env.error(f'{name} base')
    text = f'{env[name]}, finds mmlowformer.LowFormer'
    # Without pkg_resources all fail, which another check reports.
    if not base or 'pkg_resources' in base:
        return ok(text)
    return ok(f"{text}; _base_ = '{name}::...' fails", base,
              f'python -c "import {name}; '
              f'print({name}.__path__[0] + \'/.mim/configs\')"')


def any_library(env: Environment) -> CheckResult | None:
    """The tools need one of the libraries, whichever it is."""
    if env.tasks & {'detection', 'segmentation', 'classification'} or not all(
            env.error(f'{name} look-up') for name in LIBRARIES):
        return None
    return missing(f'none of {", ".join(LIBRARIES)} works',
                   'the config is for mmdet, which is not installed',
                   fixes.install(env, 'mmdet'))


def checkpoints(env: Environment) -> CheckResult:
    if error := env.error('checkpoint'):
        return broken('resuming and testing cannot read them', error,
                      fixes.TORCH)
    if env['checkpoint']:
        return ok("Runner's are read")
    return ok("Runner's are read by tools/, not by mmdet's own tools",
              'UnpicklingError: Weights only load failed',
              'python tools/test.py CONFIG CHECKPOINT')


def distributed(env: Environment) -> CheckResult:
    if env['distributed']:
        return ok('torch can start several processes')
    return warning('this torch has none: one process only', 'RuntimeError: '
                   'Default process group has not been initialized',
                   fixes.TORCH)


def packages(names: tuple[str, ...], symptom: str, more: tuple[str, ...],
             env: Environment) -> CheckResult:
    lacking = [name for name in names if name not in env.versions]
    if too_new := without_wheel(*lacking):
        return missing(f'no wheel for this Python: {", ".join(too_new)}',
                       symptom.format(too_new[0]), fixes.older_python())
    if lacking:
        return missing(f'not installed: {", ".join(lacking)}',
                       symptom.format(lacking[0]),
                       f'pip install {pinned(*lacking, *more)}')
    return ok(', '.join(names))


def export_format(name: str, distributions: tuple[str, ...],
                  env: Environment) -> CheckResult:
    result = packages(distributions, 'export.py: error: --format needs {}',
                      (), env)
    if result.status == 'missing':
        return result
    others = [item for item in distributions
              if pinned(item) != f'{item}=={env.versions[item]}']
    if name in env.steps:
        if error := env.error(name):
            return warning(f'does not work with torch {env["torch"]}', error,
                           f'pip install {pinned("torch", *distributions)}')
    elif others:
        return warning(f'tested with {pinned(*others)} only',
                       'the export or its runtime fails',
                       f'pip install {pinned(*others)}')
    return ok('can be converted, not verified' if name in NOT_RUNNABLE else
              'can be exported and verified')
