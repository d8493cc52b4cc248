"""Synthetic videos of many shapes in MOT17's format.

The shapes look like in :mod:`mmlowformer.datasets.synthetic.shapes`, so
that a detector trained on these images detects them.
"""
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ...utils.files import check_at_least, generate_if_missing
from .shapes import CLASSES
from .sot_videos import (
    Background,
    MovingShape,
    visible_fraction,
    with_generators,
)

# Folders of the videos for training and validation.
SPLITS = dict(train='train', val='test')
LAYOUTS = ['mot17']
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


class ShapeInFrame(NamedTuple):
    """Ground truth of a shape in a frame."""

    identity: int  # from 1, the same in all frames
    label: int  # index of CLASSES
    box: tuple[int, ...]  # left, top, width and height inside the image
    visible: float  # fraction of the shape that can be seen


@dataclass
class TrackedShape:
    """A shape with an identity."""

    identity: int
    shape: MovingShape
    depth: float  # shapes with a larger depth hide it
    stays: bool  # whether it never leaves the image
    entered: bool = True  # whether it has been in the image


@dataclass
class VideoTruth:
    """Ground truth of a video."""

    name: str
    frames: list[list[ShapeInFrame]] = field(default_factory=list)


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
                 height: int, width: int) -> VideoTruth:
    (folder / 'img1').mkdir(parents=True)
    (folder / 'gt').mkdir()
    video = VideoTruth(folder.name)
    for image, seen in draw_mot_video(rng, frames, height, width):
        video.frames.append(seen)
        cv2.imwrite(str(folder / _image_name(len(video.frames))), image,
                    [cv2.IMWRITE_JPEG_QUALITY, 95])
    (folder / 'gt' / 'gt.txt').write_text(''.join(
        f'{number},{item.identity},{",".join(map(str, item.box))},1,1,'
        f'{item.visible:.5f}\n'
        for number, seen in enumerate(video.frames, 1) for item in seen))
    (folder / 'seqinfo.ini').write_text(
        f'[Sequence]\nname={folder.name}\nimDir=img1\n'
        f'frameRate={FRAMES_PER_SECOND}\nseqLength={frames}\n'
        f'imWidth={width}\nimHeight={height}\nimExt=.jpg\n')
    return video


def _image_name(number: int) -> str:
    return f'img1/{number:06d}.jpg'


class _Annotations:
    """COCO's format with MMDetection's keys for videos."""

    def __init__(self, categories: Sequence[str], height: int, width: int):
        self.size = dict(height=height, width=width)
        self.content: dict[str, Any] = dict(
            categories=[dict(id=number, name=name)
                        for number, name in enumerate(categories, 1)],
            videos=[], images=[], annotations=[])
        self._identities: dict[tuple, int] = {}

    def add(self, video: VideoTruth, part: slice) -> None:
        """Add some frames of a video, counted from 0."""
        videos, images = self.content['videos'], self.content['images']
        videos.append(dict(self.size, id=len(videos) + 1, name=video.name,
                           fps=FRAMES_PER_SECOND))
        numbered = list(enumerate(video.frames, 1))[part]
        for position, (number, seen) in enumerate(numbered):
            images.append(dict(
                self.size, id=len(images) + 1, video_id=len(videos),
                file_name=f'{video.name}/{_image_name(number)}',
                frame_id=position, mot_frame_id=number))
            for item in seen:
                self._add_box(item, len(videos), len(images))

    def _add_box(self, item: ShapeInFrame, video: int, image: int) -> None:
        boxes = self.content['annotations']
        identity = self._identities.setdefault(
            (video, item.identity), len(self._identities))
        single = len(self.content['categories']) == 1
        boxes.append(dict(
            id=len(boxes) + 1, image_id=image, bbox=list(item.box),
            area=item.box[2] * item.box[3],
            # Ignored by detectors, but not by trackers.
            iscrowd=int(item.visible < LEAST_SEEN),
            category_id=1 if single else item.label + 1,
            visibility=round(item.visible, 5), mot_conf=1.,
            instance_id=identity, official_id=item.identity))

    def write(self, file: Path) -> None:
        """Write the annotation file."""
        file.write_text(json.dumps(self.content))


def _write_annotations(root: Path, split: str, videos: list[VideoTruth],
                       height: int, width: int) -> None:
    """Write MMDetection's annotation files of MOT17, and the classes."""
    # MMDetection's first half has one frame more.
    middle = len(videos[0].frames) // 2 + 1
    parts = {split: slice(None)}
    if split == 'train':
        parts.update({'half-train': slice(middle),
                      'half-val': slice(middle, None)})
    for name, part in parts.items():
        # The only class that MOT17's metrics count.
        single = _Annotations(['pedestrian'], height, width)
        for video in videos:
            single.add(video, part)
        single.write(root / f'{name}_cocoformat.json')
    kinds = _Annotations(CLASSES, height, width)
    for video in videos:
        kinds.add(video, slice(None))
    kinds.write(root / f'{split}_shapes.json')


def make_mot_videos(out: str | Path, train: int = 20, val: int = 10,
                   frames: int = 60, size: int = 144, seed: int = 0) -> bool:
    """Write videos like MOT17 into ``out/mot17``, reproducibly.

    Each shape is a pedestrian, the only class that MOT17's metrics count.
    ``annotations/*_shapes.json`` have the classes of the shapes. ``iscrowd``
    marks hidden shapes, so that detectors ignore them.
    """
    arguments = dict(train=train, val=val, frames=frames, size=size,
                     seed=seed)
    check_at_least(arguments, dict(train=1, val=1, frames=4, size=64,
                                   seed=0))
    width = size * 4 // 3

    def fill(root: Path) -> None:
        mot = root / 'mot17'
        (mot / 'annotations').mkdir(parents=True)
        for number, (split, count) in enumerate(
                ((SPLITS['train'], train), (SPLITS['val'], val))):
            names = [f'MOT17-{split}-{index:02d}'
                     for index in range(1, count + 1)]
            videos = [
                _write_video(mot / split / name, rng, frames, size, width)
                for name, rng in with_generators(names, split,
                                                 (seed, number))]
            _write_annotations(mot / 'annotations', split, videos, size,
                               width)

    return generate_if_missing(out, 'videos.json',
                               dict(arguments, layouts=LAYOUTS), fill)
