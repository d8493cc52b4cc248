"""Checkpoints are read without running code."""
import pickle
import re
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from ..errors import UserError
from .sources import HUB_PREFIX, load_from_hub, load_from_safetensors

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
    """All that MMEngine's Runner writes beyond tensors and plain values."""
    array = np.array([0.])
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = array.__reduce__()[0]
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdUS'}
    # numpy 2 renamed the module; files of both kinds are around.
    modules = ('numpy.core.multiarray', 'numpy._core.multiarray')
    return [
        HistoryBuffer, np.ndarray, np.dtype, *dtypes,
        *((scalar, f'{module}.scalar') for module in modules),
        *((reconstruct, f'{module}._reconstruct') for module in modules),
        (_statistics_method, 'builtins.getattr'),
        (_statistics_method, '__builtin__.getattr')
    ]


def load_safely(environ: dict) -> None:
    """Make ``torch.load`` read what Runner writes, and never run code.

    MMEngine 0.10.7 leaves ``weights_only`` to torch. From torch 2.6 on it is
    True, which refuses Runner's own files; here exactly what they hold is
    allowed. Loads that ask for ``weights_only=False`` are overruled.

    Args:
        environ (dict): The process's environment, ``os.environ``.
    """
    environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    torch.serialization.add_safe_globals(_runner_globals())


def check_checkpoint(file: str | Path) -> dict | None:
    """Open a checkpoint file and make sure that it holds a state dict.

    Args:
        file (str | Path): The checkpoint, or ``hf-hub:REPOSITORY``. What has
            another scheme, like ``https://``, is left to MMEngine.

    Returns:
        dict | None: The content, its tensors not yet read from disk; None for
        a URL.

    Raises:
        UserError: If it is missing, truncated, would run code, or holds
            something else.
    """
    if str(file).startswith(HUB_PREFIX):
        try:
            return load_from_hub(str(file))
        except RuntimeError as error:
            raise UserError(str(error)) from error
    # A single letter is the drive of a Windows path.
    if len(urlparse(str(file)).scheme) > 1:
        return None
    if not Path(file).is_file():
        raise UserError(f'checkpoint not found: {file}')
    try:
        content = _open(file)
    except pickle.UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            raise UserError(f'checkpoint {file} cannot be read, it is no '
                            'checkpoint') from error
        name = re.search(r'GLOBAL (\S+)', str(error))
        reason = name.group(1) if name else _first_line(error)
        raise UserError(f'checkpoint {file} is refused: reading it would run '
                        f'code ({reason})') from error
    except Exception as error:
        raise UserError(
            f'checkpoint {file} cannot be read, it is truncated or no '
            f'checkpoint: {_first_line(error)}') from error
    if not isinstance(content, dict) or not state_dict_of(content):
        raise UserError(f'checkpoint {file} holds no state dict')
    return content


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _open(file: str | Path) -> dict:
    if str(file).endswith('.safetensors'):
        return load_from_safetensors(str(file))
    # Files from before torch 1.6 are no zip archives and cannot be mapped.
    return torch.load(file, map_location='cpu', weights_only=True,
                      mmap=zipfile.is_zipfile(file))


def state_dict_of(content: dict) -> dict[str, torch.Tensor]:
    """The tensors in a checkpoint.

    Args:
        content (dict): What was read.

    Returns:
        dict[str, Tensor]: By name, without the prefix of a distributed
        wrapper; empty if there are none.
    """
    state = content.get('state_dict', content)
    if not isinstance(state, dict):
        return {}
    return {re.sub(r'^module\.', '', key): value
            for key, value in state.items() if isinstance(value, torch.Tensor)}
