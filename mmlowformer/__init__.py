"""LowFormer backbones for OpenMMLab."""
import importlib.util
import sys

from .utils.imports import pinned
from .version import __version__

REMEDY = (
    'mmlowformer needs {}, which is not installed. It is not installed '
    'automatically because several distributions provide it: "pip install '
    'mmengine" or "pip install onedl-mmengine" for mmengine; "pip install '
    '{mmcv_lite}" (enough for the backbone), "pip install '
    '--no-build-isolation {mmcv}" (with ops; torch and {setuptools} first) '
    'or "pip install onedl-mmcv" for mmcv. Take both from one family. '
    '"python -m mmlowformer.doctor" checks the rest.')


def _is_run_as_doctor() -> bool:
    """Whether this is imported on the way to ``-m mmlowformer.doctor``.

    The doctor looks at environments in which the imports below fail.
    """
    # Python's placeholder for the program until the module is found.
    return sys.argv[:1] == ['-m'] and 'mmlowformer.doctor' in sys.orig_argv


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    # Of what is in sys.modules without being a module.
    except ValueError:
        return False


def _missing(package: str) -> ImportError:
    return ImportError(REMEDY.format(
        package, mmcv=pinned('mmcv'), mmcv_lite=pinned('mmcv-lite'),
        setuptools=pinned('setuptools')))


# Without them mmlowformer.runtime is all that works, and all that is meant
# to; nobody could look a type up.
_RUNTIME_ONLY = not (_is_there('torch') and _is_there('mmengine'))

if not (_RUNTIME_ONLY or _is_run_as_doctor()):
    try:
        from .config.loading import get_config, get_config_path
        from .models import LowFormer
    except ModuleNotFoundError as error:
        package = (error.name or '').split('.')[0]
        if package not in ('mmcv', 'mmengine'):
            raise
        raise _missing(package) from error


def __getattr__(name: str):
    if _RUNTIME_ONLY and name in __all__:
        if not _is_there('torch'):
            raise ImportError(f'mmlowformer.{name} needs torch, which is not '
                              'installed: pip install torch. Without it '
                              'mmlowformer.runtime works')
        raise _missing('mmengine')
    # These need more than the backbone does.
    if name == 'Predictor':
        from .predict import Predictor
        return Predictor
    if name == 'deploy':
        from .deployment.deploy import deploy
        return deploy
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


__all__ = ['LowFormer', 'Predictor', '__version__', 'deploy',
           'get_config', 'get_config_path']
