"""Train segmentors with a loss that is computed in chunks."""
from mmengine.runner import Runner

from ...models import unwrap_model
from ...ops.chunked_loss import chunk_losses
from ...registry import HOOKS
from . import SwitchableHook


@HOOKS.register_module()
class ChunkedLossHook(SwitchableHook):
    """Computes MMSegmentation's cross-entropy in chunks, on a CPU.

    MMSegmentation upsamples the scores of all classes to the size of the
    images. In chunks that fit into the caches, the loss is the same up to
    rounding, several times as fast, and needs less memory. Heads with another
    loss, class weights or a sampler of pixels stay as they are, and so does
    a training with MMEngine's ``compile``, which would unroll the chunks.

    Args:
        enabled (bool): Whether to do anything. Defaults to True.
    """

    # Before RunSummaryHook.
    priority = 'BELOW_NORMAL'

    def __init__(self, enabled: bool = True):
        super().__init__()
        self.heads: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Replace the loss functions of the heads."""
        weight = next(runner.model.parameters())
        if weight.device.type == 'cpu' and not runner.cfg.get('compile'):
            self.heads = chunk_losses(unwrap_model(runner.model))

    def describe_speed(self) -> str:
        """Describe the losses, for the summary of a training."""
        names = ', '.join(self.heads)
        return f'chunked loss of {names}' if names else ''
