"""Inspect a folder of images per class."""
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from PIL import Image

from ...errors import AnnotationErrors, UserError
from ..checks.class_folders import class_folders, label_mismatch, read_labels
from ..formats import AnnotatedImage, ImageFolder
from ..tiling import read_scene
from .parts import PARTS
from .report import Inspection, describe_sizes, evenly_spaced, hidden_note

# Kinds of findings that a training accepts.
EMPTY_FOLDER = 'class without images'
OUTSIDE, IN_TWO = 'image outside the class folders', 'image in two classes'


def inspect_folders(images: ImageFolder, step: Callable[[], None]
                    ) -> Inspection:
    """Inspect a folder of images per class."""
    folder = images.folder
    errors = AnnotationErrors(warnings=[EMPTY_FOLDER, OUTSIDE, IN_TWO])
    classes = class_folders(folder)
    counts: Counter[str] = Counter()
    annotated = []
    for name in images.names:
        label, _, rest = name.partition('/')
        if not rest:
            errors.add(OUTSIDE, name)
        size = images.size(name, errors)
        if size and rest:
            counts[label] += 1
            annotated.append(AnnotatedImage(name, *size, []))
        step()
    for name in classes:
        if not counts[name]:
            errors.add(EMPTY_FOLDER, name)
    for mismatch in _label_mismatches(folder, classes):
        errors.add('list whose class numbers differ from the folders',
                   mismatch)
    _add_copies([image.name for image in annotated], images, errors)
    panels = [(image.name, Image.fromarray(read_scene(
        images.path(image.name)))) for image in evenly_spaced(annotated)]
    return Inspection(
        [('Images', f'{len(annotated)} in {folder}, '
          f'{describe_sizes(annotated)}{hidden_note(images)}')],
        {name: counts[name] for name in classes}, errors, panels)


def _label_mismatches(folder: str, classes: list[str]) -> Iterator[str]:
    """Compare the lists that ``split`` wrote beside a folder."""
    for part in PARTS:
        path = os.path.join(os.path.dirname(os.path.abspath(folder)),
                            f'{part}.txt')
        # A list may be missing, or of another kind.
        with suppress(UserError):
            if mismatch := label_mismatch(read_labels(path), classes):
                yield f'{path}: {mismatch}'


def _add_copies(names: Sequence[str], images: ImageFolder,
                errors: AnnotationErrors) -> None:
    """Find images that lie in the folders of two classes."""
    similar = defaultdict(list)
    for name in names:
        with open(images.path(name), 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            similar[size, crc32(file.read(4096))].append(name)
    for group in similar.values():
        first: dict[bytes, str] = {}
        for name in group if len(group) > 1 else ():
            content = Path(images.path(name)).read_bytes()
            other = first.setdefault(sha256(content).digest(), name)
            if other.split('/')[0] != name.split('/')[0]:
                errors.add(IN_TWO, f'{other} and {name}')
