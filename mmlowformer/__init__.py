"""LowFormer backbones for OpenMMLab."""
import sys
from importlib import import_module

from .utils.imports import pinned

__version__ = '0.1.0'

# Imported on first use: mmlowformer.runtime needs neither torch nor MMEngine.
_PUBLIC = {
    'LowFormer': '.models',
    'ExportedPredictor': '.runtime',
    'LowFormerTracker': '.tracking',
    'Predictor': '.predict',
    'convert': '.checkpoint.conversion',
    'deploy': '.deployment.deploy',
    'get_config': '.config.loading',
    'get_config_path': '.config.loading',
    'track_object': '.tracking',
    'track_objects': '.tracking'}
# setup.py does not require mmengine and mmcv, as several distributions provide
# them.
_INSTALL = dict(
    torch='pip install torch. Without it mmlowformer.runtime works',
    mmengine='"pip install mmengine" or "pip install onedl-mmengine"',
    mmcv='"pip install {mmcv_lite}" (enough for the backbone), "pip install '
    '--no-build-isolation {mmcv}" (with ops; torch and {setuptools} first) or '
    '"pip install onedl-mmcv". Take mmengine and mmcv from one family')


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        return getattr(import_module(_PUBLIC[name], __name__), name)
    except ModuleNotFoundError as error:
        package = (error.name or '').split('.')[0]
        if package not in _INSTALL:
            raise
        command = _INSTALL[package].format(
            mmcv=pinned('mmcv'), mmcv_lite=pinned('mmcv-lite'),
            setuptools=pinned('setuptools'))
        raise ImportError(
            f'mmlowformer.{name} needs {package}, which is not installed: '
            f'{command}. "python -m mmlowformer.doctor" checks the rest.'
        ) from error


__all__ = ['__version__', *_PUBLIC]

# A config that imports mmlowformer may name the backbone without its scope.
if 'mmengine.registry' in sys.modules:
    __getattr__('LowFormer')
