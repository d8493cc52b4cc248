"""Pascal VOC: an XML file for each image."""
from pathlib import Path
from xml.etree import ElementTree

from ...errors import AnnotationErrors
from .annotations import (
    Annotation,
    Annotations,
    are_fractions,
    check_same_image,
    number,
)
from .files import ReadErrors, annotation_files, read_xml
from .image_folder import ImageFolder

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def read_voc(source: str, images: ImageFolder, errors: ReadErrors, *,
             zero_based: bool = False, **_) -> tuple[Annotations, None]:
    """Read VOC's XML files; ``difficult`` objects become COCO's crowds."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.xml', errors):
        root = _root(file, errors)
        name = root is not None and _find_image(root, file, stem, images,
                                                errors)
        if root is None or not name:
            continue
        if name in annotations:
            errors.add('image with a second file', f'{name} ({file})')
        _check_size(root, file, name, images, errors)
        annotations[name] = [
            item for index, node in enumerate(root.findall('object'), 1)
            if (item := _annotation(node, f'{file}, object {index}', errors))]
    if not zero_based and not are_fractions(annotations.values()):
        annotations = {name: list(map(_from_zero, items))
                       for name, items in annotations.items()}
    return annotations, None


def _from_zero(item: Annotation) -> Annotation:
    # VOC counts pixels from 1 and includes the last one: its box from 1 to 10
    # has its edges at 0 and 10.
    left, top, right, bottom = item.box
    return item._replace(box=(left - 1, top - 1, right, bottom))


def _root(file: Path, errors: AnnotationErrors
          ) -> ElementTree.Element | None:
    root = read_xml(file, errors)
    if root is None or root.tag == 'annotation':
        return root
    errors.add('XML file that is not a VOC annotation',
               f'{file}, of <{root.tag}>')
    return None


def _find_image(root: ElementTree.Element, file: Path, stem: Path,
                images: ImageFolder, errors: AnnotationErrors) -> str | None:
    said = (root.findtext('filename') or '').strip()
    named = images.beside(said, stem.parent.as_posix())
    own = (None if images.knows_folder_of(said) else
           images.find(stem.as_posix()))
    found = said and (images.find(named) or own and images.find(said))
    # The file of a renamed image keeps the old name.
    name = check_same_image(found or None, own, file, errors)
    return name or images.find(named or stem.as_posix(), errors, str(file))


def _check_size(root: ElementTree.Element, file: Path, name: str,
                images: ImageFolder, errors: AnnotationErrors) -> None:
    said = [root.findtext(f'size/{side}') for side in ('width', 'height')]
    with errors.collect('invalid width or height', str(file)):
        size = tuple(int(number(side)) for side in said if side is not None)
        # Some tools write 0 for an unknown size.
        if len(size) == 2 and 0 not in size:
            images.check_size(size, name, str(file), errors)


def _annotation(node: ElementTree.Element, where: str,
                errors: AnnotationErrors) -> Annotation | None:
    with errors.collect('object without a box of four numbers', where):
        left, top, right, bottom = (
            number(node.findtext(f'bndbox/{corner}')) for corner in CORNERS)
        return Annotation(
            (node.findtext('name') or '').strip(),
            (left, top, right, bottom), where=where,
            ignored=(node.findtext('difficult') or '').strip() == '1')
    return None
