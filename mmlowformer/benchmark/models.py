"""Find the models that a user names."""
import difflib
import fnmatch
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..config.loading import read_config
from ..deployment.tracing import run_network
from ..errors import UserError, first_line
from ..models import LowFormer
from ..models.ablations import ABLATIONS
from ..models.exported_model import ExportedNetwork
from ..runtime.model_spec import is_exported
from ..utils.console import suppress_warnings
from ..utils.imports import need
from ..utils.tensors import tensors_in
from .peers import fat

PREFIX = 'lowformer_'
PYRAMID = 'feature pyramid'
LAST = 'last feature map'


@dataclass
class Spec:
    """A model to be built."""

    name: str
    # Models of a family have the same color in charts.
    family: str
    build: Callable[[], nn.Module]
    # Kind of its outputs; None if only the built model shows it.
    kind: str | None = PYRAMID
    # What follows an ``@`` in its name.
    options: str | None = None
    channels: int = 3
    # Of its config, for a full model.
    optim_wrapper: dict | None = None


@dataclass
class ModelInfo:
    """Properties of a model that need no timing."""

    parameters: int
    # Multiply-accumulates per image.
    macs: int
    # Of each output that is a feature map.
    channels: list[int] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)


def find_models(patterns: list[str], full_model: bool = False,
                shape: tuple[int, int] = (512, 512), *,
                trust: bool = False) -> list[Spec]:
    """Find all models that match the patterns, each once."""
    specs: dict[str, Spec] = {}
    for pattern in patterns:
        model, at, options = pattern.partition('@')
        for spec in _find(model, full_model, shape, trust):
            if at:
                spec.name, spec.options = f'{spec.name}@{options}', options
            specs.setdefault(spec.name, spec)
    return list(specs.values())


def _find(pattern: str, full_model: bool, shape: tuple[int, int],
          trust: bool) -> Iterator[Spec]:
    if is_exported(pattern):
        yield Spec(pattern, 'exported', partial(
            _load_exported, pattern, trust), 'exported')
        return
    source, _, name = pattern.rpartition(':')
    if source == 'timm':
        yield from _find_timm(name, shape)
    elif source == 'peer':
        yield from _find_peer(name)
    elif source == 'mmpretrain':
        yield _find_mmpretrain(name)
    elif pattern.endswith('.py'):
        yield _find_config(pattern, full_model)
    elif source:
        yield _find_callable(source, name)
    else:
        yield from _find_lowformer(pattern)


def _load_exported(folder: str, trust: bool) -> nn.Module:
    return ExportedNetwork(folder, torch.get_num_threads(), trust)


def _find_lowformer(pattern: str) -> Iterator[Spec]:
    names = [PREFIX + arch for arch in LowFormer.arch_settings]
    # lowformer_* means the published variants only.
    if not fnmatch.filter(names, pattern):
        names += [PREFIX + arch for arch in ABLATIONS]
    for name in _matching(pattern, names, 'LowFormer'):
        arch = name.removeprefix(PREFIX)
        family = 'ablations' if arch in ABLATIONS else 'LowFormer'
        yield Spec(name, family, partial(LowFormer, arch))


def _find_peer(pattern: str) -> Iterator[Spec]:
    for name in _matching(pattern, list(fat.SETTINGS), 'peer'):
        yield Spec(f'peer:{name}', 'FAT', partial(fat.build, name),
                   LAST)


def _matching(pattern: str, names: list[str], library: str) -> list[str]:
    found = fnmatch.filter(names, pattern)
    if not found:
        close = difflib.get_close_matches(pattern, names, n=3)
        raise UserError(
            f'{library} has no model {pattern!r}. '
            + (f'Did you mean {" or ".join(close)}?' if close else
               f'There are: {", ".join(names[:8])}'
               f'{", ..." if len(names) > 8 else ""}'))
    return found


def _find_timm(name: str, shape: tuple[int, int]) -> Iterator[Spec]:
    timm = need('timm', 'timm')
    for found in _matching(name, timm.list_models(), 'timm'):
        family = timm.model_entrypoint(found).__module__.split('.')[-1]
        yield Spec(f'timm:{found}', f'timm {family}',
                   partial(_build_timm, found, shape), kind=None)


def _build_timm(name: str, shape: tuple[int, int]) -> nn.Module:
    if _timm_has_pyramid(name, shape):
        return _create_timm(name, shape, features_only=True)
    return _LastFeatureMap(name, shape)


def _create_timm(name: str, shape: tuple[int, int], **kwargs) -> nn.Module:
    """Build a timm model, for a size of images if it takes one."""
    import timm
    try:
        return timm.create_model(name, img_size=shape, **kwargs)
    except TypeError:
        return timm.create_model(name, **kwargs)


def _timm_has_pyramid(name: str, shape: tuple[int, int]) -> bool:
    try:
        with torch.device('meta'):
            _create_timm(name, shape, features_only=True)
    except (RuntimeError, AttributeError, NotImplementedError, AssertionError,
            TypeError):
        return False
    return True


class _LastFeatureMap(nn.Module):
    """A timm model up to its last feature map."""

    def __init__(self, name: str, shape: tuple[int, int]):
        super().__init__()
        self.model = _create_timm(name, shape, num_classes=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(Callable, self.model.forward_features)(x)


def kind_of(spec: Spec, model: nn.Module) -> str:
    """The kind of outputs of a model that is built."""
    return spec.kind or (LAST if isinstance(model, _LastFeatureMap) else
                         PYRAMID)


def _find_mmpretrain(name: str) -> Spec:
    mmpretrain = need('mmpretrain', 'mmpretrain')
    found = _matching(name, mmpretrain.list_models(), 'mmpretrain')[0]
    cfg = mmpretrain.ModelHub.get(found).config
    return Spec(f'mmpretrain:{found}', f'mmpretrain {cfg.model.backbone.type}',
                partial(_build_part, cfg, 'backbone'), 'outputs of its config')


def _find_config(path: str, full_model: bool) -> Spec:
    cfg = _read_config(path)
    name = os.path.splitext(os.path.basename(path))[0]
    part = None if full_model else 'backbone'
    return Spec(name, cfg.get('default_scope') or 'config',
                partial(_build_part, cfg, part),
                'full model' if full_model else 'outputs of its config',
                optim_wrapper=cfg.get('optim_wrapper'))


def _read_config(path: str) -> Config:
    """Read a file, or a config of a library, as in ``mmdet::name.py``."""
    if '::' in path:
        try:
            with suppress_warnings():
                return get_config(path)
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise UserError(f'config not found: {path} '
                            f'({first_line(error)})') from error
    if not os.path.isfile(path):
        raise UserError(f'config not found: {path}')
    return read_config(path)


def _build_part(cfg: Config, part: str | None) -> nn.Module:
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    settings = cfg.model[part] if part else cfg.model
    return MODELS.build(ConfigDict(settings, init_cfg=None))


def _find_callable(module: str, name: str) -> Spec:
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f'{module}:{name} cannot be imported: {error}') \
            from error
    return Spec(f'{module}:{name}', module, partial(_call, module, name),
                'as it is')


def _call(module: str, name: str) -> nn.Module:
    """Call a function by its name, as lambdas cannot be pickled."""
    return getattr(importlib.import_module(module), name)()


def model_info(model: nn.Module, shape: tuple[int, int],
             image_channels: int = 3) -> ModelInfo:
    """Count parameters and multiply-accumulates, and read output shapes."""
    # Exported models have no parameters.
    parameter = next(model.parameters(), torch.zeros(1))
    x = torch.zeros(1, image_channels, *shape, device=parameter.device,
                    dtype=parameter.dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = tensors_in(run_network(model, x))
    channels, strides = _channels_and_strides(model, outputs, shape)
    return ModelInfo(sum(p.numel() for p in model.parameters()),
                 counter.get_total_flops() // 2, channels, strides)


def _channels_and_strides(model: nn.Module, outputs: list[torch.Tensor],
                          shape: tuple[int, int]) -> tuple[list, list]:
    # timm's models may have their channels last.
    info = getattr(model, 'feature_info', None)
    if info is not None and hasattr(info, 'reduction'):
        return info.channels(), info.reduction()
    maps = [output for output in outputs if output.ndim == 4]
    return ([output.shape[1] for output in maps],
            [round(shape[0] / output.shape[2]) for output in maps])
