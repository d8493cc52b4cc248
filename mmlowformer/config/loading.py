"""Find, read and search configs, and explain mistakes in them."""
import difflib
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import UserError, first_line
from ..utils.imports import shipped_folder
from .variables import read_following


def config_folder() -> Path:
    """``configs/`` of the checkout, or the folder that a wheel installs."""
    return shipped_folder('configs')


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


def find_config(name: str) -> str:
    """Path of a user's config, or of one that comes with mmlowformer."""
    if Path(name).is_file():
        return name
    try:
        return get_config_path(Path(name).name)
    except FileNotFoundError as error:
        raise UserError(f'config not found: {name}. {error}') from error


def read_config(path: str, options: dict[str, object] | None = None
                ) -> Config:
    """Read the config of a user."""
    try:
        cfg = read_following(path, {} if options is None else options)
        for _ in nodes_in(cfg):  # Resolves lazy imports.
            pass
        return cfg
    except UserError as error:
        raise UserError(f'config {path}: {error}') from error
    # A config is a program, which may fail in any way.
    except Exception as error:
        raise UserError(f'config {path} cannot be read: '
                        f'{_reason(error, path)}') from error


def _reason(error: Exception, path: str) -> str:
    lines = [f'line {frame.lineno}: ' for frame in
             traceback.extract_tb(error.__traceback__)
             if frame.filename == path]
    reason: BaseException = error
    # MMEngine says "Failed to import" instead of the reason.
    while isinstance(reason, ImportError) and reason.__context__:
        reason = reason.__context__
    return (f'{lines[-1] if lines else ""}{type(reason).__name__}: '
            f'{first_line(reason)}')


def kind_of(part: dict) -> str:
    """Name of the class that a dict builds."""
    kind = part.get('type')
    return getattr(kind, '__name__', str(kind)).split('.')[-1]


def nodes_in(node: object, path: str = '') -> Iterator[tuple[str, object]]:
    """A part of a config and all that is in it, with their paths."""
    yield path, node
    if isinstance(node, (dict, Config)):
        items = node.items()
    else:
        items = enumerate(node if isinstance(node, (list, tuple)) else ())
    for key, child in items:
        yield from nodes_in(child, f'{path}.{key}'.lstrip('.'))


def dicts_in(node: object, path: str = '') -> Iterator[tuple[str, dict]]:
    """All dicts in a part of a config, with their paths."""
    return ((where, part) for where, part in nodes_in(node, path)
            if isinstance(part, dict))


def node_at(node: object, path: Sequence[str]) -> Any:
    """The part of a config at a path, None if the path ends before."""
    for name in path:
        if isinstance(node, (dict, Config)):
            node = node.get(name)
        elif (isinstance(node, (list, tuple)) and name.isdigit()
                and int(name) < len(node)):
            node = node[int(name)]
        else:
            return None
    return node


@contextmanager
def explain_build_errors(cfg: Config) -> Iterator[None]:
    """Explain what is wrong with a config that cannot be built.

    An error that is raised while a part of the config is built, or while a
    checkpoint is loaded, is reported as a mistake in the config. All other
    errors, in the training itself or in a hook, keep their traceback.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        from .build_errors import explain
        text = explain(error, cfg)
        if text is None:
            raise
        raise UserError(f'{text} (--debug shows the traceback)') from error
