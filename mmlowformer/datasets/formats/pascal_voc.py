"""Pascal VOC: an XML file for each image."""
from pathlib import Path
from xml.etree import ElementTree

from ...errors import first_line
from .annotations import (
    Picture,
    Shape,
    agreed,
    annotation_files,
    gathered,
    number,
)
from .image_folder import Faults, ImageFolder

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def read_voc(source: str, images: ImageFolder, faults: Faults, *,
             labelled_only: bool = False, zero_based: bool = False,
             **_) -> tuple[list[Picture], None]:
    """Read VOC's XML files.

    VOC counts pixels from 1, and a box includes its last ones: what is 1 to
    10 there has its edges at 0 and 10. ``difficult`` objects are ignored in
    training and testing, as COCO's crowds are.
    """
    shapes: dict[str, list[Shape]] = {}
    for file in annotation_files(source, '.xml'):
        root = _root(file, faults)
        if root is None:
            continue
        name = _image(root, file, source, images, faults)
        if name is None:
            continue
        if name in shapes:
            faults.add('image with a second file', f'{name} ({file})')
        _check_size(root, file, name, images, faults)
        shapes[name] = [
            shape for index, item in enumerate(root.findall('object'), 1)
            if (shape := _shape(item, f'{file}, object {index}', faults,
                                0 if zero_based else 1))]
    return gathered(shapes, images, faults, labelled_only=labelled_only), None


def _root(file: Path, faults: Faults) -> ElementTree.Element | None:
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        faults.add('file that is no XML', f'{file}, {first_line(error)}')
        return None
    if root.tag != 'annotation':
        faults.add('XML file that is no annotation of VOC',
                   f'{file}, of <{root.tag}>')
        return None
    return root


def _image(root: ElementTree.Element, file: Path, source: str,
           images: ImageFolder, faults: Faults) -> str | None:
    base = Path(source) if Path(source).is_dir() else file.parent
    stem = file.relative_to(base).with_suffix('')
    said = (root.findtext('filename') or '').strip()
    named = images.beside(said, stem.parent.as_posix())
    own = (None if images.knows_folder_of(said) else
           images.find(stem.as_posix(), Faults(), ''))
    found = said and (images.find(named, Faults(), '')
                      or own and images.find(said, Faults(), ''))
    # Of renamed images the file keeps the old name.
    name = agreed(found or None, own, file, faults)
    return name or images.find(named or stem.as_posix(), faults, str(file))


def _check_size(root: ElementTree.Element, file: Path, name: str,
                images: ImageFolder, faults: Faults) -> None:
    said = [root.findtext(f'size/{side}') for side in ('width', 'height')]
    size = images.size(name, Faults())
    try:
        pair = tuple(int(number(side)) for side in said if side is not None)
    except ValueError as error:
        faults.add('size that is no width and height',
                   f'{file}, {first_line(error)}')
        return
    # Some tools write 0 for what they do not know.
    if size and len(pair) == 2 and 0 not in pair and pair != size:
        faults.add('size that is not that of the image',
                   f'{file}: {pair[0]}x{pair[1]}, {name} has '
                   f'{size[0]}x{size[1]}')


def _shape(item: ElementTree.Element, where: str, faults: Faults,
           first: int) -> Shape | None:
    try:
        left, top, right, bottom = (
            number(item.findtext(f'bndbox/{corner}')) for corner in CORNERS)
    except ValueError as error:
        faults.add('object without a box of four numbers',
                   f'{where}, {first_line(error)}')
        return None
    label = (item.findtext('name') or '').strip()
    ignored = (item.findtext('difficult') or '0').strip() == '1'
    return Shape(label, (left - first, top - first, right, bottom),
                 ignored=ignored, where=where)
