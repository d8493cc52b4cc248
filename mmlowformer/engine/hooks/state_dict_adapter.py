"""Load checkpoints whose tensors have other names than the model's."""
from mmengine.runner import BaseLoop, Runner

from ...checkpoint.compatibility import fitting_state_dict
from ...registry import HOOKS
from . import SwitchableHook


@HOOKS.register_module()
class StateDictAdapterHook(SwitchableHook):
    """Renames the tensors of a checkpoint to the names of the model.

    A checkpoint of another model is refused. Fine-tuning (``load_from``
    without ``resume``) may leave tensors of the model as they are, such as
    those of a head of other classes.

    Args:
        enabled (bool): Whether to rename. Defaults to True.
    """

    # Before EMAHook, which copies the weights.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the tensors in place."""
        is_training = isinstance(runner._train_loop, BaseLoop)
        state = fitting_state_dict(
            runner.model, checkpoint, runner._load_from or runner.work_dir,
            partial=is_training and not runner._resume)
        if 'state_dict' not in checkpoint:
            checkpoint.clear()
        checkpoint['state_dict'] = state
