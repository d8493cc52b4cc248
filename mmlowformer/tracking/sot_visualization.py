"""Pictures of a test: annotated videos, curves, and a table of videos."""
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

from ..predict.video import FRAMES_PER_SECOND, VideoWriter
from ..utils.console import say
from ..visualization.drawing import RIGHT, WRONG
from .frames import Video
from .metric import judge_sample
from .sot_metrics import OVERLAPS, PIXELS, SIZES, Track, mean_curves, summarize

CURVES = 'curves.png'
TABLE = 'videos.json'


class DrawTracks(Hook):
    """Writes each tested video with truth (green) and prediction (red).

    Beside them there are the curves of success and precision, and the
    measures of each video and of each attribute.
    """

    priority = 'LOW'

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._judged: list[tuple[str, list[str], Track]] = []

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the videos of a batch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for video, sample in zip((data_batch or {}).get('inputs', ()),
                                 outputs or ()):
            text = f'{sample.name}  {len(sample.pred_boxes)} frames'
            track = judge_sample(sample.to_dict())
            if track:
                self._judged.append((sample.name, sample.attributes, track))
                text += f'  AO {summarize([track])["AO"]:.3f}'
            write_video(self.folder / f'{sample.name}.mp4', video,
                        sample.pred_boxes, sample.boxes)
            say(text)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Draw the curves, and write the table."""
        judged = {item[0]: item for part in all_gather_object(self._judged)
                  for item in part}
        if not judged or not is_main_process():
            return
        draw_curves([track for _, _, track in judged.values()],
                    self.folder / CURVES)
        names = sorted({name for _, attributes, _ in judged.values()
                        for name in attributes})
        table = dict(
            videos={name: summarize([track])
                    for name, _, track in judged.values()},
            attributes={name: summarize(
                track for _, attributes, track in judged.values()
                if name in attributes) for name in names})
        (self.folder / TABLE).write_text(json.dumps(table, indent=2))


def write_video(file: Path, video: Video, boxes: np.ndarray,
                truth: np.ndarray) -> None:
    """Write an annotated copy of a video."""
    size = None
    with closing(VideoWriter(file, FRAMES_PER_SECOND)) as writer:
        for frame, found, true in zip(video, boxes, truth):
            for box, colour in ((true, RIGHT), (found, WRONG)):
                if np.isfinite(box).all():
                    _rectangle(frame, box, colour)
            size = size or frame.shape[1::-1]
            if frame.shape[1::-1] != size:
                frame = cv2.resize(frame, size)
            writer.write(Image.fromarray(frame[..., ::-1]))


def _rectangle(frame: np.ndarray, box: np.ndarray, colour: tuple) -> None:
    left, top, width, height = box
    corners = np.round([left, top, left + width, top + height]).astype(int)
    cv2.rectangle(frame, corners[:2].tolist(), corners[2:].tolist(),
                  colour[::-1], 2)


def draw_curves(tracks: Iterable[Track], file: Path) -> None:
    """Draw success, precision and normalized precision, as LaSOT has them."""
    tracks = list(tracks)
    curves, summary = mean_curves(tracks), summarize(tracks)
    figure = Figure(figsize=(12, 4), layout='constrained')
    for axes, (name, levels, label) in zip(figure.subplots(1, 3), (
            ('success', OVERLAPS, 'overlap is larger than'),
            ('precision', PIXELS, 'distance of the centres, in pixels'),
            ('norm_precision', SIZES, 'distance over the size'))):
        axes.plot(levels, curves[name])
        axes.set_title(f'{name} {summary[name]:.3f}', fontsize='medium')
        axes.set(xlabel=label, ylim=(0, 1), xlim=(0, levels[-1]))
        axes.set_ylabel('share of the frames')
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
