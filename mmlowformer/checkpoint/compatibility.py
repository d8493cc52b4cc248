"""Check that weights fit a model, and rename their tensors for it."""
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models import LowFormer, find_lowformers, unwrap_model
from ..models.state_dict_keys import by_model_key, own_name
from ..models.state_dict_loading import (
    DEPLOYED_MISMATCH,
    is_deployed,
    nothing_there,
)
from ..utils.safe_load import check_checkpoint, first_nonfinite, state_dict_of


def check_fits(model: nn.Module, file: str | Path, *,
               partial: bool = False, allow_nan: bool = False) -> None:
    """Check that a checkpoint fits a model."""
    content = check_checkpoint(file)
    if content is None:
        return
    state = fitting_state_dict(model, content, file, partial)
    if not allow_nan:
        check_finite(state, file)


def check_finite(state: dict[str, Tensor], file: str | Path) -> None:
    """Check that no weight is NaN or infinite."""
    name = first_nonfinite(state)
    if name:
        raise UserError(
            f'checkpoint {file}: {name} holds NaN or infinity, the training '
            'diverged. Take an earlier checkpoint, or add --allow-nan.')


def fitting_state_dict(model: nn.Module, content: dict, source: str | Path,
                       partial: bool) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint to the names of a model."""
    model = unwrap_model(model)
    needed = model.state_dict()
    loaded = _renamed(state_dict_of(content), model, needed, source)
    mismatches = {name: reason for name, value in needed.items()
               if (reason := _mismatch(loaded.get(name), value))}
    surplus = []
    for prefix, backbone in find_lowformers(model).items():
        own = [name.removeprefix(prefix) for name in loaded
               if name.startswith(prefix)]
        if not own:
            raise UserError(f'checkpoint {source}: '
                            + nothing_there(prefix, loaded))
        if any(name.startswith(prefix) for name in mismatches):
            _check_deployed(backbone, own, source)
        surplus += [prefix + name for name in backbone.surplus(own)]
    fitting = len(needed) - len(mismatches)
    if surplus or (mismatches and not (partial and fitting)):
        examples = [*sorted(mismatches.items(), key=_missing_last),
                    *((name, 'is not part of the model') for name in surplus)]
        raise UserError(
            f'checkpoint {source} does not fit the model: {fitting} of its '
            f'{len(needed)} tensors match '
            f'({"; ".join(" ".join(example) for example in examples[:3])}). '
            'It is of another config or variant.')
    return loaded


MISSING = 'is missing'
# Prefix of the tensors of the detector in a tracker.
INSIDE = 'detector.'


def _mismatch(given: Tensor | None, needed: Tensor) -> str | None:
    """Why a tensor cannot be copied into another one, or None."""
    if given is None:
        return MISSING
    if given.is_meta and not needed.is_meta:
        return 'has no values (it is on the device "meta")'
    if given.is_nested:
        return 'is a nested tensor'
    if given.layout != torch.strided or given.is_quantized:
        return f'is {str(given.layout).removeprefix("torch.")}, {given.dtype}'
    if given.shape != needed.shape:
        return f'{tuple(given.shape)}, not {tuple(needed.shape)}'
    if (needed.is_floating_point() != given.is_floating_point()
            or given.is_complex() != needed.is_complex()
            # Types of 8 bits mean something only with their scales.
            or given.dtype.itemsize == 1 < needed.dtype.itemsize):
        return f'is {given.dtype}, not {needed.dtype}'
    return None


def _missing_last(misfit: tuple[str, str]) -> bool:
    return misfit[1] == MISSING


def _renamed(state: dict[str, Tensor], model: nn.Module, needed: dict,
             source: str | Path) -> dict[str, Tensor]:
    """Rename tensors of any key format to the names in the model."""
    prefix = next(iter(find_lowformers(model)), '')

    def rename(name: str) -> str:
        # Models with a key format of their own know it.
        name = getattr(model, 'own_name', str)(name)
        # MMDetection's trackers have a detector, which may be trained alone.
        for known in (name, INSIDE + name, name.removeprefix(INSIDE)):
            if known in needed:
                return known
        own = own_name(name)
        return prefix + own if own.startswith(('stem.', 'stages.')) else own

    try:
        names = by_model_key(state, rename)
    except ValueError as error:
        raise UserError(f'checkpoint {source} {error}') from error
    return {own: state[name] for own, name in names.items()}


def _check_deployed(backbone: LowFormer, names: list[str],
                    source: str | Path) -> None:
    if names and is_deployed(names) != backbone.deployed:
        raise UserError(f'checkpoint {source} does not fit the model. '
                        + DEPLOYED_MISMATCH[backbone.deployed])
