"""Draw the tracked objects of tested videos."""
from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from ...predict.video import FRAMES_PER_SECOND, VideoWriter
from ...registry import HOOKS
from ...utils.console import say
from ...utils.text import counted
from ..predict_mot import Traces, mot_result


@HOOKS.register_module()
class MOTVisualizationHook(Hook):
    """Writes each tested video with identities and traces.

    Args:
        out_dir (str): Folder of the videos.
    """

    priority = 'LOW'

    def __init__(self, out_dir: str):
        self.out_dir = Path(out_dir)
        self._name = ''
        self._writer: VideoWriter | None = None

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the next frames of a video."""
        for sample in outputs or ():
            for frame in sample.video_data_samples:
                self._draw(frame)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Finish the last video."""
        self._finish()

    def _draw(self, frame: BaseDataElement) -> None:
        # MOTChallengeMetric takes the name from the path, too.
        name = Path(frame.img_path).parts[-3]
        if self._writer is None or name != self._name:
            self._finish()
            self._name, self._traces = name, Traces()
            self._writer = VideoWriter(self.out_dir / f'{name}.mp4',
                                       FRAMES_PER_SECOND)
        tracks = frame.pred_track_instances
        self._writer.add(mot_result(
            tracks, self._traces,
            image=mmcv.imread(frame.img_path, channel_order='rgb'),
            # Only the detector may know names of classes.
            classes=[''] * (1 + max(tracks.labels.tolist(), default=0))))

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            say(f'{self._name}  {counted(self._writer.frames, "frame")}')
        self._writer = None
