"""YOLO: a text file for each image, with coordinates from 0 to 1."""
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import yaml

from ...errors import AnnotationErrors, UserError, first_line, shown
from ..paths import check_distinct, check_regular, read_lines
from .annotations import FRACTION, Annotation, Annotations, box_around, number
from .files import ReadErrors, annotation_files
from .image_folder import ImageFolder

YAML_NAMES = ('data.yaml', 'data.yml')
CLASS_FILES = (*YAML_NAMES, 'classes.txt', 'obj.names')
AMBIGUOUS = ('line that may be a box with key points (if all lines are '
             'polygons: --polygons)')


def read_yolo(source: str, images: ImageFolder, errors: ReadErrors, *,
              classes_file: str | None = None, polygons: bool = False, **_
              ) -> tuple[Annotations, list[str]]:
    """Read YOLO's text files, of boxes or of polygons."""
    file = Path(classes_file) if classes_file else _find_upwards(
        source, CLASS_FILES)
    if not file:
        raise UserError(f'{source}: no file with the names of the classes '
                        '(data.yaml, classes.txt, obj.names) found. Name it '
                        'with --classes-file')
    classes = _read_classes(file)
    check_distinct(classes, file)
    data_yaml = _find_upwards(source, YAML_NAMES)
    if data_yaml and not classes_file and _read_classes(data_yaml) != classes:
        raise UserError(f'{file} and {data_yaml} disagree about the classes '
                        'or their order: choose one with --classes-file')
    annotations: Annotations = {}
    with_polygons: list[tuple[Annotation, tuple[int, int]]] = []
    for path, stem in annotation_files(source, '.txt', errors):
        if path.name in CLASS_FILES or path.resolve() == file.resolve():
            continue
        # Images and labels of a part are in folders side by side.
        called = '/'.join('images' if part == 'labels' else part
                          for part in stem.parts)
        if not images.find(called) and _is_text(path):
            errors.notes.add('text file without boxes, left out', str(path))
            continue
        name = images.find(called, errors, str(path))
        size = name and images.size(name)
        if not name or not size:
            continue
        if name in annotations:
            errors.add('image with a second file', f'{name} ({path})')
        annotations[name] = list(_annotations(path, size, classes, errors))
        with_polygons += [(item, size) for item in annotations[name]
                          if item.segmentation]
    # A data.yaml of key points is refused, so that other lines are no such.
    described = _is_yaml(file) or data_yaml is not None
    for item in [] if polygons else _ambiguous(with_polygons, described):
        errors.add(AMBIGUOUS, item.where)
    return annotations, classes


def _find_upwards(source: str, names: tuple[str, ...]) -> Path | None:
    folder = Path(source).resolve()
    return next((parent / name for parent in
                 (folder, *list(folder.parents)[:2]) for name in names
                 if (parent / name).is_file()), None)


def _is_yaml(file: Path) -> bool:
    return file.suffix.lower() in ('.yaml', '.yml')


def _read_classes(file: Path) -> list[str]:
    check_regular(file)
    if not _is_yaml(file):
        return read_lines(file)
    try:
        return _names(_load_yaml(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = first_line(error)
        raise UserError(f'{file} does not name the classes: {reason}'
                        ) from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses duplicate keys, of which YAML silently takes the last."""

    def construct_mapping(self, node, deep=False):
        count = len(node.value)
        merged = any(key.tag.endswith(':merge') for key, _ in node.value)
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < count and not merged:
            raise yaml.constructor.ConstructorError(
                None, None, 'duplicate key', node.start_mark)
        return mapping


def _load_yaml(file: Path) -> dict:
    text = file.read_text(encoding='utf-8-sig')
    try:
        content = yaml.load(text, _UniqueKeyLoader)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise
    # PyYAML raises anything for a value that does not match its tag.
    except Exception as error:
        raise ValueError('a value does not match its tag') from error
    if not isinstance(content, dict):
        raise ValueError('it holds no names: [...]')
    if 'kpt_shape' in content:
        raise ValueError('its labels are key points (kpt_shape), which cannot '
                         'be converted')
    return content


def _names(content: dict) -> list[str]:
    names = content.get('names')
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise ValueError('names does not number the classes from 0')
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(
            isinstance(name, (str, int, float)) for name in names):
        raise ValueError('names is not a list of names')
    if any(isinstance(name, bool) for name in names):
        raise ValueError('YAML reads yes, no, on and off as booleans: '
                         'quote such names')
    if content.get('nc', len(names)) != len(names):
        raise ValueError(f'nc is {shown(content["nc"], 40)}, names has '
                         f'{len(names)}')
    return list(map(str, names))


def _is_text(path: Path) -> bool:
    """Whether a file holds words, such as README.roboflow.txt."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            words = next((line for line in file if line.strip()), '').split()
    except (OSError, ValueError):
        return False
    return bool(words) and not words[0].lstrip('+-')[:1].isdigit()


def _annotations(path: Path, size: tuple[int, int], classes: list[str],
                 errors: AnnotationErrors) -> Iterator[Annotation]:
    lines: list[str] = []
    with errors.collect('file that cannot be read', str(path), OSError):
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    for index, line in enumerate(lines, 1):
        item = line.strip() and _annotation(
            line.split(), f'{path}, line {index}', size, classes, errors)
        if item:
            yield item


def _annotation(words: list[str], where: str, size: tuple[int, int],
                classes: list[str], errors: AnnotationErrors
                ) -> Annotation | None:
    try:
        # Some tools write the class as 0.0.
        label, *values = map(number, words)
        if label != int(label) or not words[0][-1].isdecimal():
            raise ValueError(f'{shown(repr(words[0]), 60)} is not a class '
                             'number')
    except ValueError as error:
        errors.add('line that is not a class and numbers',
                   f'{where}, {first_line(error)}')
        return None
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        errors.add('line that is neither a box (4 numbers after the class) '
                   'nor a polygon (6, 8, ...)', f'{where}, {len(values)}')
    elif not 0 <= label < len(classes):
        errors.add(f'class number beyond the {len(classes)} named classes',
                   f'{label:g} ({where})')
    elif min(values) < -FRACTION or max(values) > 1 + FRACTION:
        errors.add('coordinate outside 0 to 1 (divide pixels by the width or '
                   'height of the image)', where)
    elif len(values) == 4:
        x, y, width, height = values
        return Annotation(classes[int(label)], (
            (x - width / 2) * size[0], (y - height / 2) * size[1],
            (x + width / 2) * size[0], (y + height / 2) * size[1]),
            where=where)
    else:
        polygon = [value * size[index % 2]
                   for index, value in enumerate(values)]
        return Annotation(classes[int(label)], box_around([polygon]),
                          [polygon], where=where)
    return None


def _ambiguous(lines: list[tuple[Annotation, tuple[int, int]]],
               described: bool) -> list[Annotation]:
    """Polygons that may be boxes with key points."""
    # A single polygon may look like one by chance, most of a set do not. All
    # lines of a set have the same number of key points.
    groups = defaultdict(list)
    for item, size in lines:
        polygon, = cast(list, item.segmentation)
        groups[len(polygon)].append((item, _numbers_per_point(polygon, size)))
    most = max(map(len, groups.values()), default=0)
    found = []
    for group in groups.values():
        alike = [(item, numbers) for item, numbers in group if numbers]
        many = len(group) == most and 2 * len(alike) > most
        # A third number, a point's visibility, does not match by chance.
        found += [item for item, numbers in alike
                  if numbers == 3 or many or not described]
    return found


def _numbers_per_point(polygon: list[float], size: tuple[int, int]) -> int:
    """Numbers of each key point behind a box, 0 if there are none."""
    values = np.array(polygon).reshape(-1, 2) / size
    (center, sides), rest = values[:2], values.reshape(-1)[4:]
    low, high = center - sides / 2, center + sides / 2
    for count in (3, 2):
        if len(rest) % count:
            continue
        points = rest.reshape(-1, count)
        seen = points[(points[:, :2] != 0).any(1)]
        if ((seen[:, :2] >= low - FRACTION).all()
                and (seen[:, :2] <= high + FRACTION).all()
                and (low > -FRACTION).all() and (high < 1 + FRACTION).all()
                and np.isin(points[:, 2:], (0, 1, 2)).all()):
            return count
    return 0
