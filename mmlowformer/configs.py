"""Finding the configs that come with mmlowformer."""
import difflib
from pathlib import Path

from mmengine.config import Config

PACKAGE = Path(__file__).resolve().parent


def config_folder() -> Path:
    """``configs/`` of the checkout, or where a wheel puts it."""
    installed = PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else PACKAGE.parent / 'configs'


def get_config_path(name: str) -> str:
    """Path of a config that comes with mmlowformer.

    Args:
        name (str): Its file name, with or without ``.py``.

    Returns:
        str: The absolute path.

    Raises:
        FileNotFoundError: If there is no such config; the message names
            similar ones.

    Example:
        >>> from mmlowformer import get_config_path
        >>> path = get_config_path('retinanet_lowformer_b2_coco')
    """
    stem = Path(name).stem if name.endswith('.py') else name
    path = config_folder() / f'{stem}.py'
    if path.is_file():
        return str(path)
    names = sorted(file.stem for file in config_folder().glob('*.py'))
    close = difflib.get_close_matches(stem, names, n=3)
    raise FileNotFoundError(
        f'mmlowformer has no config {name!r}. '
        + (f'Did you mean {" or ".join(close)}?' if close else
           f'There are: {", ".join(names)}.'))


def get_config(name: str) -> Config:
    """A config that comes with mmlowformer, loaded.

    Args:
        name (str): Its file name, with or without ``.py``.

    Returns:
        Config: The config with its bases merged.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    return Config.fromfile(get_config_path(name))
