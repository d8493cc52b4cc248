"""Layer-wise learning rate decay, for every library on MMEngine."""
import logging

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ...models import find_lowformers
from ...registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Lower learning rates for the layers nearer to the image.

    The rate of a layer is multiplied by ``layer_decay_rate`` once for each
    block of the LowFormer behind it; what is behind the backbone keeps its
    own. ``paramwise_cfg`` takes ``layer_decay_rate`` beside all that
    MMEngine's default constructor knows. Source: `BEiT
    <https://arxiv.org/abs/2106.08254>`_, among others.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='mmlowformer.LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(layer_decay_rate=0.9, norm_decay_mult=0.))
    """

    def add_params(self, params: list[dict], module: nn.Module,
                   prefix: str = '', **kwargs) -> None:
        """Add the parameters of a module, see the default constructor.

        Args:
            params (list[dict]): Groups of parameters, changed in place.
            module (nn.Module): The module.
            prefix (str): Its name in the model. Defaults to none.
            **kwargs: See MMEngine.

        Raises:
            ValueError: If ``layer_decay_rate`` is not above 0 and at most 1.
        """
        super().add_params(params, module, prefix, **kwargs)
        # The default constructor calls this for each part of the model.
        if not prefix:
            self._decay(params, module)

    def _decay(self, params: list[dict], model: nn.Module) -> None:
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.)
        if not 0 < rate <= 1:
            raise ValueError('paramwise_cfg.layer_decay_rate has to be above '
                             f'0 and at most 1, not {rate!r}.')
        names = {id(parameter): name for name, parameter in
                 model.named_parameters()}
        backbones = find_lowformers(model)
        if not backbones:
            print_log('layer_decay_rate has no effect: there is no LowFormer '
                      'in the model.', 'current', level=logging.WARNING)
        for prefix, backbone in backbones.items():
            for group in params:
                # By name, for whoever looks at the rates.
                group['param_name'] = names[id(group['params'][0])]
                layer, count = backbone.get_layer_depth(
                    group['param_name'], prefix)
                group['lr'] = (group.get('lr', self.base_lr)
                               * rate**(count - 1 - layer))
