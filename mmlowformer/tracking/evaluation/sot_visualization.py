"""Draw the tracks of tested videos, with curves and a table of metrics."""
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ...predict.video import FRAMES_PER_SECOND, VideoWriter
from ...registry import HOOKS
from ...utils.console import say
from ...utils.text import counted
from ...visualization.drawing import RIGHT, WRONG
from ..datasets.frames import FrameFiles, read_frames
from . import sot_metrics
from .sot_metrics import Track, evaluate_sample, summarize

CURVES = 'curves.png'
TABLE = 'videos.json'


@HOOKS.register_module()
class SOTVisualizationHook(Hook):
    """Writes tested videos with ground truth (green) and prediction (red).

    It also writes the curves of success and precision, and the metrics of
    each video and attribute.

    Args:
        out_dir (str): Folder of the videos.
    """

    priority = 'LOW'

    def __init__(self, out_dir: str):
        self.out_dir = Path(out_dir)
        self._evaluated: list[tuple[str, list[str], Track]] = []

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the videos of a batch."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        for frames, sample in zip((data_batch or {}).get('inputs', ()),
                                  outputs or ()):
            text = (f'{sample.name}  '
                    f'{counted(len(sample.pred_boxes), "frame")}')
            track = evaluate_sample(sample.to_dict())
            if track:
                self._evaluated.append((sample.name, sample.attributes, track))
                text += f'  AO {summarize([track])["AO"]:.3f}'
            write_video(self.out_dir / f'{sample.name}.mp4', frames,
                        sample.pred_boxes, sample.boxes)
            say(text)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Draw the curves, and write the table."""
        videos = {name: (attributes, track)
                  for part in all_gather_object(self._evaluated)
                  for name, attributes, track in part}
        if not videos or not is_main_process():
            return
        draw_curves([track for _, track in videos.values()],
                    self.out_dir / CURVES)
        names = sorted({name for attributes, _ in videos.values()
                        for name in attributes})
        table = dict(
            videos={name: summarize([track])
                    for name, (_, track) in videos.items()},
            attributes={name: summarize(
                track for attributes, track in videos.values()
                if name in attributes) for name in names})
        (self.out_dir / TABLE).write_text(json.dumps(table, indent=2))


def write_video(file: Path, frames: FrameFiles, boxes: np.ndarray,
                truth: np.ndarray) -> None:
    """Write an annotated copy of a video."""
    with closing(VideoWriter(file, FRAMES_PER_SECOND)) as writer:
        for frame, predicted, true in zip(read_frames(frames), boxes, truth):
            for box, color in ((true, RIGHT), (predicted, WRONG)):
                if np.isfinite(box).all():
                    start, end = np.round([box[:2], box[:2] + box[2:]]).astype(
                        int).tolist()
                    cv2.rectangle(frame, start, end, color[::-1], 2)
            writer.write(Image.fromarray(frame[..., ::-1]))


def draw_curves(tracks: Iterable[Track], file: Path) -> None:
    """Draw LaSOT's curves of success, precision and normalized precision."""
    tracks = list(tracks)
    curves, summary = sot_metrics.mean_curves(tracks), summarize(tracks)
    figure = Figure(figsize=(12, 4), layout='constrained')
    for axes, (name, levels, label) in zip(figure.subplots(1, 3), (
            ('success', sot_metrics.OVERLAPS, 'IoU threshold'),
            ('precision', sot_metrics.PIXELS,
             'distance of the centers, in pixels'),
            ('norm_precision', sot_metrics.SIZES,
             'distance divided by the size'))):
        axes.plot(levels, curves[name])
        axes.set_title(f'{name} {summary[name]:.3f}', fontsize='medium')
        axes.set(xlabel=label, ylabel='fraction of the frames', ylim=(0, 1),
                 xlim=(0, levels[-1]))
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
