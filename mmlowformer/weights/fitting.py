"""Whether weights fit a model, and how they are made to."""
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from ..errors import UserError
from ..models import LowFormer, find_lowformers
from .layouts import by_own_name, own_name
from .loading import DEPLOYED_MISFIT, is_deployed
from .reading import check_checkpoint, state_dict_of


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
        model.own_tensors(state_dict_of(content))
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
    loaded = _renamed(state_dict_of(content), model, needed, source)
    missing = [key for key in needed if key not in loaded]
    reshaped = [
        f'{key} {tuple(loaded[key].shape)}, not {tuple(value.shape)}'
        for key, value in needed.items()
        if key in loaded and loaded[key].shape != value.shape]
    surplus = []
    for prefix, backbone in find_lowformers(model).items():
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


def _renamed(state: dict[str, Tensor], model: nn.Module, needed: dict,
             source: str | Path) -> dict[str, Tensor]:
    """From the names of tensors in any layout to those in the model."""
    prefix = next(iter(find_lowformers(model)), '')

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
