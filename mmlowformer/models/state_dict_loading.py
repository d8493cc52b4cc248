"""Load weights of any key format into a LowFormer, or say why not."""
from collections.abc import Iterable

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList
from torch.nn.modules.module import _IncompatibleKeys

from ..utils.safe_load import safe_checkpoint_loading
from .state_dict_keys import (
    OWN_KEY_FORMAT,
    by_model_key,
    key_format_of,
    lowformer_prefixes,
)

# That a message names.
MOST_PREFIXES = 4
# By whether the network is deployed.
DEPLOYED_MISMATCH = {
    True: 'This LowFormer is deployed, the weights are not: load them before '
    'switch_to_deploy().',
    False: 'The weights are those of a deployed LowFormer, without '
    'BatchNorm. Load the checkpoint of the training, or call '
    'switch_to_deploy() before loading.',
}

NOTHING_THERE = (
    'The weights hold nothing for the LowFormer at {0}*, which may stay '
    'random. If they are those of a backbone alone, train with --weights '
    "PATH, or set its init_cfg=dict(type='Pretrained', checkpoint=PATH{1}). "
    'To load other parts alone, load into these parts.')


def nothing_there(at: str, names: Iterable[str]) -> str:
    """Say that weights hold nothing for the LowFormer at a prefix."""
    prefixes = lowformer_prefixes(names)
    return NOTHING_THERE.format(
        at, f', prefix={_one_of(prefixes)}' if prefixes else '')


def _one_of(prefixes: list[str]) -> str:
    return ' or '.join(map(repr, prefixes[:MOST_PREFIXES]))


def is_deployed(names: Iterable[str]) -> bool:
    """Whether tensors, with our names, are those of a deployed LowFormer.

    An architecture without norms to fold has the same tensors either way.
    """
    names = list(names)

    def some(part: str) -> bool:
        return any(part in name for name in names)

    batch_norms_folded = 'stem.0.conv.bias' in names and not some('.bn.')
    group_norms_folded = some('.mlp.branch.') and not some('.mlp.norm.')
    return batch_norms_folded or group_norms_folded


class StateDictAdapter(BaseModule):
    """A network whose weights are published in several key formats.

    A subclass can be built from the name of a variant alone.

    Attributes:
        arch_settings (dict[str, dict]): The variants by name.
        arch (dict): The architecture of this network.
        strides (tuple[int]): Of all stages of the architecture.
        stages (ModuleList): The stages that are built.
        deployed (bool): Whether it was rewritten for inference.
    """

    arch_settings: dict[str, dict]
    arch: dict
    strides: tuple[int, ...]
    stages: ModuleList
    deployed: bool

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, running no code of a file."""
        with safe_checkpoint_loading():
            super().init_weights()

    def load_state_dict(self, state_dict: dict, strict: bool = True,
                        assign: bool = False) -> _IncompatibleKeys:
        """Load tensors of any key format, see ``torch.nn.Module``."""
        if strict:
            return super().load_state_dict(state_dict, assign=assign)
        # torch does not pass "strict" on to _load_from_state_dict, which
        # requires the whole backbone; its parts do not.
        given = self._by_own_name(state_dict)
        for prefix, part in self.named_children():
            part.load_state_dict(
                {name.removeprefix(f'{prefix}.'): value
                 for name, value in given.items()
                 if name.startswith(f'{prefix}.')},
                strict=False, assign=assign)
        own = self.state_dict()
        return _IncompatibleKeys([name for name in own if name not in given],
                                 [name for name in given if name not in own])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args):
        given = {name.removeprefix(prefix): value
                 for name, value in state_dict.items()
                 if name.startswith(prefix)}
        if prefix and not given:
            raise ValueError(nothing_there(prefix, state_dict))
        # torch itself reports what is missing in our own key format.
        if not prefix or key_format_of(given) != OWN_KEY_FORMAT:
            found = self.own_tensors(given)
            print_log(self._summary(found, given), 'current')
            state_dict.clear()
            state_dict.update((prefix + name, value)
                              for name, value in found.items())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def own_tensors(self, state_dict: dict) -> dict:
        """Find this network's tensors in a state dict of any key format."""
        given = self._by_own_name(state_dict)
        needed = self.state_dict()
        found = {name: given[name] for name, value in needed.items()
                 if name in given and given[name].shape == value.shape}
        if len(found) < len(needed) or self.surplus(given):
            raise ValueError(f'{self._summary(found, state_dict)}. '
                             + self._mismatch(given, needed))
        return found

    def _summary(self, found: dict, state_dict: dict) -> str:
        return (f'{self.variant_name}: {len(found)}/{len(self.state_dict())} '
                f'tensors from {self._source()} ({key_format_of(state_dict)})')

    @staticmethod
    def _by_own_name(state_dict: dict) -> dict:
        return {own: state_dict[name]
                for own, name in by_model_key(state_dict).items()}

    def surplus(self, names: Iterable[str]) -> list[str]:
        """Tensors of a larger network that contains this one.

        The B variants contain the E variants of the same widths.
        """
        own = self.state_dict()
        not_built = tuple(f'stages.{i}.' for i in
                          range(len(self.stages), len(self.strides)))
        return [name for name in names if name not in own
                and name.startswith(('stem.', 'stages.'))
                and not name.startswith(not_built)]

    @property
    def variant_name(self) -> str:
        """For example ``LowFormer-b1``; ``LowFormer`` if it is no variant."""
        names = [name for name, settings in self.arch_settings.items()
                 if settings == self.arch]
        return f'LowFormer-{names[0]}' if names else 'LowFormer'

    def _source(self) -> str:
        configs = (self.init_cfg if isinstance(self.init_cfg, list) else
                   [self.init_cfg or {}])
        return next((config['checkpoint'] for config in configs
                     if 'checkpoint' in config), 'a state dict')

    def _mismatch(self, given: dict, needed: dict) -> str:
        wrong = [name for name, value in needed.items()
                 if name not in given or given[name].shape != value.shape]
        if self.deployed != is_deployed(given):
            return DEPLOYED_MISMATCH[self.deployed]
        surplus = self.surplus(given)
        if text := self._inside(given, needed):
            return text
        if wrong:
            text = f'Missing or of another shape: {", ".join(wrong[:3])}. '
        else:
            text = (f'{len(surplus)} more are not part of it: '
                    f'{", ".join(surplus[:3])}. ')
        variant = self._variant_of(given)
        if variant:
            return text + (f'The file is {variant}: set arch={variant!r}, or '
                           'take another file.')
        return text + 'The file holds none of the published variants.'

    def _inside(self, given: dict, needed: dict) -> str:
        """Say which part of another model's weights to load, if any fits."""
        parts = {prefix: self._by_own_name(
            {name.removeprefix(prefix): value for name, value in given.items()
             if name.startswith(prefix)})
            for prefix in lowformer_prefixes(given)}
        fitting = [prefix for prefix, part in parts.items()
                   if not self.surplus(part) and all(
                       name in part and part[name].shape == value.shape
                       for name, value in needed.items())]
        if fitting:
            return ('The file holds a larger model: set prefix='
                    f'{_one_of(fitting)} in init_cfg.')
        for prefix, part in parts.items():
            if variant := self._variant_of(part):
                return (f'The file holds {variant} inside a larger model: set '
                        f'arch={variant!r}, and prefix={prefix!r} in '
                        'init_cfg.')
        return ''

    @classmethod
    def _variant_of(cls, tensors: dict) -> str | None:
        """The variant whose tensors, with our names, these are."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()
                  if name.startswith(('stem.', 'stages.'))}
        for arch in cls.arch_settings:
            with torch.device('meta'):
                state = cls(arch).state_dict()
            if shapes == {name: value.shape for name, value in state.items()}:
                return arch
        return None
