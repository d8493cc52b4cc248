"""Synthetic videos: shapes that move, turn, change size and hide each other.

Laid out like GOT-10k, so that tracking can be tried without a download.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from ...utils.files import check_at_least, fill_once
from .shapes import CLASSES

SPLITS = dict(train='Train', val='Val')
# Radius of a shape, as a fraction of the image's height.
RADIUS = (0.09, 0.2)
MAX_DISTRACTORS = 3
# Steps of a frame: of the place in radii, of the angle in radians, of the
# size as a logarithm.
SPEED, TURN, GROWTH = 0.25, 0.12, 0.04
# GOT-10k counts what is visible of an object in eighths.
EIGHTHS = 8
LAYOUTS = ['got10k']
# Fixed points of cv2.fillPoly: 1/16 of a pixel.
SHIFT = 4


@dataclass
class Shape:
    """A moving shape.

    Attributes:
        label (int): Index of :data:`CLASSES`.
        colours (np.ndarray): Of the shape and of its core, ``(2, 3)``.
        place (np.ndarray): Centre in pixels, ``(2, )``.
        velocity (np.ndarray): Pixels in a frame.
        radius (float): In pixels.
        angle (float): In radians.
        turn (float): Radians in a frame.
        pulse (tuple[float, float]): Phase and speed of its changes of size.
    """

    label: int
    colours: np.ndarray
    place: np.ndarray
    velocity: np.ndarray
    radius: float
    angle: float
    turn: float
    pulse: tuple[float, float]

    @classmethod
    def random(cls, rng: np.random.Generator, label: int, height: int,
               width: int) -> 'Shape':
        """A shape somewhere in an image."""
        radius = rng.uniform(*RADIUS) * height
        return cls(label, rng.uniform(0, 255, (2, 3)),
                   rng.uniform((0.15, 0.15), (0.85, 0.85)) * (width, height),
                   rng.normal(0, SPEED / 3, 2) * radius, radius,
                   rng.uniform(0, 2 * np.pi), rng.normal(0, TURN / 2),
                   (rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.15)))

    def step(self, rng: np.random.Generator, height: int,
             width: int) -> None:
        """Move on by a frame; the centre stays in the image."""
        self.drift(rng, height)
        for axis, size in enumerate((width, height)):
            if not 0 <= self.place[axis] <= size:
                self.velocity[axis] *= -1
                self.place[axis] = np.clip(self.place[axis], 0, size)

    def drift(self, rng: np.random.Generator, height: int) -> None:
        """Move on by a frame, beyond the image if the way leads there."""
        fastest = SPEED * self.radius
        self.velocity += rng.normal(0, fastest / 8, 2)
        self.velocity = np.clip(self.velocity, -fastest, fastest)
        self.place = self.place + self.velocity
        self.angle += self.turn
        phase, speed = self.pulse
        self.radius *= np.exp(GROWTH * np.sin(phase))
        self.pulse = (phase + speed, speed)
        self.radius = np.clip(self.radius, RADIUS[0] * height / 1.5,
                              RADIUS[1] * height * 1.5)

    def outline(self, scale: float = 1.) -> np.ndarray:
        """Corners, ``(n, 2)``."""
        count = (40, 4, 3, 10)[self.label]
        angles = self.angle + np.arange(count) * 2 * np.pi / count
        radii = np.full(count, self.radius * scale)
        if CLASSES[self.label] == 'star':
            radii[1::2] *= 0.45
        return self.place + radii[:, None] * np.stack(
            [np.cos(angles), np.sin(angles)], 1)

    def box(self, height: int, width: int) -> list[float]:
        """Left, top, width and height of what lies in an image."""
        corners = self.outline()
        left, top = np.maximum(corners.min(0), 0)
        right, bottom = np.minimum(corners.max(0), (width, height))
        return [left, top, right - left, bottom - top]

    def draw(self, image: np.ndarray) -> None:
        """Paint the shape, and a core by which it is known."""
        for scale, colour in zip((1., 0.5), self.colours):
            _fill(image, self.outline(scale), colour.tolist())


@dataclass
class Frame:
    """A frame and what is known about its object.

    Attributes:
        image (np.ndarray): ``(H, W, 3)``, BGR.
        box (list[float]): Left, top, width and height of the object as far as
            it is in the image, hidden or not.
        visible (float): Share of the object that can be seen.
        is_cut (bool): Whether it leaves the image.
    """

    image: np.ndarray
    box: list[float]
    visible: float
    is_cut: bool


def _fill(image: np.ndarray, corners: np.ndarray, colour) -> None:
    points = np.round(corners * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, SHIFT)


class Ground:
    """What shapes move over, seen by a camera that is never quite still."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.colours = rng.uniform(30, 225, (2, 3))
        self._size = np.array([width, height])
        self._image = _mixed(rng, self.colours, height, width)
        self._camera = self._size / 2

    def frame(self) -> np.ndarray:
        """What the camera sees, ``(height, width, 3)``; a copy."""
        x, y = self._camera.astype(int)
        width, height = self._size
        return self._image[y:y + height, x:x + width].copy()

    def step(self, rng: np.random.Generator) -> None:
        """Move the camera on by a frame."""
        self._camera = np.clip(self._camera + rng.normal(0, 2, 2), 0,
                               self._size)


def _mixed(rng: np.random.Generator, colours: np.ndarray, height: int,
           width: int) -> np.ndarray:
    """Two colours, mixed by smooth noise, larger than a frame."""
    grid = rng.random(rng.integers(5, 14, 2)).astype(np.float32)
    mix = cv2.resize(grid, (2 * width, 2 * height),
                     interpolation=cv2.INTER_CUBIC)[..., None]
    noise = rng.normal(0, 6, (*mix.shape[:2], 1))
    image = colours[0] + (colours[1] - colours[0]) * mix + noise
    return image.clip(0, 255).astype(np.uint8)


def make_video(rng: np.random.Generator, frames: int, height: int,
               width: int) -> Iterator[Frame]:
    """Draw a video of one object and distractors of its kind."""
    ground = Ground(rng, height, width)
    label = int(rng.integers(len(CLASSES)))
    count = int(rng.integers(1, MAX_DISTRACTORS + 1))
    shapes = [Shape.random(rng, label, height, width)
              for _ in range(count + 1)]
    # The object is first, so that all others are drawn over it, or last.
    target = shapes[0]
    order = shapes if rng.random() < 0.7 else shapes[::-1]
    while visible_share(target, order, height, width) < 0.9:
        for shape in shapes:
            shape.place = rng.uniform((0.1, 0.1), (0.9, 0.9)) * (
                width, height)
    for _ in range(frames):
        image = ground.frame()
        for shape in order:
            shape.draw(image)
        yield _frame(image, target, order)
        for shape in shapes:
            shape.step(rng, height, width)
        ground.step(rng)


def _frame(image: np.ndarray, target: Shape, order: list[Shape]) -> Frame:
    height, width = image.shape[:2]
    corners = target.outline()
    is_cut = bool((corners < 0).any() or (corners > (width, height)).any())
    return Frame(image, target.box(height, width),
                 visible_share(target, order, height, width), is_cut)


def visible_share(target: Shape, order: list[Shape], height: int,
                  width: int) -> float:
    """Share of a shape that is in the image and not behind another."""
    mask = np.zeros((height, width), np.uint8)
    _fill(mask, target.outline(), 1)
    # Of what is beyond the image, too.
    whole = cv2.contourArea(target.outline().astype(np.float32))
    for shape in order[_position(order, target) + 1:]:
        _fill(mask, shape.outline(), 0)
    return min(1., float(mask.sum() / max(1., whole)))


def _position(order: list[Shape], target: Shape) -> int:
    return next(index for index, shape in enumerate(order)
                if shape is target)


def _write_video(folder: Path, rng: np.random.Generator, frames: int,
                 height: int, width: int) -> None:
    folder.mkdir(parents=True)
    boxes, cover, cut = [], [], []
    for index, frame in enumerate(make_video(rng, frames, height, width), 1):
        cv2.imwrite(str(folder / f'{index:08d}.jpg'), frame.image,
                    [cv2.IMWRITE_JPEG_QUALITY, 90])
        boxes.append(','.join(f'{value:.4f}' for value in frame.box))
        cover.append(int(np.ceil(frame.visible * EIGHTHS - 1e-6)))
        cut.append(int(frame.is_cut))
    absent = [int(value == 0) for value in cover]
    columns: dict[str, list] = {
        'groundtruth.txt': boxes, 'cover.label': cover,
        'absence.label': absent, 'cut_by_image.label': cut}
    for name, values in columns.items():
        (folder / name).write_text('\n'.join(map(str, values)) + '\n')
    (folder / 'meta_info.ini').write_text(
        '[METAINFO]\n'
        'url: none, generated by tools/make_shapes.py\n'
        f'begin: 00:00:00\nend: 00:00:{frames // 10:02d}\n'
        'anno_fps: 10Hz\nobject_class: shape\nmotion_class: moving\n'
        'major_class: shape\nroot_class: object\nmotion_adverb: smoothly\n'
        f'resolution: ({width}, {height})\n')


def with_randomness(names: list[str], split: str, seeds: tuple[int, int]
                    ) -> Iterator[tuple[str, np.random.Generator]]:
    """Give each video of a split a source of randomness of its own."""
    for index, name in enumerate(track(names, f'{split} videos')):
        yield name, np.random.default_rng([*seeds, index])


def make_videos(out: str | Path, train: int = 240, val: int = 20,
                frames: int = 60, size: int = 240, seed: int = 0) -> bool:
    """Write the videos; the same arguments give the same files.

    ``out/got10k`` is laid out like GOT-10k: ``train`` and ``val``, each with
    ``list.txt`` and a folder for each video.
    """
    arguments = dict(train=train, val=val, frames=frames, size=size,
                     seed=seed)
    check_at_least(arguments, dict(train=1, val=1, frames=2, size=64,
                                   seed=0))

    def fill(root: Path) -> None:
        for number, (split, count) in enumerate(dict(train=train,
                                                     val=val).items()):
            names = [f'GOT-10k_{SPLITS[split]}_{index:06d}'
                     for index in range(1, count + 1)]
            folder = root / 'got10k' / split
            for name, rng in with_randomness(names, split, (seed, number)):
                _write_video(folder / name, rng, frames, size, size * 4 // 3)
            (folder / 'list.txt').write_text('\n'.join(names) + '\n')

    return fill_once(out, 'videos.json', dict(arguments, layouts=LAYOUTS),
                     fill)
