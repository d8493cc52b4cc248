"""YOLO: a text file for each image, with shares of its width and height."""
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import yaml

from ...errors import UserError, first_line, shown
from ..paths import check_regular, check_unlike, read_lines
from .records import (
    Faults,
    ImageFolder,
    Picture,
    Shape,
    annotation_files,
    box_around,
    gathered,
    number,
)

NAMES = ('data.yaml', 'data.yml', 'classes.txt', 'obj.names')
# Shares that are beyond 0 to 1 by no more are rounded ones.
ROUNDING = 0.01


def read_yolo(source: str, images: ImageFolder, faults: Faults, *,
              classes_file: str | None = None, labelled_only: bool = False,
              **_) -> tuple[list[Picture], list[str]]:
    """Read YOLO's text files, of boxes or of polygons.

    Args:
        source (str): The folder of the files.
        images (ImageFolder): The images.
        faults (Faults): Is told of what is broken.
        classes_file (str, optional): ``data.yaml``, or a text file with a
            class in each line. Defaults to one that is in the folder of the
            files, or in those around it.
        labelled_only (bool): Whether to leave out images that no file is
            about. Defaults to False.

    Returns:
        tuple[list[Picture], list[str]]: Pictures and classes.

    Raises:
        UserError: If the classes are not known.
    """
    file = Path(classes_file) if classes_file else _classes_file(source)
    classes = _classes(file)
    check_unlike(classes, file)
    shapes: dict[str, list[Shape]] = {}
    lines: list[tuple[Shape, tuple[int, int]]] = []
    for path in annotation_files(source, '.txt'):
        if path.name in NAMES or path.resolve() == file.resolve():
            continue
        base = Path(source) if Path(source).is_dir() else path.parent
        stem = path.relative_to(base).with_suffix('').as_posix()
        name = images.find(stem, faults, str(path))
        size = name and images.size(name, Faults())
        if not name or not size:
            continue
        if name in shapes:
            faults.add('image with a second file', f'{name} ({path})')
        shapes[name] = list(_shapes(path, size, classes, faults))
        lines += [(shape, size) for shape in shapes[name]
                  if shape.segmentation]
    if lines and all(_like_key_points(*line) for line in lines):
        faults.add('line that is a box and key points inside of it, no '
                   'polygon', lines[0][0].where)
    return (gathered(shapes, images, faults, labelled_only=labelled_only),
            classes)


def _classes_file(source: str) -> Path:
    folder = Path(source).resolve()
    for parent in (folder, *list(folder.parents)[:2]):
        for name in NAMES:
            if (parent / name).is_file():
                return parent / name
    raise UserError(f'{source}: YOLO numbers its classes, their names are in '
                    f'{", ".join(NAMES[:1] + NAMES[2:])} or the like. Name '
                    'that file with --classes-file')


def _classes(file: Path) -> list[str]:
    check_regular(file)
    if file.suffix.lower() not in ('.yaml', '.yml'):
        return read_lines(file)
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
        if 'kpt_shape' in content:
            raise ValueError('kpt_shape says that the labels are key points, '
                             'and these cannot be converted')
        names = content['names']
        if isinstance(names, dict):
            names = [names[index] for index in range(len(names))]
        if not isinstance(names, list) or not names or not all(
                isinstance(name, (str, int, float)) for name in names):
            raise ValueError('names is no list of names')
        if content.get('nc', len(names)) != len(names):
            raise ValueError(f'nc is {shown(content["nc"], 40)}, names has '
                             f'{len(names)}')
    except (OSError, ValueError, KeyError, TypeError, RecursionError,
            yaml.YAMLError) as error:
        raise UserError(f'{file} does not name the classes: '
                        f'{first_line(error)}') from error
    return [str(name) for name in names]


def _shapes(path: Path, size: tuple[int, int], classes: list[str],
            faults: Faults) -> Iterator[Shape]:
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, ValueError) as error:
        faults.add('file that cannot be read', f'{path}, {first_line(error)}')
        return
    for index, line in enumerate(lines, 1):
        if line.strip():
            shape = _shape(line.split(), f'{path}, line {index}', size,
                           classes, faults)
            if shape:
                yield shape


def _shape(words: list[str], where: str, size: tuple[int, int],
           classes: list[str], faults: Faults) -> Shape | None:
    try:
        label, values = int(words[0]), [number(word) for word in words[1:]]
    except ValueError as error:
        faults.add('line that is not a class and numbers',
                   f'{where}, {first_line(error)}')
        return None
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        faults.add('line that is neither a box (4 numbers after the class) '
                   'nor a polygon (6, 8, ...)', f'{where}, {len(values)}')
        return None
    if not 0 <= label < len(classes):
        faults.add(f'class beyond the {len(classes)} that have names',
                   f'{label} ({where})')
        return None
    if min(values) < -ROUNDING or max(values) > 1 + ROUNDING:
        faults.add('number that is no share of the image, 0 to 1', where)
        return None
    if len(values) == 4:
        x, y, width, height = values
        return Shape(classes[label], (
            (x - width / 2) * size[0], (y - height / 2) * size[1],
            (x + width / 2) * size[0], (y + height / 2) * size[1]),
            where=where)
    polygon = [value * size[index % 2] for index, value in enumerate(values)]
    return Shape(classes[label], box_around([polygon]), [polygon],
                 where=where)


def _like_key_points(shape: Shape, size: tuple[int, int]) -> bool:
    """Whether a polygon may be a box, and points of two or three numbers.

    A single polygon may look like that by chance, those of a folder do not.
    """
    polygon, = cast(list, shape.segmentation)
    values = np.array(polygon).reshape(-1, 2) / size
    (center, sides), rest = values[:2], values.reshape(-1)[4:]
    low, high = center - sides / 2, center + sides / 2
    for count in (2, 3):
        if len(rest) % count:
            continue
        points = rest.reshape(-1, count)
        seen = points[(points[:, :2] != 0).any(1)]
        if ((seen[:, :2] >= low - ROUNDING).all()
                and (seen[:, :2] <= high + ROUNDING).all()
                and (low > -ROUNDING).all() and (high < 1 + ROUNDING).all()
                and np.isin(points[:, 2:], (0, 1, 2)).all()):
            return True
    return False
