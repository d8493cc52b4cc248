"""Data sets of a real size: many names for one image, and annotations."""
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

# Objects in an image of COCO's training set: 860,001 in 118,287 images.
OBJECTS = 860_001 / 118_287
CLASSES = 80
WIDTH, HEIGHT = 640, 480
# Corners of a polygon.
CORNERS = 25
# Images of a class of ImageNet.
IMAGES_OF_CLASS = 1281
# File systems limit the names of a file.
LINKS = 1000
# Objects that are drawn; others differ by their ids only.
DRAWN = 1000


def link_images(image: Path, folder: Path, count: int) -> list[str]:
    """Give an image many names."""
    folder.mkdir(parents=True)
    names = [f'{number:08}{image.suffix}' for number in range(count)]
    for number, name in enumerate(names):
        if number % LINKS == 0:
            image = Path(shutil.copy(image, folder / name))
        else:
            os.link(image, folder / name)
    return names


def link_class_folders(image: Path, folder: Path, count: int) -> list[str]:
    """Make as many class folders as ImageNet has for so many images."""
    classes = max(1, round(count / IMAGES_OF_CLASS))
    names = []
    for number in range(classes):
        label = f'n{number:08}'
        size = count * (number + 1) // classes - count * number // classes
        names += [f'{label}/{name}' for name in
                  link_images(image, folder / label, size)]
    return names


def write_coco(file: Path, names: Sequence[str]) -> list[str]:
    """Write annotations as long as COCO's; return the names of classes."""
    random = Random(0)
    drawn = [json.dumps(_object(random))[1:] for _ in range(DRAWN)]
    classes = [f'class {number}' for number in range(CLASSES)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('w', encoding='utf-8') as text:
        text.write('{"categories": ')
        json.dump([dict(id=number, name=name)
                   for number, name in enumerate(classes)], text)
        _write_list(text, 'images', (json.dumps(dict(
            id=number, file_name=name, width=WIDTH, height=HEIGHT))
            for number, name in enumerate(names)))
        _write_list(text, 'annotations', (
            f'{{"id": {number}, "image_id": {int(number / OBJECTS)}, '
            + drawn[number % DRAWN]
            for number in range(round(len(names) * OBJECTS))))
        text.write('}')
    return classes


def _object(random: Random) -> dict:
    polygon = [random.randrange(100 * HEIGHT) / 100
               for _ in range(2 * CORNERS)]
    left, top = random.randrange(WIDTH - 100), random.randrange(HEIGHT - 100)
    return dict(category_id=random.randrange(CLASSES),
                bbox=[left, top, 50.25, 60.75], area=3052.69, iscrowd=0,
                segmentation=[polygon])


def _write_list(text, key: str, items: Iterable[str]) -> None:
    text.write(f', "{key}": [')
    for number, item in enumerate(items):
        text.write(f'{", " if number else ""}{item}')
    text.write(']')
