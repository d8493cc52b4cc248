"""YOLO: a text file for each image, with shares of its width and height."""
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import yaml

from ...errors import UserError, first_line, shown
from ..paths import check_regular, check_unlike, read_lines
from .annotations import (
    Picture,
    Shape,
    annotation_files,
    box_around,
    gathered,
    number,
)
from .image_folder import Faults, ImageFolder

DESCRIPTIONS = ('data.yaml', 'data.yml')
NAMES = (*DESCRIPTIONS, 'classes.txt', 'obj.names')
# Shares that are beyond 0 to 1 by no more are rounded ones.
ROUNDING = 0.01
AMBIGUOUS = ('line that may be a box and its key points (if all are polygons: '
             '--polygons)')


def read_yolo(source: str, images: ImageFolder, faults: Faults, *,
              classes_file: str | None = None, labelled_only: bool = False,
              polygons: bool = False, **_) -> tuple[list[Picture], list[str]]:
    """Read YOLO's text files, of boxes or of polygons."""
    file = Path(classes_file) if classes_file else _classes_file(source)
    classes = _classes(file)
    check_unlike(classes, file)
    description = _beside(source, DESCRIPTIONS)
    if description and _classes(description) != classes and not classes_file:
        raise UserError(f'{file} and {description} name other classes, or in '
                        'another order: say which with --classes-file')
    described = _is_yaml(file) or description is not None
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
    for shape in [] if polygons else _ambiguous(lines, described):
        faults.add(AMBIGUOUS, shape.where)
    return (gathered(shapes, images, faults, labelled_only=labelled_only),
            classes)


def _beside(source: str, names: tuple[str, ...]) -> Path | None:
    folder = Path(source).resolve()
    return next((parent / name for parent in
                 (folder, *list(folder.parents)[:2]) for name in names
                 if (parent / name).is_file()), None)


def _classes_file(source: str) -> Path:
    found = _beside(source, NAMES)
    if found:
        return found
    raise UserError(f'{source}: YOLO numbers its classes, their names are in '
                    f'{", ".join(NAMES[:1] + NAMES[2:])} or the like. Name '
                    'that file with --classes-file')


def _classes(file: Path) -> list[str]:
    check_regular(file)
    if not _is_yaml(file):
        return read_lines(file)
    try:
        return _names(_description(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f'{file} does not name the classes: '
                        f'{first_line(error)}') from error


def _is_yaml(file: Path) -> bool:
    return file.suffix.lower() in ('.yaml', '.yml')


class _Loader(yaml.SafeLoader):
    """Of keys that are there twice, YAML takes the last in silence."""

    def construct_mapping(self, node, deep=False):
        count = len(node.value)
        merged = any(key.tag.endswith(':merge') for key, _ in node.value)
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < count and not merged:
            raise yaml.constructor.ConstructorError(
                None, None, 'a key is there twice', node.start_mark)
        return mapping


def _description(file: Path) -> dict:
    text = file.read_text(encoding='utf-8')
    try:
        content = yaml.load(text, _Loader)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise
    # Of PyYAML, for what is not of the kind that its tag says.
    except Exception as error:
        raise ValueError('a value is not what its tag says') from error
    if not isinstance(content, dict):
        raise ValueError('it holds no names: [...]')
    if 'kpt_shape' in content:
        raise ValueError('kpt_shape says that the labels are key points, and '
                         'these cannot be converted')
    return content


def _names(content: dict) -> list[str]:
    names = content.get('names')
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise ValueError('names does not number the classes from 0')
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(
            isinstance(name, (str, int, float)) for name in names):
        raise ValueError('names is no list of names')
    if any(isinstance(name, bool) for name in names):
        raise ValueError('YAML reads yes, no, on and off as truth values: put '
                         'quotes around such names')
    if content.get('nc', len(names)) != len(names):
        raise ValueError(f'nc is {shown(content["nc"], 40)}, names has '
                         f'{len(names)}')
    return list(map(str, names))


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
        if not words[0].removeprefix('-').isdecimal():
            raise ValueError(f'{shown(repr(words[0]), 60)} is no number of a '
                             'class')
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


def _ambiguous(lines: list[tuple[Shape, tuple[int, int]]], described: bool
               ) -> list[Shape]:
    """Polygons that may be boxes and key points.

    A polygon may look like that by chance, most of a set do not. All key
    points of a set are of one number.
    """
    groups = defaultdict(list)
    for shape, size in lines:
        polygon, = cast(list, shape.segmentation)
        groups[len(polygon)].append((shape, _numbers_of_points(polygon, size)))
    most = max(map(len, groups.values()), default=0)
    found = []
    for group in groups.values():
        like = [(shape, numbers) for shape, numbers in group if numbers]
        many = len(group) == most and 2 * len(like) > most
        # The third number says whether a point is visible: that is no chance.
        found += [shape for shape, numbers in like
                  if numbers == 3 or many or not described]
    return found


def _numbers_of_points(polygon: list[float], size: tuple[int, int]) -> int:
    """Numbers of each point behind a box, 0 if it cannot be such a line."""
    values = np.array(polygon).reshape(-1, 2) / size
    (center, sides), rest = values[:2], values.reshape(-1)[4:]
    low, high = center - sides / 2, center + sides / 2
    for count in (3, 2):
        if len(rest) % count:
            continue
        points = rest.reshape(-1, count)
        seen = points[(points[:, :2] != 0).any(1)]
        if ((seen[:, :2] >= low - ROUNDING).all()
                and (seen[:, :2] <= high + ROUNDING).all()
                and (low > -ROUNDING).all() and (high < 1 + ROUNDING).all()
                and np.isin(points[:, 2:], (0, 1, 2)).all()):
            return count
    return 0
