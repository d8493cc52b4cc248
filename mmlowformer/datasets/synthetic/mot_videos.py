"""Synthetic videos of many shapes in MOT17's format.

The shapes look like in :mod:`mmlowformer.datasets.synthetic.shapes`, so
that a detector trained on these images detects them.
"""
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from .shapes import CLASSES, generate, generator_for, write_image
from .sot_videos import Background, MovingShape, visible_fraction

# Folders of the videos for training and validation.
SPLITS = dict(train='train', val='test')
# Radius of a shape, relative to the height of the image.
RADIUS = (0.11, 0.2)
# Number of shapes that stay in the image, and that cross it at a time.
STAYING, CROSSING = (1, 2), (2, 4)
# Speed of an entering shape, in radii per frame.
PACE = (0.06, 0.16)
# Smallest difference between shape and background in some channel.
CONTRAST = 90
# A shape with less of it inside the image has left.
LEAST = 0.25
# Shapes of which less is visible are tracked, but detectors ignore them.
LEAST_SEEN = 0.3
FRAMES_PER_SECOND = 25
# The only class that MOT17's metrics count.
COUNTED = ('pedestrian', )


class ShapeInFrame(NamedTuple):
    """Ground truth of a shape in a frame."""

    identity: int  # from 1, the same in all frames
    label: int  # index of CLASSES
    box: tuple[int, ...]  # left, top, width and height inside the image
    visible: float  # fraction of the shape that can be seen


# Ground truth of a video.
Frames = list[list[ShapeInFrame]]


@dataclass
class TrackedShape:
    """A shape with an identity."""

    identity: int
    shape: MovingShape
    depth: float  # shapes with a larger depth hide it
    stays: bool  # whether it never leaves the image
    entered: bool = True  # whether it has been in the image


class Scene:
    """A background and the shapes that move over it."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng, self.height, self.width = rng, height, width
        self.background = Background(rng, height, width)
        self._count = 0
        staying, crossing = (int(rng.integers(low, high + 1))
                             for low, high in (STAYING, CROSSING))
        self.tracked = [self._create(stays=number < staying)
                       for number in range(staying + crossing)]

    def _create(self, stays: bool) -> TrackedShape:
        label = int(self.rng.integers(len(CLASSES)))
        shape = MovingShape.random(self.rng, label, self.height, self.width)
        shape.radius = self.rng.uniform(*RADIUS) * self.height
        shape.colors = self._color()[None].repeat(2, 0)
        self._count += 1
        return TrackedShape(self._count, shape, self.rng.random(), stays)

    def _color(self) -> np.ndarray:
        while True:
            color = self.rng.uniform(0, 255, 3)
            distances = np.abs(color - self.background.colors).max(1)
            if (distances >= CONTRAST).all():
                return color

    def _newcomer(self) -> TrackedShape:
        """Create a shape that enters from any side."""
        item = self._create(stays=False)
        shape, size = item.shape, np.array([self.width, self.height])
        axis, far = self.rng.integers(2), self.rng.integers(2)
        shape.center = self.rng.uniform(0.15, 0.85, 2) * size
        shape.center[axis] = far * size[axis] + (2 * far - 1) * shape.radius
        way = self.rng.uniform(0.25, 0.75, 2) * size - shape.center
        shape.velocity = way / np.linalg.norm(way) * shape.radius * (
            self.rng.uniform(*PACE))
        item.entered = False
        return item

    def frame(self) -> tuple[np.ndarray, list[ShapeInFrame]]:
        """The image ``(height, width, 3)``, BGR, and its ground truth."""
        image = self.background.frame()
        order = [item.shape for item in sorted(
            self.tracked, key=lambda item: item.depth)]
        for shape in order:
            shape.draw(image)
        noisy = image + self.rng.normal(0, 4, image.shape)
        return (noisy.clip(0, 255).astype(np.uint8),
                [seen for item in self.tracked
                 for seen in self._seen(item, order)])

    def _seen(self, item: TrackedShape, order: list[MovingShape]
              ) -> Iterator[ShapeInFrame]:
        size = self.height, self.width
        inside = visible_fraction(item.shape, [item.shape], *size)
        if inside < LEAST and not item.stays:
            return
        item.entered = True
        left, top, width, height = item.shape.box(*size)
        start = round(left), round(top)
        yield ShapeInFrame(item.identity, item.shape.label, (
            *start, max(1, round(left + width) - start[0]),
            max(1, round(top + height) - start[1])),
            visible_fraction(item.shape, order, *size))

    def step(self) -> None:
        """Advance by a frame; new shapes replace those that have left."""
        self.background.step(self.rng)
        for index, item in enumerate(self.tracked):
            if item.stays:
                item.shape.step(self.rng, self.height, self.width)
            else:
                item.shape.drift(self.rng, self.height)
                if self._has_left(item):
                    self.tracked[index] = self._newcomer()

    def _has_left(self, item: TrackedShape) -> bool:
        shape = item.shape
        center = np.array([self.width, self.height]) / 2
        comes = float(np.dot(center - shape.center, shape.velocity)) > 0
        inside = visible_fraction(shape, [shape], self.height, self.width)
        return inside < LEAST and (item.entered or not comes)


def draw_mot_video(rng: np.random.Generator, frames: int, height: int,
                   width: int
                   ) -> Iterator[tuple[np.ndarray, list[ShapeInFrame]]]:
    """Draw a video."""
    scene = Scene(rng, height, width)
    for _ in range(frames):
        yield scene.frame()
        scene.step()


def _write_video(folder: Path, rng: np.random.Generator, frames: int,
                 height: int, width: int) -> Frames:
    (folder / 'img1').mkdir(parents=True)
    (folder / 'gt').mkdir()
    truth: Frames = []
    for image, seen in draw_mot_video(rng, frames, height, width):
        truth.append(seen)
        write_image(folder / _image_name(len(truth)), image)
    (folder / 'gt' / 'gt.txt').write_text(''.join(
        f'{number},{item.identity},{",".join(map(str, item.box))},1,1,'
        f'{item.visible:.5f}\n'
        for number, seen in enumerate(truth, 1) for item in seen))
    (folder / 'seqinfo.ini').write_text(
        f'[Sequence]\nname={folder.name}\nimDir=img1\n'
        f'frameRate={FRAMES_PER_SECOND}\nseqLength={frames}\n'
        f'imWidth={width}\nimHeight={height}\nimExt=.jpg\n')
    return truth


def _image_name(number: int) -> str:
    return f'img1/{number:06d}.jpg'


def _as_coco(videos: dict[str, Frames], part: slice,
             categories: Sequence[str], **size: int) -> dict:
    """Some frames of videos in COCO's format, with MMDetection's keys."""
    content: dict[str, list] = dict(
        categories=[dict(id=number, name=name)
                    for number, name in enumerate(categories, 1)],
        videos=[], images=[], annotations=[])
    images, annotations = content['images'], content['annotations']
    identities: dict[tuple, int] = {}
    for video, (name, frames) in enumerate(videos.items(), 1):
        content['videos'].append(dict(size, id=video, name=name,
                                      fps=FRAMES_PER_SECOND))
        numbered = list(enumerate(frames, 1))[part]
        for position, (number, seen) in enumerate(numbered):
            images.append(dict(
                size, id=len(images) + 1, video_id=video,
                file_name=f'{name}/{_image_name(number)}',
                frame_id=position, mot_frame_id=number))
            for item in seen:
                identity = identities.setdefault((video, item.identity),
                                                 len(identities))
                annotations.append(dict(
                    id=len(annotations) + 1, image_id=len(images),
                    bbox=list(item.box), area=item.box[2] * item.box[3],
                    # Ignored by detectors, but not by trackers.
                    iscrowd=int(item.visible < LEAST_SEEN),
                    category_id=1 if len(categories) == 1 else item.label + 1,
                    visibility=round(item.visible, 5), mot_conf=1.,
                    instance_id=identity, official_id=item.identity))
    return content


def _write_annotations(folder: Path, split: str, videos: dict[str, Frames],
                       **size: int) -> None:
    """Write MMDetection's annotation files of MOT17, and the classes."""
    folder.mkdir(exist_ok=True)
    # MMDetection's first half has one frame more.
    middle = len(next(iter(videos.values()))) // 2 + 1
    everything = slice(None)
    parts = {f'{split}_cocoformat': (everything, COUNTED),
             f'{split}_shapes': (everything, CLASSES)}
    if split == 'train':
        parts['half-train_cocoformat'] = slice(middle), COUNTED
        parts['half-val_cocoformat'] = slice(middle, None), COUNTED
    for name, (part, categories) in parts.items():
        (folder / f'{name}.json').write_text(json.dumps(
            _as_coco(videos, part, categories, **size)))


def make_mot_videos(out: str | Path, train: int = 20, val: int = 10,
                    frames: int = 60, size: int = 144, seed: int = 0) -> bool:
    """Write videos like MOT17 into ``out/mot17``, reproducibly.

    Each shape is a pedestrian, the only class that MOT17's metrics count.
    ``annotations/*_shapes.json`` have the classes of the shapes. ``iscrowd``
    marks hidden shapes, so that detectors ignore them.
    """
    height, width = size, size * 4 // 3

    def write(root: Path, split: str, count: int) -> None:
        part = SPLITS[split]
        names = [f'MOT17-{part}-{index:02d}' for index in range(1, count + 1)]
        videos = {
            name: _write_video(root / 'mot17' / part / name,
                               generator_for(seed, split, index), frames,
                               height, width)
            for index, name in enumerate(track(names, f'{part} videos'))}
        _write_annotations(root / 'mot17' / 'annotations', part, videos,
                           height=height, width=width)

    return generate(
        out, 'videos.json', ['mot17'], least=dict(frames=4, size=64),
        write=write, arguments=dict(
            train=train, val=val, frames=frames, size=size, seed=seed))
