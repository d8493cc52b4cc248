"""Synthetic videos of many shapes that cross, enter and leave.

Laid out like MOT17, so that tracking many objects can be tried without a
download. The shapes look like those of
:mod:`mmlowformer.datasets.synthetic.shapes`, so that a detector of these
finds them.
"""
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ...utils.files import check_at_least, fill_once
from .shapes import CLASSES
from .sot_videos import Ground, Shape, visible_share, with_randomness

# Folders of the training videos, and of those that are kept from it.
SPLITS = dict(train='train', val='test')
LAYOUTS = ['mot17']
# Radius of a shape, as a fraction of the image's height.
RADIUS = (0.11, 0.2)
# How many shapes stay in the image, and how many cross it at a time.
STAYING, CROSSING = (1, 2), (2, 4)
# Radii that a shape which comes in moves in a frame.
PACE = (0.06, 0.16)
# Levels that a shape differs by from what is behind it, in some channel.
CONTRAST = 90
# Share of a shape in the image, below which it is not there any more.
LEAST = 0.25
# Shapes that are hidden more are followed, but no detector has to find them.
LEAST_SEEN = 0.3
FRAMES_PER_SECOND = 25


class Seen(NamedTuple):
    """A shape in a frame.

    Attributes:
        identity (int): The same in all frames of a video, from 1.
        label (int): Index of :data:`CLASSES`.
        box (tuple[int, ...]): Left, top, width and height of what lies in
            the image, hidden or not.
        visible (float): Share of the shape that can be seen.
    """

    identity: int
    label: int
    box: tuple[int, ...]
    visible: float


@dataclass
class Actor:
    """A shape with an identity.

    Attributes:
        identity (int): From 1.
        shape (Shape): Where it is.
        depth (float): Those of a larger one hide it.
        stays (bool): Whether it never leaves the image.
        entered (bool): Whether it has been in the image.
    """

    identity: int
    shape: Shape
    depth: float
    stays: bool
    entered: bool = True


@dataclass
class Video:
    """What is known about a video that was written.

    Attributes:
        name (str): Its folder.
        frames (list[list[Seen]]): The shapes of each frame.
    """

    name: str
    frames: list[list[Seen]] = field(default_factory=list)


class Stage:
    """Where shapes come and go."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng, self.height, self.width = rng, height, width
        self.ground = Ground(rng, height, width)
        self._count = 0
        staying, crossing = (int(rng.integers(low, high + 1))
                             for low, high in (STAYING, CROSSING))
        self.actors = [self._actor(stays=number < staying)
                       for number in range(staying + crossing)]

    def _actor(self, stays: bool) -> Actor:
        label = int(self.rng.integers(len(CLASSES)))
        shape = Shape.random(self.rng, label, self.height, self.width)
        shape.radius = self.rng.uniform(*RADIUS) * self.height
        shape.colours = self._colour()[None].repeat(2, 0)
        self._count += 1
        return Actor(self._count, shape, self.rng.random(), stays)

    def _colour(self) -> np.ndarray:
        while True:
            colour = self.rng.uniform(0, 255, 3)
            distances = np.abs(colour - self.ground.colours).max(1)
            if (distances >= CONTRAST).all():
                return colour

    def _newcomer(self) -> Actor:
        """One that is about to come in, over any side."""
        actor = self._actor(stays=False)
        shape, size = actor.shape, np.array([self.width, self.height])
        axis, far = self.rng.integers(2), self.rng.integers(2)
        shape.place = self.rng.uniform(0.15, 0.85, 2) * size
        shape.place[axis] = far * size[axis] + (2 * far - 1) * shape.radius
        way = self.rng.uniform(0.25, 0.75, 2) * size - shape.place
        shape.velocity = way / np.linalg.norm(way) * shape.radius * (
            self.rng.uniform(*PACE))
        actor.entered = False
        return actor

    def frame(self) -> tuple[np.ndarray, list[Seen]]:
        """The image ``(height, width, 3)``, BGR, and what is in it."""
        image = self.ground.frame()
        order = [actor.shape for actor in sorted(
            self.actors, key=lambda actor: actor.depth)]
        for shape in order:
            shape.draw(image)
        noisy = image + self.rng.normal(0, 4, image.shape)
        return (noisy.clip(0, 255).astype(np.uint8),
                [seen for actor in self.actors
                 for seen in self._seen(actor, order)])

    def _seen(self, actor: Actor, order: list[Shape]) -> Iterator[Seen]:
        size = self.height, self.width
        inside = visible_share(actor.shape, [actor.shape], *size)
        if inside < LEAST and not actor.stays:
            return
        actor.entered = True
        left, top, width, height = actor.shape.box(*size)
        start = round(left), round(top)
        yield Seen(actor.identity, actor.shape.label, (
            *start, max(1, round(left + width) - start[0]),
            max(1, round(top + height) - start[1])),
            visible_share(actor.shape, order, *size))

    def step(self) -> None:
        """Move on by a frame; others come for those that have left."""
        self.ground.step(self.rng)
        for index, actor in enumerate(self.actors):
            if actor.stays:
                actor.shape.step(self.rng, self.height, self.width)
            else:
                actor.shape.drift(self.rng, self.height)
                if self._has_left(actor):
                    self.actors[index] = self._newcomer()

    def _has_left(self, actor: Actor) -> bool:
        shape = actor.shape
        centre = np.array([self.width, self.height]) / 2
        comes = float(np.dot(centre - shape.place, shape.velocity)) > 0
        inside = visible_share(shape, [shape], self.height, self.width)
        return inside < LEAST and (actor.entered or not comes)


def make_crossing(rng: np.random.Generator, frames: int, height: int,
                  width: int) -> Iterator[tuple[np.ndarray, list[Seen]]]:
    """Draw a video."""
    stage = Stage(rng, height, width)
    for _ in range(frames):
        yield stage.frame()
        stage.step()


def _write_video(folder: Path, rng: np.random.Generator, frames: int,
                 height: int, width: int) -> Video:
    (folder / 'img1').mkdir(parents=True)
    (folder / 'gt').mkdir()
    video = Video(folder.name)
    for image, seen in make_crossing(rng, frames, height, width):
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
    """COCO's format, with what MMDetection adds to it for videos."""

    def __init__(self, categories: Sequence[str], height: int, width: int):
        self.size = dict(height=height, width=width)
        self.content: dict[str, Any] = dict(
            categories=[dict(id=number, name=name)
                        for number, name in enumerate(categories, 1)],
            videos=[], images=[], annotations=[])
        self._identities: dict[tuple, int] = {}

    def add(self, video: Video, part: slice) -> None:
        """Take in some frames of a video, as one that counts from 0."""
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

    def _add_box(self, item: Seen, video: int, image: int) -> None:
        boxes = self.content['annotations']
        identity = self._identities.setdefault(
            (video, item.identity), len(self._identities))
        single = len(self.content['categories']) == 1
        boxes.append(dict(
            id=len(boxes) + 1, image_id=image, bbox=list(item.box),
            area=item.box[2] * item.box[3],
            # What detectors neither learn nor are judged by; a tracker is.
            iscrowd=int(item.visible < LEAST_SEEN),
            category_id=1 if single else item.label + 1,
            visibility=round(item.visible, 5), mot_conf=1.,
            instance_id=identity, official_id=item.identity))

    def write(self, file: Path) -> None:
        """Write them."""
        file.write_text(json.dumps(self.content))


def _write_annotations(root: Path, split: str, videos: list[Video],
                       height: int, width: int) -> None:
    """What MMDetection makes of MOT17, and the kinds of shapes."""
    # It takes a frame more than the half for training.
    middle = len(videos[0].frames) // 2 + 1
    parts = {split: slice(None)}
    if split == 'train':
        parts.update({'half-train': slice(middle),
                      'half-val': slice(middle, None)})
    for name, part in parts.items():
        # MOT17's name of all that its metrics count.
        whole = _Annotations(['pedestrian'], height, width)
        for video in videos:
            whole.add(video, part)
        whole.write(root / f'{name}_cocoformat.json')
    kinds = _Annotations(CLASSES, height, width)
    for video in videos:
        kinds.add(video, slice(None))
    kinds.write(root / f'{split}_shapes.json')


def make_crossings(out: str | Path, train: int = 20, val: int = 10,
                   frames: int = 60, size: int = 144, seed: int = 0) -> bool:
    """Write the videos; the same arguments give the same files.

    ``out/mot17`` is laid out like MOT17, with the annotations that
    MMDetection makes of it: ``train``, ``test`` (its truth is known),
    ``half-train`` and ``half-val``, in which each shape is a pedestrian, as
    the metrics of MOT17 count nothing else. ``annotations/train_shapes.json``
    and ``test_shapes.json`` have the kinds of the shapes. Boxes of shapes that
    are hidden are marked as ``iscrowd``, which detectors leave out.
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
                for name, rng in with_randomness(names, split,
                                                 (seed, number))]
            _write_annotations(mot / 'annotations', split, videos, size,
                               width)

    return fill_once(out, 'videos.json', dict(arguments, layouts=LAYOUTS),
                     fill)
