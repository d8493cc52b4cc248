"""How a LowFormer takes weights of any layout, or says why it does not."""
from collections.abc import Iterable

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList
from torch.nn.modules.module import _IncompatibleKeys

from ..utils.safe_load import safe_checkpoint_loading
from .state_dict_keys import OWN_LAYOUT, by_own_name, layout_of

# By whether the network is the deployed one.
DEPLOYED_MISFIT = {
    True: 'This LowFormer is deployed, the weights are those of a training: '
    'load them before switch_to_deploy().',
    False: 'The weights are those of a deployed LowFormer, without its '
    'BatchNorms. Take the checkpoint of the training, or call '
    'switch_to_deploy() before loading.',
}

NOTHING_THERE = (
    'The weights hold nothing for the LowFormer at {0}*, which would keep '
    'those that it has, random ones perhaps. If they are those of a backbone '
    "alone, name them in its init_cfg: dict(type='Pretrained', checkpoint="
    'PATH). To load other parts alone, load into these parts.')


def is_deployed(names: Iterable[str]) -> bool:
    """Whether tensors, with our names, seem to be of a deployed LowFormer.

    One without any norm that is folded has the same tensors either way.
    """
    names = list(names)

    def some(part: str) -> bool:
        return any(part in name for name in names)

    batch_norms_folded = 'stem.0.conv.bias' in names and not some('.bn.')
    group_norms_folded = some('.mlp.branch.') and not some('.mlp.norm.')
    return batch_norms_folded or group_norms_folded


class StateDictAdapter(BaseModule):
    """A network whose weights are published in several layouts.

    Subclasses are built by the name of a variant alone, and have the
    attributes below.

    Attributes:
        arch_settings (dict[str, dict]): The variants by name.
        arch (dict): The variant that it is of.
        strides (tuple[int]): Of the stages that it could have.
        stages (ModuleList): Those that it has.
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
        """Load tensors of any layout, see ``torch.nn.Module``."""
        if strict:
            return super().load_state_dict(state_dict, assign=assign)
        # torch does not hand "strict" down to _load_from_state_dict, which
        # wants the whole backbone; its parts do not.
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
            raise ValueError(NOTHING_THERE.format(prefix))
        # The rest of a detector says itself what of our layout is missing.
        if not prefix or layout_of(given) != OWN_LAYOUT:
            found = self.own_tensors(given)
            print_log(self._summary(found, given), 'current')
            state_dict.clear()
            state_dict.update((prefix + name, value)
                              for name, value in found.items())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def own_tensors(self, state_dict: dict) -> dict:
        """This network's tensors in a state dict of any layout."""
        given = self._by_own_name(state_dict)
        needed = self.state_dict()
        found = {name: given[name] for name, value in needed.items()
                 if name in given and given[name].shape == value.shape}
        if len(found) < len(needed) or self.surplus(given):
            raise ValueError(f'{self._summary(found, state_dict)}. '
                             + self._misfit(given, needed))
        return found

    def _summary(self, found: dict, state_dict: dict) -> str:
        return (f'{self.variant_name}: {len(found)}/{len(self.state_dict())} '
                f'tensors from {self._source()} ({layout_of(state_dict)})')

    @staticmethod
    def _by_own_name(state_dict: dict) -> dict:
        return {own: state_dict[name]
                for own, name in by_own_name(state_dict).items()}

    def surplus(self, names: Iterable[str]) -> list[str]:
        """Tensors of a larger network, of which this one is a part.

        The E variants are parts of B variants with the same widths.
        """
        own = self.state_dict()
        not_built = tuple(f'stages.{i}.' for i in
                          range(len(self.stages), len(self.strides)))
        return [name for name in names if name not in own
                and name.startswith(('stem.', 'stages.'))
                and not name.startswith(not_built)]

    @property
    def variant_name(self) -> str:
        """For example ``LowFormer-b1``; without a dash if it is of none."""
        names = [name for name, settings in self.arch_settings.items()
                 if settings == self.arch]
        return f'LowFormer-{names[0]}' if names else 'LowFormer'

    def _source(self) -> str:
        configs = (self.init_cfg if isinstance(self.init_cfg, list) else
                   [self.init_cfg or {}])
        return next((config['checkpoint'] for config in configs
                     if 'checkpoint' in config), 'a state dict')

    def _misfit(self, given: dict, needed: dict) -> str:
        misfits = [name for name, value in needed.items() if name not in given
                   or given[name].shape != value.shape]
        if self.deployed != is_deployed(given):
            return DEPLOYED_MISFIT[self.deployed]
        surplus = self.surplus(given)
        if misfits:
            text = f'Missing or of another shape: {", ".join(misfits[:3])}. '
        else:
            text = (f'{len(surplus)} more are not part of it: '
                    f'{", ".join(surplus[:3])}. ')
        variant = self._variant_of(given)
        if variant:
            return text + (f'The file is {variant}: set arch={variant!r}, or '
                           'take another file.')
        return text + 'The file holds none of the published variants.'

    @classmethod
    def _variant_of(cls, tensors: dict) -> str | None:
        """The variant that tensors, with our names, are of."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()
                  if name.startswith(('stem.', 'stages.'))}
        for arch in cls.arch_settings:
            with torch.device('meta'):
                state = cls(arch).state_dict()
            if shapes == {name: value.shape for name, value in state.items()}:
                return arch
        return None
