"""MMEngine's Runner, with less on the screen."""
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..datasets.checks.coco_annotations import forget_parsed
from ..utils.allocator import without_garbage_collection
from ..utils.console import install_screen_handler


class QuietRunner(Runner):
    """MMEngine's Runner, which logs to the file more than to the screen.

    It can compile a training with any ``paramwise_cfg``.
    """

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger, with a quiet screen from its first line."""
        logger = super().build_logger(*args, **kwargs)
        install_screen_handler(logger)
        return logger

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model; its tracker, if any, forgets old frames."""
        built = super().build_model(model)
        if hasattr(built, 'tracker'):
            from ..tracking.track_memory import limit_history
            limit_history(built.tracker)
        return built

    @staticmethod
    def build_dataloader(*args, **kwargs) -> DataLoader:
        """Build a data loader; annotations are millions of objects."""
        with without_garbage_collection():
            return Runner.build_dataloader(*args, **kwargs)

    def load_or_resume(self) -> None:
        """Load a checkpoint; by now all data sets are built."""
        forget_parsed()
        super().load_or_resume()

    def _init_model_weights(self) -> None:
        """Initialize the weights, unless a checkpoint has all of them."""
        if not self._resume:
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict
                            ) -> OptimWrapper:
        """Build the optimizer wrapper; torch cannot compile its updates."""
        wrapper = super().build_optim_wrapper(optim_wrapper)
        if self.cfg.get('compile'):
            wrappers = getattr(wrapper, 'optim_wrappers', {'': wrapper})
            for one in wrappers.values():
                one.update_params = torch.compiler.disable(one.update_params)
        return wrapper
