"""A hook for MMEngine's Runner; imported when a config names it."""
import copy
from collections.abc import Callable
from functools import partial

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ...deployment.deploy import deploy_in_place, deployed_forwards
from ...models import unwrap_model
from ...registry import HOOKS


@HOOKS.register_module()
class DeployHook(Hook):
    """Validates and tests with a deployed copy of the model.

    See :func:`mmlowformer.deploy`. The copy's backbone, neck and heads stand
    in for those of the model meanwhile. The model itself, its parameters and
    its checkpoints stay those of the training.

    Args:
        dtype (str): What to compute in: ``fp32``, ``bf16`` or ``fp16``.
            Defaults to ``fp32``.
        compile (bool): Whether to compile the network for each size of
            images. Defaults to False.
        measure (bool): Whether to time convolutions on this machine, once.
            Defaults to True.
    """

    # Behind EMAHook, which puts the averaged weights in.
    priority = 'LOW'

    def __init__(self, dtype: str = 'fp32', compile: bool = False,
                 measure: bool = True):
        self.deploy = partial(deploy_in_place, dtype=dtype, compile=compile,
                              measure=measure)
        self._trained: dict[str, Callable | None] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Let copies compute."""
        model = _network(runner)
        if deployed_forwards(model):
            return
        deployed = self.deploy(copy.deepcopy(model).eval())
        for name, forward in deployed_forwards(deployed).items():
            attributes = vars(model.get_submodule(name))
            # Such as the compiled one of CompileHook.
            self._trained[name] = attributes.get('forward')
            # A function is no submodule: parameters() stays as it is.
            attributes['forward'] = forward
        runner.logger.info('Deployed copy of the model in use: '
                           f'{", ".join(deployed_forwards(deployed))}')

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Let the model compute again."""
        model = _network(runner)
        for name, forward in self._trained.items():
            attributes = vars(model.get_submodule(name))
            attributes.pop('forward', None)
            if forward is not None:
                attributes['forward'] = forward
        self._trained = {}

    before_test_epoch = before_val_epoch
    after_test_epoch = after_val_epoch


def _network(runner: Runner) -> nn.Module:
    """The model, or the detector of one of MMDetection's trackers.

    They have no other network, and take nothing but videos.
    """
    model = unwrap_model(runner.model)
    detector = getattr(model, 'detector', None)
    return detector if isinstance(detector, nn.Module) else model
