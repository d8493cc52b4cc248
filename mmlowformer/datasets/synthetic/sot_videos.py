"""Synthetic videos of a moving shape in GOT-10k's format."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from .shapes import CLASSES, generate, generator_for, mix_colors, outline

SPLITS = dict(train='Train', val='Val', test='Test')
# Radius of a shape, relative to the height of the image.
RADIUS = (0.09, 0.2)
MAX_DISTRACTORS = 3
# Largest change per frame: of the center in radii, of the angle in radians, of
# the logarithm of the size.
SPEED, TURN, GROWTH = 0.25, 0.12, 0.04
# GOT-10k counts the visible part of an object in eighths.
EIGHTHS = 8
# Fractional bits of cv2.fillPoly's coordinates.
SHIFT = 4


@dataclass
class MovingShape:
    """A shape that moves, turns and changes its size."""

    label: int  # index of CLASSES
    colors: np.ndarray  # of the shape and its core, (2, 3)
    center: np.ndarray  # in pixels, (2, )
    velocity: np.ndarray  # pixels per frame
    radius: float
    angle: float  # in radians
    turn: float  # radians per frame
    pulse: tuple[float, float]  # phase and speed of the changes of size

    @classmethod
    def random(cls, rng: np.random.Generator, label: int, height: int,
               width: int) -> 'MovingShape':
        """Create a shape somewhere in an image."""
        radius = rng.uniform(*RADIUS) * height
        return cls(label, rng.uniform(0, 255, (2, 3)),
                   rng.uniform((0.15, 0.15), (0.85, 0.85)) * (width, height),
                   rng.normal(0, SPEED / 3, 2) * radius, radius,
                   rng.uniform(0, 2 * np.pi), rng.normal(0, TURN / 2),
                   (rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.15)))

    def step(self, rng: np.random.Generator, height: int,
             width: int) -> None:
        """Advance by a frame; the center stays in the image."""
        self.drift(rng, height)
        for axis, size in enumerate((width, height)):
            if not 0 <= self.center[axis] <= size:
                self.velocity[axis] *= -1
                self.center[axis] = np.clip(self.center[axis], 0, size)

    def drift(self, rng: np.random.Generator, height: int) -> None:
        """Advance by a frame, possibly out of the image."""
        fastest = SPEED * self.radius
        self.velocity += rng.normal(0, fastest / 8, 2)
        self.velocity = np.clip(self.velocity, -fastest, fastest)
        self.center = self.center + self.velocity
        self.angle += self.turn
        phase, speed = self.pulse
        self.radius *= np.exp(GROWTH * np.sin(phase))
        self.pulse = (phase + speed, speed)
        self.radius = np.clip(self.radius, RADIUS[0] * height / 1.5,
                              RADIUS[1] * height * 1.5)

    def outline(self, scale: float = 1.) -> np.ndarray:
        """Corners, ``(n, 2)``."""
        return outline(self.label, self.center, self.radius * scale,
                       self.angle)

    def box(self, height: int, width: int) -> list[float]:
        """Left, top, width and height of the part inside an image."""
        corners = self.outline()
        left, top = np.maximum(corners.min(0), 0)
        right, bottom = np.minimum(corners.max(0), (width, height))
        return [left, top, right - left, bottom - top]

    def draw(self, image: np.ndarray) -> None:
        """Draw the shape and its core, which identifies it."""
        for scale, color in zip((1., 0.5), self.colors):
            _fill(image, self.outline(scale), color.tolist())


@dataclass
class Frame:
    """A frame and its ground truth."""

    image: np.ndarray  # (H, W, 3), BGR
    box: list[float]  # left, top, width and height inside the image
    visible: float  # fraction of the object that can be seen
    is_cut: bool  # whether it leaves the image


def _fill(image: np.ndarray, corners: np.ndarray, color) -> None:
    points = np.round(corners * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(image, [points], color, cv2.LINE_AA, SHIFT)


class Background:
    """A texture seen by a camera that shakes."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.colors = rng.uniform(30, 225, (2, 3))
        self._size = np.array([width, height])
        # Larger than a frame, so that the camera can move.
        self._image = mix_colors(
            rng, self.colors, rng.integers(5, 14, 2).tolist(),
            (2 * width, 2 * height), 6).clip(0, 255).astype(np.uint8)
        self._camera = self._size / 2

    def frame(self) -> np.ndarray:
        """A copy of what the camera sees, ``(height, width, 3)``."""
        x, y = self._camera.astype(int)
        width, height = self._size
        return self._image[y:y + height, x:x + width].copy()

    def step(self, rng: np.random.Generator) -> None:
        """Move the camera."""
        self._camera = np.clip(self._camera + rng.normal(0, 2, 2), 0,
                               self._size)


def draw_sot_video(rng: np.random.Generator, frames: int, height: int,
                   width: int) -> Iterator[Frame]:
    """Draw a video of an object and distractors of its class."""
    background = Background(rng, height, width)
    label = int(rng.integers(len(CLASSES)))
    count = int(rng.integers(1, MAX_DISTRACTORS + 1))
    shapes = [MovingShape.random(rng, label, height, width)
              for _ in range(count + 1)]
    # The object is drawn first, below all others, or last.
    target = shapes[0]
    order = shapes if rng.random() < 0.7 else shapes[::-1]
    while visible_fraction(target, order, height, width) < 0.9:
        for shape in shapes:
            shape.center = rng.uniform((0.1, 0.1), (0.9, 0.9)) * (
                width, height)
    for _ in range(frames):
        image = background.frame()
        for shape in order:
            shape.draw(image)
        corners = target.outline()
        yield Frame(
            image, target.box(height, width),
            visible_fraction(target, order, height, width),
            bool((corners < 0).any() or (corners > (width, height)).any()))
        for shape in shapes:
            shape.step(rng, height, width)
        background.step(rng)


def visible_fraction(target: MovingShape, order: list[MovingShape],
                     height: int, width: int) -> float:
    """Fraction of a shape inside the image and not behind another."""
    mask = np.zeros((height, width), np.uint8)
    _fill(mask, target.outline(), 1)
    # The area includes the part outside the image.
    area = cv2.contourArea(target.outline().astype(np.float32))
    position = next(index for index, shape in enumerate(order)
                    if shape is target)
    for shape in order[position + 1:]:
        _fill(mask, shape.outline(), 0)
    return min(1., float(mask.sum() / max(1., area)))


def _write_video(folder: Path, rng: np.random.Generator, frames: int,
                 height: int, width: int, *, is_test: bool) -> None:
    folder.mkdir(parents=True)
    boxes, cover, cut = [], [], []
    video = draw_sot_video(rng, frames, height, width)
    for index, frame in enumerate(video, 1):
        cv2.imwrite(str(folder / f'{index:08d}.jpg'), frame.image,
                    [cv2.IMWRITE_JPEG_QUALITY, 90])
        boxes.append(','.join(f'{value:.4f}' for value in frame.box))
        cover.append(int(np.ceil(frame.visible * EIGHTHS - 1e-6)))
        cut.append(int(frame.is_cut))
    absent = [int(value == 0) for value in cover]
    # As of GOT-10k's test set, only the first box is published.
    columns: dict[str, list] = (
        {'groundtruth.txt': boxes[:1]} if is_test else
        {'groundtruth.txt': boxes, 'cover.label': cover,
         'absence.label': absent, 'cut_by_image.label': cut})
    for name, values in columns.items():
        (folder / name).write_text('\n'.join(map(str, values)) + '\n')
    (folder / 'meta_info.ini').write_text(
        '[METAINFO]\n'
        'url: none, generated by tools/make_shapes.py\n'
        f'begin: 00:00:00\nend: 00:00:{frames // 10:02d}\n'
        'anno_fps: 10Hz\nobject_class: shape\nmotion_class: moving\n'
        'major_class: shape\nroot_class: object\nmotion_adverb: smoothly\n'
        f'resolution: ({width}, {height})\n')


def make_sot_videos(out: str | Path, train: int = 240, val: int = 20,
                    frames: int = 60, size: int = 240, seed: int = 0,
                    test: int = 0) -> bool:
    """Write videos like GOT-10k into ``out/got10k``, reproducibly."""
    def write(root: Path, split: str, count: int) -> None:
        folder = root / 'got10k' / split
        names = [f'GOT-10k_{SPLITS[split]}_{index:06d}'
                 for index in range(1, count + 1)]
        for index, name in enumerate(track(names, f'{split} videos')):
            _write_video(folder / name, generator_for(seed, split, index),
                         frames, size, size * 4 // 3,
                         is_test=split == 'test')
        (folder / 'list.txt').write_text('\n'.join(names) + '\n')

    return generate(
        out, 'videos.json', ['got10k'], least=dict(frames=2, size=64),
        write=write, arguments=dict(
            train=train, val=val, frames=frames, size=size, seed=seed,
            **(dict(test=test) if test else {})))
