"""Pictures with the predictions drawn in, for every task."""
import os
from collections.abc import Sequence

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import UserError


class DrawPredictions(Hook):
    """Writes each tested image with what was predicted on it.

    The hosts' own hooks differ in where they write, and images of the same
    name in two folders would overwrite each other.

    Args:
        folder (str): Where to write, laid out like the images.
        options (dict): Further arguments of the visualizer.
    """

    def __init__(self, folder: str, options: dict):
        self.folder = folder
        self.options = options

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the predictions of one batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): The batch.
            outputs (Sequence, optional): A data sample for each image.
        """
        visualizer = runner.visualizer
        # MMPreTrain's visualizer serves several tasks.
        draw = getattr(visualizer, 'visualize_cls', visualizer.add_datasample)
        for sample in outputs or ():
            name = _name_below_data(runner.test_dataloader.dataset,
                                    sample.img_path)
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            draw(image=image, name=name, data_sample=sample,
                 out_file=os.path.join(self.folder, name), **self.options)


def _name_below_data(dataset, path: str) -> str:
    """Path of an image relative to the folder of the data set's images."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    folder = prefix.get('img') or prefix.get('img_path')
    name = os.path.relpath(path, folder) if folder else path
    return os.path.basename(path) if name.startswith('..') else name


def draw_predictions(runner: Runner, folder: str) -> None:
    """Let a runner write pictures while testing.

    Args:
        runner (Runner): The runner.
        folder (str): Where to write.

    Raises:
        UserError: If predictions of this model cannot be drawn.
    """
    if runner.cfg.model.type.endswith('Retriever'):
        raise UserError('--show-dir: the answers of a retriever are a whole '
                        'gallery, there is no picture of that')
    hook = runner.cfg.default_hooks.get('visualization') or {}
    options = ({'pred_score_thr': hook['score_thr']}
               if 'score_thr' in hook else {})
    runner.register_hook(DrawPredictions(folder, options), priority='LOW')
