"""Synthetic images of colored shapes for detection, segmentation and more.

The same scenes are written in the formats of COCO and ADE20K, and scenes of a
single shape in a folder per class.
"""
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from ...utils.files import check_at_least, generate_if_missing

CLASSES = ('circle', 'square', 'triangle', 'star')
# Fraction of a shape that stays visible behind those drawn later.
MIN_VISIBLE = 0.7
MAX_SHAPES = 3
# Radius of a shape, relative to the image size.
RADIUS = (0.13, 0.26)
RADIUS_OF_A_SINGLE_SHAPE = (0.3, 0.45)
SPLITS = dict(train='training', val='validation')
PARTS = (*SPLITS, 'test')


def mix_colors(rng: np.random.Generator, colors: np.ndarray,
               cells: Sequence[int], size: tuple[int, int], noise: float
               ) -> np.ndarray:
    """Two colors mixed by smooth noise, with fine noise."""
    grid = rng.random(cells).astype(np.float32)
    mix = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)[..., None]
    return (colors[0] + (colors[1] - colors[0]) * mix
            + rng.normal(0, noise, (*mix.shape[:2], 1)))


def outline(label: int, center: np.ndarray, radius: float, angle: float
            ) -> np.ndarray:
    """Corners of a shape, ``(n, 2)``."""
    count = (40, 4, 3, 10)[label]
    angles = angle + np.arange(count) * 2 * np.pi / count
    radii = np.full(count, radius)
    if CLASSES[label] == 'star':
        radii[1::2] *= 0.45
    return center + radii[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)], 1)


def _random_mask(rng: np.random.Generator, label: int, size: int,
                 radius_range: tuple[float, float]) -> np.ndarray:
    """Pixels of a shape that lies anywhere in an image."""
    angle = rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(*radius_range) * size
    corners = outline(label, rng.uniform(radius, size - radius, 2), radius,
                      angle)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask.astype(bool)


def _place(rng: np.random.Generator, size: int, labels: Sequence[int],
           max_shapes: int, radius_range: tuple[float, float]) -> list:
    """Labels and visible masks of the shapes, from back to front."""
    placed: list[tuple[int, np.ndarray, int]] = []
    for _ in range(rng.integers(1, max_shapes + 1)):
        for _ in range(20):
            label = labels[int(rng.integers(len(labels)))]
            mask = _random_mask(rng, label, size, radius_range)
            if all((visible & ~mask).sum() >= MIN_VISIBLE * area
                   for _, visible, area in placed):
                placed = [(other, visible & ~mask, area)
                          for other, visible, area in placed]
                placed.append((label, mask, mask.sum()))
                break
    return [(label, visible) for label, visible, _ in placed]


def make_scene(rng: np.random.Generator, size: int,
               labels: Sequence[int] = range(len(CLASSES)),
               max_shapes: int = MAX_SHAPES,
               radius_range: tuple[float, float] = RADIUS
               ) -> tuple[np.ndarray, list]:
    """Draw one scene."""
    colors = rng.uniform(40, 215, (2, 3))
    image = mix_colors(rng, colors, [int(rng.integers(3, 10))] * 2,
                       (size, size), 5)
    shapes = _place(rng, size, labels, max_shapes, radius_range)
    for _, visible in shapes:
        ground = image[visible].mean(0)
        color = rng.uniform(0, 255, 3)
        while np.abs(color - ground).max() < 90:
            color = rng.uniform(0, 255, 3)
        image[visible] = color + rng.normal(0, 5, (visible.sum(), 1))
    return image.clip(0, 255).astype(np.uint8), shapes


def _annotations(shapes: list, image_id: int) -> Iterator[dict]:
    """COCO annotations, without their ids."""
    for label, visible in shapes:
        contours, _ = cv2.findContours(
            visible.astype(np.uint8), cv2.RETR_EXTERNAL,
            cv2.CHAIN_APPROX_SIMPLE)
        x, y, width, height = cv2.boundingRect(visible.astype(np.uint8))
        yield dict(
            image_id=image_id, category_id=label + 1, iscrowd=0,
            bbox=[x, y, width, height], area=int(visible.sum()),
            segmentation=[_polygon(contour) for contour in contours])


def _polygon(contour: np.ndarray) -> list[int]:
    """COCO needs three corners, even for a shape of one pixel."""
    lacking = max(0, 3 - len(contour))
    return np.pad(contour.reshape(-1, 2), ((0, lacking), (0, 0)),
                  'edge').flatten().tolist()


def _segmentation(shapes: list, size: int) -> np.ndarray:
    """Values as in ADE20K's masks: 1 for the background, then the classes."""
    mask = np.ones((size, size), np.uint8)
    for label, visible in shapes:
        mask[visible] = label + 2
    return mask


def generator_for(seed: int, split: str, *index: int) -> np.random.Generator:
    """A random generator that depends on seed, split and index only."""
    return np.random.default_rng([seed, PARTS.index(split), *index])


def generate(out: str | Path, record: str, layouts: list[str], *,
             least: dict[str, int], arguments: dict[str, int],
             write: Callable[[Path, str, int], None]) -> bool:
    """Write all splits, unless the same data set exists."""
    check_at_least(arguments, dict(train=1, val=1, seed=0, **least))

    def fill(root: Path) -> None:
        for split in PARTS:
            if split in arguments:
                write(root, split, arguments[split])

    return generate_if_missing(out, record, dict(arguments, layouts=layouts),
                               fill)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a JPEG file."""
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


def _write_folders(root: Path, split: str, count: int, size: int,
                   seed: int) -> None:
    """Write scenes of one shape into a folder per class."""
    folders = [root / 'folders' / split / name for name in CLASSES]
    for folder in folders:
        folder.mkdir(parents=True)
    for index in track(range(count), f'{split} images of one shape'):
        label = index % len(CLASSES)
        image, _ = make_scene(generator_for(seed, split, index, 1), size,
                              labels=[label], max_shapes=1,
                              radius_range=RADIUS_OF_A_SINGLE_SHAPE)
        write_image(folders[label] / f'{index:06d}.jpg', image)


def _write_scenes(root: Path, split: str, count: int, size: int,
                 seed: int) -> None:
    coco = root / 'coco' / f'{split}2017'
    images, masks = (root / 'ade' / kind / SPLITS[split]
                     for kind in ('images', 'annotations'))
    for folder in (coco, images, masks, root / 'coco' / 'annotations'):
        folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = dict(
        info=dict(description='mmlowformer shapes'), images=[],
        annotations=[], categories=[
            dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)])
    for index in track(range(count), f'{split} images'):
        image, shapes = make_scene(generator_for(seed, split, index), size)
        name = f'{index:06d}.jpg'
        write_image(coco / name, image)
        shutil.copyfile(coco / name, images / name)
        cv2.imwrite(str((masks / name).with_suffix('.png')),
                    _segmentation(shapes, size))
        content['images'].append(
            dict(id=index, file_name=name, width=size, height=size))
        for annotation in _annotations(shapes, index):
            content['annotations'].append(
                dict(annotation, id=len(content['annotations']) + 1))
    file = root / 'coco' / 'annotations' / f'instances_{split}2017.json'
    file.write_text(json.dumps(content))


def make_dataset(out: str | Path, train: int = 320, val: int = 64,
                 size: int = 256, seed: int = 0) -> bool:
    """Write the data set; the same arguments give the same files.

    ``out/coco`` is in COCO's format, ``out/ade`` in ADE20K's with the
    background and :data:`CLASSES` as classes. ``out/folders`` has as many
    images of a single shape, in a folder per class.

    Args:
        out (str | Path): The folder to create.
        train (int): Number of training images. Defaults to 320.
        val (int): Number of validation images. Defaults to 64.
        size (int): Height and width in pixels, at least 32. Defaults to 256.
        seed (int): Seed of the scenes. Defaults to 0.

    Returns:
        bool: Whether it was written; False if it exists already.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out`` holds something else.
    """

    def write(root: Path, split: str, count: int) -> None:
        _write_scenes(root, split, count, size, seed)
        _write_folders(root, split, count, size, seed)

    return generate(
        out, 'shapes.json', ['coco', 'ade', 'folders'], write=write,
        least=dict(size=32),
        arguments=dict(train=train, val=val, size=size, seed=seed))
