"""CSV with a line for each box, and Open Images, which are such files."""
import csv
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError, first_line, shown
from ..paths import check_regular, read_lines
from .annotations import Annotation, Annotations, number
from .files import ReadErrors, annotation_files
from .image_folder import ImageFolder

FILE = ('filename', 'file_name', 'file', 'image', 'image_name', 'image_path',
        'img_path', 'path', 'image_id', 'imageid')
LABEL = ('class', 'label', 'class_name', 'category', 'category_name', 'name',
         'labelname')
CORNERS = (('xmin', 'ymin', 'xmax', 'ymax'), ('x1', 'y1', 'x2', 'y2'),
           ('x_min', 'y_min', 'x_max', 'y_max'),
           ('left', 'top', 'right', 'bottom'))
SIDES = (('x', 'y', 'width', 'height'), ('x', 'y', 'w', 'h'),
         ('left', 'top', 'width', 'height'))
DELIMITERS = ',;\t|'


def read_csv(source: str, images: ImageFolder, errors: ReadErrors, **_
             ) -> tuple[Annotations, None]:
    """Read tables with a line for each box."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.csv', errors):
        _read_table(file, stem.parent.as_posix(), images, errors, annotations)
    return annotations, None


def read_open_images(source: str, images: ImageFolder, errors: ReadErrors, *,
                     classes_file: str | None = None, **_
                     ) -> tuple[Annotations, None]:
    """Read Open Images' boxes, whose classes are codes such as /m/0k4j."""
    file = Path(classes_file) if classes_file else next(
        iter(sorted(Path(source).parent.glob('*class-descriptions*.csv'))),
        None)
    names = dict(_descriptions(file)) if file else {}
    annotations, _none = read_csv(source, images, errors)
    for items in annotations.values():
        for index, item in enumerate(items):
            if names and item.label not in names:
                errors.add(f'class that {file} does not name',
                           f'{item.label} ({item.where})')
            items[index] = item._replace(
                label=names.get(item.label, item.label))
    if not names:
        errors.notes.add('file without names of the classes (name '
                         'class-descriptions-boxable.csv with --classes-file)',
                         source)
    return annotations, None


def _descriptions(file: Path) -> Iterator[tuple[str, str]]:
    for line in read_lines(file):
        code, comma, name = line.partition(',')
        if not comma:
            raise UserError(f'{file} must hold lines of a code, a comma and '
                            f'a name, not {shown(repr(line), 80)}')
        yield code.strip(), name.strip().strip('"')


def _read_table(source: Path, folder: str, images: ImageFolder,
                errors: ReadErrors, annotations: Annotations) -> None:
    for index, row, columns in _rows(source):
        where = f'{source}, line {index}'
        called = images.beside(row[columns[0]].strip(), folder)
        name = images.find(called, errors, where)
        if name is None:
            continue
        found = annotations.setdefault(name, [])
        values = [(row[column] or '').strip() for column in columns[2:]]
        if None in row:
            errors.add('line with more columns than the first', where)
        elif any(values):
            with errors.collect('line without a box of four numbers', where):
                label = (row[columns[1]] or '').strip()
                found.append(Annotation(
                    label, _box(values, columns), where=where,
                    ignored=row.get('IsGroupOf') == '1'))


def _rows(source: Path) -> Iterator[tuple[int, dict, list[str]]]:
    check_regular(source)
    try:
        with open(source, encoding='utf-8-sig', newline='') as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            rows = csv.DictReader(file, delimiter=delimiter)
            columns = _columns(source, rows.fieldnames or [])
            for row in rows:
                if row[columns[0]]:
                    yield rows.line_num, row, columns
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f'{source} cannot be read as CSV: {first_line(error)}'
                        ) from error


def _columns(source: Path, names) -> list[str]:
    """Names of the columns of the file, the class and the four numbers."""
    known = {name.strip().lower(): name for name in names}
    file = next((known[name] for name in FILE if name in known), None)
    label = next((known[name] for name in LABEL if name in known), None)
    box = next((columns for columns in (*CORNERS, *SIDES)
                if all(name in known for name in columns)), None)
    if not file or not label or not box:
        missing = [word for word, found in (
            ('the file (filename)', file), ('the class (class)', label),
            ('the box (xmin, ymin, xmax, ymax, or x, y, width, height)', box))
            if not found]
        raise UserError(
            f'{source} has no column for {" and ".join(missing)}. The first '
            'line must name the columns, but it is: '
            + shown(', '.join(names)))
    return [file, label, *(known[name] for name in box)]


def _box(values: list[str], columns: list[str]) -> tuple[float, ...]:
    left, top, third, fourth = map(number, values)
    if tuple(name.strip().lower() for name in columns[2:]) in SIDES:
        third, fourth = left + third, top + fourth
    return left, top, third, fourth
