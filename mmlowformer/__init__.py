"""LowFormer backbones for OpenMMLab."""
from .version import __version__

try:
    from .configs import get_config, get_config_path
    from .models import LowFormer
except ModuleNotFoundError as error:
    package = (error.name or '').split('.')[0]
    if package not in ('mmcv', 'mmengine'):
        raise
    raise ImportError(
        f'mmlowformer needs {package}, which is not installed. It is not '
        'installed automatically because several distributions provide it: '
        '"pip install mmengine" or "pip install onedl-mmengine" for mmengine; '
        '"mim install mmcv", "pip install mmcv-lite" (enough for the '
        'backbone) or "pip install onedl-mmcv" for mmcv. Take both from one '
        'family.') from error

__all__ = ['LowFormer', '__version__', 'get_config', 'get_config_path']
