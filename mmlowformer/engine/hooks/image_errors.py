"""Name the image that cannot be read or resized."""
from mmengine.runner import Runner

from ...datasets.image_errors import name_images_in_errors
from ...registry import HOOKS
from . import SwitchableHook


@HOOKS.register_module()
class ImageErrorHook(SwitchableHook):
    """Makes the error of a broken image name it, and reads 16-bit images.

    Refuses masks of MMSegmentation's data sets with values that are no class.

    Args:
        enabled (bool): Whether to do so. Defaults to True.
    """

    # Before the workers of a loader copy its data set.
    def before_train(self, runner: Runner) -> None:
        """Wrap the pipelines of the training data."""
        name_images_in_errors(runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """Wrap the pipelines of the validation data."""
        name_images_in_errors(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Wrap the pipelines of the test data."""
        name_images_in_errors(runner.test_dataloader.dataset)
