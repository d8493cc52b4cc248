"""Label Studio: a JSON file of tasks, with coordinates in percent."""
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from ...errors import shown, some_of
from .annotations import Annotation, Annotations, number
from .files import ReadErrors, annotation_files, read_json
from .image_folder import ImageFolder
from .shapes import (
    ORIENTED,
    Part,
    ellipse,
    join_parts,
    polygon_of,
    rectangle,
    rotated,
)

# Put before the names of uploaded files.
UPLOADED = re.compile(r'(?:^|(?<=/))[0-9a-f]{8}-')


def read_label_studio(source: str, images: ImageFolder, errors: ReadErrors,
                      **_) -> tuple[Annotations, None]:
    """Read rectangles, polygons and ellipses of JSON or JSON-MIN."""
    annotations: Annotations = {}
    for file, _stem in annotation_files(source, '.json', errors):
        with errors.collect('file that is not of Label Studio', str(file),
                            OSError, RecursionError):
            tasks = _tasks(read_json(file))
            if not any(map(_is_answered, tasks)):
                tasks = [_accepted(task) for task in tasks]
                errors.notes.add('file without annotations, of which the '
                                 'predictions are read', str(file))
            for index, task in enumerate(tasks, 1):
                where = f'{file}, task {shown(task.get("id", index), 40)}'
                name = _find_image(task, images, where, errors)
                size = name and images.size(name)
                if not name or not size:
                    continue
                regions = _regions(task, where, errors)
                if name in annotations:
                    errors.add('image with a second task',
                               f'{name} ({where})')
                if regions is not None:
                    annotations[name] = _objects(regions, name, size, images,
                                                 where, errors)
    return annotations, None


def _tasks(content: object) -> list[dict]:
    tasks = _dicts(content if isinstance(content, list) else [content])
    if not all(isinstance(task.get('data'), dict) or 'image' in task
               for task in tasks):
        raise ValueError('it is not a list of tasks: export it as JSON')
    return tasks


def _is_answered(task: dict) -> bool:
    return 'data' not in task or not task.get('predictions') or bool(
        task.get('annotations') or task.get('completions'))


def _accepted(task: dict) -> dict:
    """A task whose prediction, from a model, is its annotation."""
    return dict(task, annotations=_dicts(task['predictions'])[:1])


def _find_image(task: dict, images: ImageFolder, where: str,
                errors: ReadErrors) -> str | None:
    data = task.get('data', task)
    paths = [data.get('image'), *data.values()]
    called = next((path for path in paths if isinstance(path, str) and path),
                  '')
    address = urlsplit(called)
    # /data/local-files/?d=folder/a.jpg
    named = parse_qs(address.query).get('d', [unquote(address.path)])[0]
    uploaded = UPLOADED.sub('', named)
    # Uploaded files have got a new name, those of an export keep it.
    found = images.find(named) or images.find(uploaded) or images.find(
        uploaded.rpartition('/')[2])
    return found or images.find(named, errors, where)


def _regions(task: dict, where: str, errors: ReadErrors) -> list | None:
    """The first annotator's result, None if nobody has finished the task."""
    if 'data' not in task:
        # JSON-MIN: all but the regions of the image are other answers.
        lists = [value for value in task.values() if isinstance(value, list)
                 and all(isinstance(item, dict) for item in value)]
        return [region for value in lists for region in value]
    done = [item for item in _dicts(task.get('annotations')
                                    or task.get('completions'))
            if not item.get('was_cancelled')]
    if len(done) > 1:
        errors.notes.add('task with several annotations, of which the first '
                         'is used', where)
    return _dicts(done[0].get('result')) if done else None


def _dicts(items: object) -> list[dict]:
    if items is None:
        return []
    if not isinstance(items, list) or not all(
            isinstance(item, dict) for item in items):
        raise ValueError('tasks, annotations and results must be lists of '
                         'objects')
    return items


def _objects(regions: list, name: str, size: tuple[int, int],
             images: ImageFolder, where: str, errors: ReadErrors
             ) -> list[Annotation]:
    found = []
    values = list(_shapes(regions, where, errors))
    for index, (region, value, label) in enumerate(values, 1):
        place = f'{where}, region {index}'
        # The size of the image is beside the values, or in JSON-MIN among
        # them.
        said = region.get('original_width'), region.get('original_height')
        if all(said) and index == 1:
            images.check_size(said, name, place, errors)
        with errors.collect('shape without an area', place):
            found.append(_annotation(value, label, size, place, errors))
    return found


def _shapes(regions: list, where: str, errors: ReadErrors
            ) -> Iterator[tuple[dict, dict, str]]:
    """Regions with an area, their values and classes."""
    labels = {}
    for region in regions:
        value = region.get('value', region)
        if isinstance(value, dict) and (label := _label(value, where, errors)):
            labels[shown(region.get('id'))] = label
    seen = set()
    for region in regions:
        value, identity = region.get('value', region), shown(region.get('id'))
        if not isinstance(value, dict):
            raise ValueError(f'a value is {shown(repr(value), 60)}')
        is_shape = {'x', 'y', 'width', 'height'} <= value.keys() \
            or 'points' in value or 'radiusX' in value
        if not is_shape or 'rle' in value:
            kind = shown(region.get('type', 'region'), 40)
            errors.notes.add('region without a shape that is read, left out',
                             f'{where}, {kind}')
        # A rectangle and its labels are two regions with an id.
        elif 'id' not in region or identity not in seen:
            seen.add(identity)
            yield region, value, (_label(value, where, errors)
                                  or labels.get(identity, ''))


def _label(value: dict, where: str, errors: ReadErrors) -> str:
    for key, names in value.items():
        if key.lower().endswith('labels') and isinstance(names, list):
            if not all(isinstance(name, str) for name in names):
                raise ValueError(f'{key} is {shown(repr(names), 60)}')
            if len(names) > 1:
                errors.notes.add('region with several classes, of which the '
                                 'first is used', f'{where}, {some_of(names)}')
            return names[0].strip() if names else ''
    return ''


def _annotation(value: dict, label: str, size: tuple[int, int], where: str,
                errors: ReadErrors) -> Annotation:
    width, height = size
    if 'points' in value:
        polygon = [item * size[index % 2] / 100 for index, item in
                   enumerate(polygon_of(value['points']))]
        return join_parts([Part(label, [polygon], where)])[0]
    x, y = (number(value.get(key)) * side / 100
            for key, side in zip('xy', size))
    degrees = number(value.get('rotation') or 0)
    if 'radiusX' in value:
        polygon = ellipse(x, y, number(value['radiusX']) * width / 100,
                          number(value.get('radiusY')) * height / 100, degrees)
        return join_parts([Part(label, [polygon], where)])[0]
    right = x + number(value['width']) * width / 100
    bottom = y + number(value['height']) * height / 100
    if not degrees % 360:
        return Annotation(label, (x, y, right, bottom), where=where)
    errors.notes.add(ORIENTED, where)
    # It turns around its upper left corner.
    polygon = rotated(rectangle(x, y, right, bottom), (x, y), degrees)
    return join_parts([Part(label, [polygon], where)])[0]
