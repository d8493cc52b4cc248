"""Checkpoints: read without running code, and checked before they are used."""
import logging
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..models import LowFormer
from ..models.layouts import by_own_name, own_name
from ..models.lowformer import DEPLOYED_MISFIT, is_deployed
from ..models.sources import HUB_PREFIX, load_from_hub, load_from_safetensors
from .errors import UserError

STATISTICS = ('min', 'max', 'mean', 'current')
# What is in the file of a run in training, beside the weights.
RESUME_KEYS = ('meta', 'message_hub', 'optimizer')


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
    if not isinstance(content, dict) or not _state_dict(content):
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


def _state_dict(content: dict) -> dict:
    """The tensors by name, without the prefix of a distributed wrapper."""
    state = content.get('state_dict', content)
    if not isinstance(state, dict):
        return {}
    return {re.sub(r'^module\.', '', key): value
            for key, value in state.items() if isinstance(value, torch.Tensor)}


def check_resumable(file: str | Path) -> None:
    """Make sure that training can go on from a checkpoint.

    Args:
        file (str | Path): The checkpoint.

    Raises:
        UserError: If it is unusable, or holds weights only.
    """
    content = check_checkpoint(file)
    if content is None:
        raise UserError(f'--resume takes a file, not {file}')
    missing = [key for key in RESUME_KEYS if key not in content]
    if missing:
        raise UserError(
            f'checkpoint {file} has no {", ".join(missing)}, so training '
            'cannot go on from it. To start a new training from its weights: '
            f'--cfg-options load_from={file}')
    if 'config' in content['meta']:
        raise UserError(
            f'checkpoint {file} is refused: it brings a Python config in '
            "meta['config'], which MMEngine would execute on resuming")


def check_pretrained(model: dict) -> None:
    """Make sure that the weights named in ``init_cfg`` can be loaded.

    Args:
        model (dict): Config of the model.

    Raises:
        UserError: If one cannot be read, or is of another LowFormer.
    """
    for part in _parts(model):
        init = part.get('init_cfg')
        if not isinstance(init, dict) or init.get('type') != 'Pretrained':
            continue
        content = check_checkpoint(init['checkpoint'])
        name = str(part.get('type')).split('.')[-1]
        if content and name == 'LowFormer' and not init.get('prefix'):
            _check_backbone(part, content)


def _parts(node: object) -> Iterator[dict]:
    """All dicts in a config."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _parts(child)


def _check_backbone(backbone: dict, content: dict) -> None:
    arguments = {key: value for key, value in backbone.items()
                 if key not in ('type', '_scope_')}
    with torch.device('meta'):
        model = LowFormer(**arguments)
    try:
        model.load_state_dict(_state_dict(content))
    except ValueError as error:
        raise UserError(str(error)) from error


def check_fits(model: nn.Module, file: str | Path, *,
               partial: bool = False) -> None:
    """Make sure that a checkpoint fits a model.

    Args:
        model (nn.Module): The model.
        file (str | Path): The checkpoint.
        partial (bool): Whether it is enough if some tensors fit, as when
            fine-tuning. Defaults to False.

    Raises:
        UserError: If tensors of the model are missing from the file or have
            another shape there.
    """
    content = check_checkpoint(file)
    if content is not None:
        fitting_state_dict(model, content, file, partial)


def fitting_state_dict(model: nn.Module, content: dict, source: str | Path,
                       partial: bool) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the names that they have in a model.

    Args:
        model (nn.Module): The model.
        content (dict): Content of the checkpoint: this project's, or weights
            of a LowFormer in the authors' or timm's layout.
        source (str | Path): Where it is from.
        partial (bool): Whether it is enough if some tensors fit.

    Returns:
        dict[str, Tensor]: The state dict.

    Raises:
        UserError: If tensors of the model are missing or have another shape.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    needed = model.state_dict()
    loaded = _renamed(_state_dict(content), model, needed, source)
    missing = [key for key in needed if key not in loaded]
    reshaped = [
        f'{key} {tuple(loaded[key].shape)}, not {tuple(value.shape)}'
        for key, value in needed.items()
        if key in loaded and loaded[key].shape != value.shape]
    surplus = []
    for prefix, backbone in _lowformers(model).items():
        own = [name.removeprefix(prefix) for name in loaded
               if name.startswith(prefix)]
        _check_deployed(backbone, own, source)
        surplus += [prefix + name for name in backbone.surplus(own)]
    fitting = len(needed) - len(missing) - len(reshaped)
    if not surplus and (fitting == len(needed) or (partial and fitting)):
        return loaded
    examples = [*reshaped, *(f'{key} is missing' for key in missing),
                *(f'{key} is not part of the model' for key in surplus)][:3]
    raise UserError(
        f'checkpoint {source} does not fit the model: {fitting} of its '
        f'{len(needed)} tensors are there ({"; ".join(examples)}). It is of '
        'another config or variant.')


def _lowformers(model: nn.Module) -> dict[str, LowFormer]:
    """The backbones in a model, by the prefix of their tensors."""
    return {f'{name}.' if name else '': module
            for name, module in model.named_modules()
            if isinstance(module, LowFormer)}


def _renamed(state: dict[str, Tensor], model: nn.Module, needed: dict,
             source: str | Path) -> dict[str, Tensor]:
    """From the names of tensors in any layout to those in the model."""
    prefix = next(iter(_lowformers(model)), '')

    def rename(name: str) -> str:
        if name in needed:
            return name
        own = own_name(name)
        return prefix + own if own.startswith(('stem.', 'stages.')) else own

    try:
        names = by_own_name(state, rename)
    except ValueError as error:
        raise UserError(f'checkpoint {source} {error}') from error
    return {own: state[name] for own, name in names.items()}


def _check_deployed(backbone: LowFormer, names: list[str],
                    source: str | Path) -> None:
    if names and is_deployed(names) != backbone.deployed:
        raise UserError(f'checkpoint {source} does not fit the model. '
                        + DEPLOYED_MISFIT[backbone.deployed])


class LoadAnyLayout(Hook):
    """Lets Runner load weights of any layout, if they fit its model.

    Args:
        source (str): The checkpoint, for messages.
        partial (bool): Whether it is enough if some tensors fit. Defaults to
            False.
    """

    # EMAHook copies the weights.
    priority = 'VERY_HIGH'

    def __init__(self, source: str, partial: bool = False):
        self.source = source
        self.partial = partial

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the tensors in place.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What was read.

        Raises:
            UserError: If the tensors do not fit.
        """
        state = fitting_state_dict(
            runner.model, checkpoint, self.source, self.partial)
        if 'state_dict' not in checkpoint:
            checkpoint.clear()
        checkpoint['state_dict'] = state


def saved_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoints of a training in ``work_dir``, newest first."""
    files = [file for pattern in ('epoch_*.pth', 'iter_*.pth')
             for file in Path(work_dir).glob(pattern)]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns,
                  reverse=True)


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Newest checkpoint in ``work_dir`` that training can go on from.

    One that a crash left half-written is passed over with a warning.

    Args:
        work_dir (str | Path): Where the training writes.

    Returns:
        Path | None: The file, or None if there is no usable one.
    """
    for file in saved_checkpoints(work_dir):
        try:
            check_resumable(file)
            return file
        except UserError as error:
            print_log(f'Passed over: {error}', 'current',
                      level=logging.WARNING)
    return None
