"""LowFormer backbones for OpenMMLab."""
from .version import __version__

try:
    import mmcv
    import mmengine
except ImportError as error:
    raise ImportError(
        f'mmlowformer needs {error.name}, which is not installed. It is not '
        'installed automatically because several distributions provide it: '
        '"pip install mmengine" or "pip install onedl-mmengine" for mmengine; '
        '"mim install mmcv", "pip install mmcv-lite" (enough for the '
        'backbone) or "pip install onedl-mmcv" for mmcv. Take both from one '
        'family.') from error

from .configs import get_config, get_config_path
from .models import LowFormer

__all__ = ['LowFormer', '__version__', 'get_config', 'get_config_path']
