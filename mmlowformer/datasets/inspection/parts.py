"""The parts of a data set that is split already."""
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..checks.class_folders import read_labels
from ..checks.coco_annotations import read_coco
from ..formats import AnnotatedImage, ImageFolder
from ..paths import read_lines

PARTS = ('train', 'val', 'test')


def record_of(image: AnnotatedImage) -> dict[str, Any]:
    """What a COCO file says of an image."""
    return dict(image.extra, file_name=image.name, width=image.width,
                height=image.height)


def beside_coco(source: str, annotated: Sequence[AnnotatedImage],
                images: ImageFolder) -> dict[str, list[dict[str, Any]]]:
    """Images of train.json, val.json and test.json in the same folder."""
    own = Path(source)
    parts: dict[str, list[dict[str, Any]]] = {}
    for part in PARTS if own.stem in PARTS else ():
        path = own.with_name(f'{part}{own.suffix}')
        if part == own.stem:
            parts[part] = list(map(record_of, annotated))
        elif path.exists():
            # An inspection of the other file tells what is wrong with it.
            with suppress(UserError):
                parts[part] = [
                    dict(record, file_name=images.find(name) or name)
                    for record in read_coco(str(path))['image_records']
                    if (name := str(record['file_name']))]
    return _if_split(parts)


def beside_masks(images: ImageFolder) -> dict[str, list[str]]:
    """Images of the lists beside their folder, or of its sub-folders."""
    return _in_lists(images.folder, read_lines) or _if_split({
        part: [name for name in images.names if name.startswith(f'{part}/')]
        for part in PARTS})


def beside_folders(images: ImageFolder) -> dict[str, list[str]]:
    """Images of the lists beside their folder, or of the folders beside it.

    The names are relative to the folder.
    """
    if listed := _in_lists(images.folder, read_labels):
        return listed
    own = Path(os.path.abspath(images.folder))
    if own.name not in PARTS:
        return {}
    parts = {own.name: images.names}
    for part in PARTS:
        if part != own.name:
            with suppress(UserError):
                others = ImageFolder(str(own.with_name(part)))
                parts[part] = [f'../{part}/{name}' for name in others.names]
    return _if_split(parts)


def _in_lists(folder: str, read: Callable) -> dict[str, list[str]]:
    parts = {}
    for part in PARTS:
        # A list may be missing, or of another kind.
        with suppress(UserError):
            parts[part] = list(read(os.path.join(
                os.path.dirname(os.path.abspath(folder)), f'{part}.txt')))
    return _if_split(parts)


def _if_split(parts: dict) -> dict:
    """In order, nothing if only one part has images."""
    found = {part: parts[part] for part in PARTS if parts.get(part)}
    return found if len(found) > 1 else {}
