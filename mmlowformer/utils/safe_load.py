"""Read checkpoints without running code."""
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from ..errors import UserError, first_line
from .checkpoint_schemes import (
    HUB_PREFIX,
    fetched,
    hub_file,
    load_from_safetensors,
)

# torch's switches for all loads in a process.
FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
FORCE_NOT = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
# MMEngine's prefix for files without a scheme.
LOCAL = ''
WEB = ('http://', 'https://')
MOST_DIMENSIONS = 64
STATISTICS = ('min', 'max', 'mean', 'current')


def _statistics_method(owner: object, name: str):
    """Stand-in for ``builtins.getattr`` while a checkpoint is read.

    A HistoryBuffer pickles its statistics as ``getattr(HistoryBuffer, name)``.
    """
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        f'the file asks for the attribute {name!r} of {owner!r}')


def _runner_globals() -> list:
    """The types that MMEngine's Runner writes besides plain values."""
    array = np.array([0.])
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = array.__reduce__()[0]
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdUS'}
    # numpy 2 renamed the module; files of both kinds exist.
    modules = ('numpy.core.multiarray', 'numpy._core.multiarray')
    return [
        HistoryBuffer, np.ndarray, np.dtype, *dtypes,
        *((scalar, f'{module}.scalar') for module in modules),
        *((reconstruct, f'{module}._reconstruct') for module in modules),
        (_statistics_method, 'builtins.getattr'),
        (_statistics_method, '__builtin__.getattr')
    ]


@contextmanager
def runner_files_allowed() -> Iterator[None]:
    """Let ``weights_only=True`` read what MMEngine's Runner writes.

    The list is restored afterwards, as loading with the maintained forks of
    MMEngine removes types from it.
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(_runner_globals())
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@contextmanager
def safe_checkpoint_loading() -> Iterator[None]:
    """Let MMEngine's checkpoint loader read files without running code.

    MMEngine leaves ``weights_only`` to torch, which before 2.6 means False;
    the maintained forks retry a refused file with False. Both are overruled
    here.
    """
    before = {name: os.environ.get(name) for name in (FORCE, FORCE_NOT)}
    schemes = CheckpointLoader._schemes
    _force_weights_only(os.environ)
    CheckpointLoader._schemes = _guarded(schemes)
    try:
        yield
    finally:
        CheckpointLoader._schemes = schemes
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def enable_safe_loading(environ: MutableMapping[str, str]) -> None:
    """Never run code of a checkpoint in this process.

    Args:
        environ (MutableMapping[str, str]): The process's environment,
            ``os.environ``.
    """
    _force_weights_only(environ)
    torch.serialization.add_safe_globals(_runner_globals())
    CheckpointLoader._schemes = _guarded(CheckpointLoader._schemes)


def _force_weights_only(environ: MutableMapping[str, str]) -> None:
    environ.pop(FORCE_NOT, None)
    environ[FORCE] = '1'


def _guarded(schemes: dict[str, Callable]) -> dict[str, Callable]:
    """MMEngine's loaders, with :func:`read_file` for files and URLs.

    MMEngine's own cache takes two URLs with the same file name for one.
    """
    own = {LOCAL: read_file, **dict.fromkeys(WEB, _read_url)}
    return type(schemes)(
        (prefix, own.get(prefix) or _guard(loader))
        for prefix, loader in schemes.items())


def _read_url(url: str, map_location: str | None = None) -> dict:
    return read_file(fetched(url), map_location)


def _guard(loader: Callable) -> Callable:

    @wraps(loader)
    def load(*args, **kwargs):
        with runner_files_allowed():
            return strip_code(loader(*args, **kwargs))

    return load


def read_file(filename: str | Path, map_location: str | None = None) -> dict:
    """Read a local checkpoint of any format, without running code."""
    if str(filename).endswith('.safetensors'):
        return load_from_safetensors(str(filename), map_location)
    with runner_files_allowed():
        # Files from before torch 1.6 are no zip archives.
        content = torch.load(
            filename, map_location=map_location or 'cpu', weights_only=True,
            mmap=zipfile.is_zipfile(filename))
    return strip_code(content)


def strip_code(content: dict) -> dict:
    """Remove what MMEngine would execute.

    On resuming, MMEngine executes the Python config in ``meta``, which old
    versions wrote, to find the number of GPUs.
    """
    meta = content.get('meta') if isinstance(content, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return content


def check_checkpoint(file: str | Path) -> dict | None:
    """Open a checkpoint file and check that it holds a state dict.

    Args:
        file (str | Path): The checkpoint, or ``hf-hub:REPOSITORY``. Files of
            another scheme, like ``https://``, are left to MMEngine.

    Returns:
        dict | None: The content, its tensors not yet read from disk; None for
        a URL.

    Raises:
        UserError: If the file is missing, truncated, would run code, or holds
            no state dict.
    """
    if str(file).startswith(HUB_PREFIX):
        file = hub_file(str(file))
    # A single letter is the drive of a Windows path.
    if len(urlparse(str(file)).scheme) > 1:
        return None
    if not Path(file).is_file():
        raise UserError(f'checkpoint not found: {file}')
    try:
        content = read_file(file)
    except ImportError as error:
        raise UserError(str(error)) from error
    except pickle.UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            raise UserError(f'checkpoint {file} cannot be read, it is no '
                            'checkpoint') from error
        name = re.search(r'GLOBAL (\S+)', str(error))
        # torch's own text advises to let the code run.
        reason = (name.group(1) if name else
                  first_line(error.__context__ or error))
        raise UserError(f'checkpoint {file} is refused: reading it would run '
                        f'code ({reason})') from error
    except Exception as error:
        raise UserError(
            f'checkpoint {file} cannot be read, it is truncated or no '
            f'checkpoint: {first_line(error)}') from error
    if not _has_names(content):
        raise UserError(f'checkpoint {file} holds no state dict: the names of '
                        'tensors have to be texts')
    if not isinstance(content, dict) or not state_dict_of(content):
        raise UserError(f'checkpoint {file} holds no state dict'
                        + _where_tensors_are(content))
    return content


def _has_names(content: object) -> bool:
    state = (content.get('state_dict', content) if isinstance(content, dict)
             else {})
    return not isinstance(state, dict) or all(
        isinstance(name, str) for name in state)


def _where_tensors_are(content: object) -> str:
    """Name the entry of a checkpoint that looks like a state dict."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict) and state_dict_of(value):
            return (f'; its tensors are in {key!r}. Write them into a file of '
                    "their own: torch.save(dict(state_dict=torch.load(FILE, "
                    f"weights_only=True)[{key!r}]), 'weights.pth')")
    return ''


def state_dict_of(content: dict) -> dict[str, torch.Tensor]:
    """The tensors in a checkpoint."""
    # The authors' tracker calls it "net".
    state = content.get('state_dict', content.get('net', content))
    if not isinstance(state, dict):
        return {}
    return {re.sub(r'^(module\.)+', '', key): value
            for key, value in state.items() if isinstance(value, torch.Tensor)}


def first_nonfinite(state: dict[str, torch.Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinity."""
    return next((name for name, value in state.items()
                 if value.layout == torch.strided and not value.is_meta
                 and not value.is_nested and value.is_floating_point()
                 and value.dtype.itemsize > 1
                 # isfinite() takes no more.
                 and value.dim() <= MOST_DIMENSIONS
                 and not value.isfinite().all()), None)
