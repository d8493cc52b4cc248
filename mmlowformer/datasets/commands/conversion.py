"""Classes and parts of annotated images: renamed, dropped, kept, merged."""
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from ...errors import AnnotationErrors, UserError, shown, similar, some_of
from ..formats import AnnotatedImage, Annotation, ImageFolder, ReadErrors
from ..formats.coco import read_coco_annotations
from ..formats.image_folder import find_image_folder

# What exported folders call the parts.
PARTS = dict(train='train', training='train', val='val', valid='val',
             validation='val', dev='val', test='test', testing='test')


def parse_renames(pairs: Iterable[str]) -> dict[str, str]:
    """New names of classes by the old ones, from ``old=new``."""
    renames: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = (word.strip() for word in pair.partition('='))
        if not equals or not new:
            raise UserError(f'--rename {pair} must be old=new')
        if renames.setdefault(old, new) != new:
            raise UserError(f'--rename names {old!r} twice: {renames[old]!r} '
                            f'and {new!r}')
    return renames


def edit_classes(annotated: Iterable[AnnotatedImage],
                 classes: Sequence[str] | None, renames: dict[str, str],
                 drop: Sequence[str], source: str, notes: AnnotationErrors
                 ) -> tuple[Iterable[AnnotatedImage], list[str] | None]:
    """Rename, merge and drop classes, image by image."""
    if classes is None:
        annotated = list(annotated)
        known = {item.label for image in annotated
                 for item in image.annotations}
    else:
        known = set(classes)
    for name in (*renames, *drop):
        if name not in known:
            raise UserError(f'{source} has no class {name!r}, it has '
                            f'{some_of(sorted(known))}{similar(name, known)}')
    edited = None if classes is None else list(dict.fromkeys(
        renames.get(name, name) for name in classes if name not in drop))
    return _edited(annotated, renames, set(drop), notes), edited


def _edited(annotated: Iterable[AnnotatedImage], renames: dict[str, str],
            drop: set[str], notes: AnnotationErrors
            ) -> Iterator[AnnotatedImage]:
    for image in annotated:
        kept = []
        for item in image.annotations:
            if item.label in drop:
                notes.add('object of a dropped class', item.where)
            else:
                kept.append(item._replace(
                    label=renames.get(item.label, item.label)))
        yield image._replace(annotations=kept)


def part_of(name: str) -> str | None:
    """The part that a folder in the name of an image stands for."""
    return next((PARTS[key] for folder in PurePosixPath(name).parts[:-1]
                 if (key := folder.lower().strip('0123456789_-')) in PARTS),
                None)


def existing_parts(annotated: Iterable[AnnotatedImage]
                   ) -> dict[str, list[AnnotatedImage]]:
    """Images by the parts in which they are, if all are in one."""
    parts: dict[str, list[AnnotatedImage]] = {}
    for image in annotated:
        part = part_of(image.name)
        if part is None:
            return {}
        parts.setdefault(part, []).append(image)
    return {part: parts[part] for part in dict.fromkeys(PARTS.values())
            if part in parts} if len(parts) > 1 else {}


def merge_files(sources: Sequence[str], folder: str | None,
                errors: ReadErrors
                ) -> tuple[list[AnnotatedImage], list[str], str]:
    """Merge COCO files; also returns the classes and the folder of images.

    Without a folder, each file has its own, and names are relative to the
    folder that holds all of them.
    """
    folders = [folder or _images_of(source) for source in sources]
    common = os.path.commonpath(list(map(os.path.abspath, folders)))
    merged: dict[str, AnnotatedImage] = {}
    classes: dict[str, None] = {}
    for source, own in zip(sources, folders):
        below = os.path.relpath(own, common).replace(os.sep, '/')
        found, names = read_coco_annotations(source, ImageFolder(own), errors)
        classes.update(dict.fromkeys(names))
        for image in found:
            name = image.name if below == '.' else f'{below}/{image.name}'
            known = merged.get(name)
            merged[name] = image._replace(name=name) if known is None else \
                _with(known, image.annotations, source, errors.notes)
    return list(merged.values()), list(classes), folder or common


def _images_of(source: str) -> str:
    folder = find_image_folder(source)
    if folder is None:
        raise UserError(f'no images beside {source}: name their folder with '
                        '--images')
    return folder


def _with(image: AnnotatedImage, annotations: list[Annotation], source: str,
          notes: AnnotationErrors) -> AnnotatedImage:
    known = {(item.label, item.box) for item in image.annotations}
    new = [item for item in annotations if (item.label, item.box) not in known]
    for item in annotations:
        if (item.label, item.box) in known:
            notes.add('object that an earlier file has, too, left out',
                      f'{source}, {shown(item.where)}')
    return image._replace(annotations=image.annotations + new)
