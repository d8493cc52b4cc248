"""A synthetic data set: coloured shapes on textured ground.

The same scenes are written as COCO and as ADE20K lay their data out, so that
detection and segmentation can be tried without a download.
"""
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

CLASSES = ('circle', 'square', 'triangle', 'star')
# Fraction of a shape that has to stay visible behind those drawn later.
MIN_VISIBLE = 0.7
MAX_SHAPES = 3
# Radius of a shape, as a fraction of the image size.
RADIUS = (0.13, 0.26)
SPLITS = dict(train='training', val='validation')


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two colours, mixed by smooth noise, under fine noise."""
    colours = rng.uniform(40, 215, (2, 3))
    grid = rng.random((rng.integers(3, 10), ) * 2).astype(np.float32)
    mix = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    image = colours[0] + (colours[1] - colours[0]) * mix[..., None]
    return image + rng.normal(0, 5, (size, size, 1))


def _outline(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Corners of a shape of random size, rotation and place, ``(n, 2)``."""
    corners = (40, 4, 3, 10)[label]
    angles = np.arange(corners) * 2 * np.pi / corners
    angles += rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(*RADIUS) * size
    radii = np.full(corners, radius)
    if CLASSES[label] == 'star':
        radii[1::2] *= 0.45
    centre = rng.uniform(radius, size - radius, 2)
    return centre + radii[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)], 1)


def _mask(outline: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask.astype(bool)


def _place(rng: np.random.Generator, size: int) -> list:
    """Labels and visible masks of the shapes, from back to front."""
    placed = []
    for _ in range(rng.integers(1, MAX_SHAPES + 1)):
        for _ in range(20):
            label = int(rng.integers(len(CLASSES)))
            mask = _mask(_outline(rng, label, size), size)
            if all((visible & ~mask).sum() >= MIN_VISIBLE * area
                   for _, visible, area in placed):
                placed = [(other, visible & ~mask, area)
                          for other, visible, area in placed]
                placed.append((label, mask, mask.sum()))
                break
    return [(label, visible) for label, visible, _ in placed]


def make_scene(rng: np.random.Generator,
               size: int) -> tuple[np.ndarray, list]:
    """Draw one scene.

    Args:
        rng (np.random.Generator): Source of all randomness.
        size (int): Height and width in pixels.

    Returns:
        tuple[np.ndarray, list]: The image, ``(size, size, 3)`` uint8, and for
        each shape its label, an index of :data:`CLASSES`, and the mask of
        what is visible of it, ``(size, size)`` bool.
    """
    image = _texture(rng, size)
    shapes = _place(rng, size)
    for _, visible in shapes:
        ground = image[visible].mean(0)
        colour = rng.uniform(0, 255, 3)
        while np.abs(colour - ground).max() < 90:
            colour = rng.uniform(0, 255, 3)
        image[visible] = colour + rng.normal(0, 5, (visible.sum(), 1))
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
    """COCO wants three corners, even of what is one pixel wide."""
    lacking = max(0, 3 - len(contour))
    return np.pad(contour.reshape(-1, 2), ((0, lacking), (0, 0)),
                  'edge').flatten().tolist()


def _segmentation(shapes: list, size: int) -> np.ndarray:
    """Indices as in ADE20K's masks: 1 for the ground, then the classes."""
    mask = np.ones((size, size), np.uint8)
    for label, visible in shapes:
        mask[visible] = label + 2
    return mask


def _write_split(root: Path, split: str, count: int, size: int,
                 seed: int) -> None:
    coco = root / 'coco' / f'{split}2017'
    images, masks = (root / 'ade' / kind / SPLITS[split]
                     for kind in ('images', 'annotations'))
    for folder in (coco, images, masks, root / 'coco' / 'annotations'):
        folder.mkdir(parents=True, exist_ok=True)
    content = dict(
        info=dict(description='mmlowformer shapes'), images=[],
        annotations=[], categories=[
            dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)])
    for index in track(range(count), f'{split} images'):
        # Independent of how many images there are, and of the other split.
        rng = np.random.default_rng([seed, list(SPLITS).index(split), index])
        image, shapes = make_scene(rng, size)
        name = f'{index:06d}.jpg'
        cv2.imwrite(str(coco / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
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

    ``out/coco`` is laid out like COCO 2017, ``out/ade`` like ADE20K with the
    ground and then :data:`CLASSES` as classes.

    Args:
        out (str | Path): The folder to create.
        train (int): Number of training images. Defaults to 320.
        val (int): Number of validation images. Defaults to 64.
        size (int): Height and width in pixels, at least 32. Defaults to 256.
        seed (int): Seed of the scenes. Defaults to 0.

    Returns:
        bool: Whether it was written; False if it is there already.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If ``out`` holds something else.
    """
    arguments = dict(train=train, val=val, size=size, seed=seed)
    for name, low in dict(train=1, val=1, size=32, seed=0).items():
        if arguments[name] < low:
            raise ValueError(f'{name} has to be at least {low}, not '
                             f'{arguments[name]}')
    out = Path(out)
    record = out / 'shapes.json'
    if record.is_file() and json.loads(record.read_text()) == arguments:
        return False
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out} exists and holds something else than these shapes; name '
            'another folder or delete it')
    out.parent.mkdir(parents=True, exist_ok=True)
    # All or nothing: an interrupted run leaves no half data set behind.
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        root = Path(scratch) / 'shapes'
        for split, count in (('train', train), ('val', val)):
            _write_split(root, split, count, size, seed)
        (root / record.name).write_text(json.dumps(arguments))
        if out.exists():
            out.rmdir()
        os.replace(root, out)
    return True
