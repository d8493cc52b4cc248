"""Videos of a test in which many objects are followed."""
from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from ..predict.video import FRAMES_PER_SECOND, VideoWriter
from ..utils.console import say
from .predict_mot import Identified, Trails


class DrawIdentities(Hook):
    """Writes each tested video with the identities and trails drawn in."""

    priority = 'LOW'

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._name = ''
        self._writer: VideoWriter | None = None

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the frames of a batch, which follow those before."""
        for sample in outputs or ():
            for frame in sample.video_data_samples:
                self._draw(frame)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Finish the last video."""
        self._finish()

    def _draw(self, frame: BaseDataElement) -> None:
        # The metric, too, has the name from there.
        name = Path(frame.img_path).parts[-3]
        if self._writer is None or name != self._name:
            self._finish()
            self._name, self._trails = name, Trails()
            self._writer = VideoWriter(self.folder / f'{name}.mp4',
                                       FRAMES_PER_SECOND)
        self._writer.add(self._identified(frame))

    def _identified(self, frame: BaseDataElement) -> Identified:
        found = frame.pred_track_instances.cpu().numpy()
        # As tools/predict.py counts them.
        identities = found.instances_id.astype(int) + 1
        return Identified(
            self._name, mmcv.imread(frame.img_path, channel_order='rgb'),
            # The metric knows one class, a detector perhaps others.
            [''] * (1 + int(found.labels.max(initial=0))), [], 0.,
            found.bboxes, found.scores, found.labels, identities,
            self._trails(identities.tolist(), found.bboxes))

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            say(f'{self._name}  {self._writer.frames} frames')
        self._name, self._writer = '', None
