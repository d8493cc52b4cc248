"""A hook for MMEngine's Runner; imported when a config names it."""
import copy

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..models import find_lowformers
from ..registry import HOOKS


@HOOKS.register_module()
class DeployHook(Hook):
    """Validates and tests with deployed backbones.

    A copy of each backbone is rewritten for inference, see
    ``LowFormer.switch_to_deploy``, and stands in for it meanwhile. The model
    itself, its parameters and its checkpoints stay those of the training.
    """

    # Behind EMAHook, which puts the averaged weights in.
    priority = 'LOW'

    def before_val_epoch(self, runner: Runner) -> None:
        """Let copies compute."""
        for backbone in find_lowformers(runner.model).values():
            stand_in = copy.deepcopy(backbone).eval().switch_to_deploy()
            # A function is no submodule: parameters() stays as it is.
            backbone.__dict__['forward'] = stand_in.forward
            runner.logger.info('Deployed copy of the backbone in use')

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Let the backbones compute again."""
        for backbone in find_lowformers(runner.model).values():
            backbone.__dict__.pop('forward', None)

    before_test_epoch = before_val_epoch
    after_test_epoch = after_val_epoch
