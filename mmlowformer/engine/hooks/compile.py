"""Train with a compiled network."""
import time

import torch._dynamo
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...deployment.compiled_training import compile_parts
from ...models import unwrap_model
from ...registry import HOOKS
from ...utils.console import say
from ...utils.terminal import format_duration


@HOOKS.register_module()
class CompileHook(Hook):
    """Trains with compiled backbone, neck and heads.

    MMEngine's ``compile`` compiles the whole training step, with losses and
    the optimizer, which takes far longer and is repeated for other numbers of
    boxes. Validation and testing are not compiled. Weights, checkpoints and
    averaged weights do not change. Prints how long compiling took.

    Args:
        mode (str): Mode of ``torch.compile``. Defaults to ``'default'``.
        backend (str): Backend of ``torch.compile``. Defaults to
            ``'inductor'``, which needs a C++ compiler on a CPU.
    """

    # Behind EMAHook, which copies the model, and before RunSummaryHook.
    priority = 'BELOW_NORMAL'

    def __init__(self, mode: str = 'default', backend: str = 'inductor'):
        self.settings = dict(mode=mode, backend=backend)
        self.parts: list[str] = []
        self._started = self._seconds = 0.

    def before_train(self, runner: Runner) -> None:
        """Replace the forward functions of the parts."""
        self.parts = compile_parts(unwrap_model(runner.model), **self.settings)
        handler = torch._dynamo.callback_handler
        handler.register_start_callback(self._start)
        handler.register_end_callback(self._end)

    def _start(self, _: object) -> None:
        self._started = time.monotonic()

    def _end(self, _: object) -> None:
        self._seconds += time.monotonic() - self._started

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Say how long compiling took in this iteration."""
        if self._seconds:
            say(f'Compiled in {format_duration(self._seconds)} (iteration '
                f'{runner.iter + 1}; other image sizes take as long once).')
            self._seconds = 0.

    def after_train(self, runner: Runner) -> None:
        """Stop counting."""
        handler = torch._dynamo.callback_handler
        handler.remove_start_callback(self._start)
        handler.remove_end_callback(self._end)

    def describe_speed(self) -> str:
        """Describe the compiled parts, for the summary of a training."""
        return (f'compiled {", ".join(self.parts)} (the first iteration takes '
                'minutes)')
