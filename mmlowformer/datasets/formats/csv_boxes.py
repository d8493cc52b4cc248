"""CSV with a line for each box."""
import csv
from collections.abc import Iterator

from ...errors import AnnotationErrors, UserError, first_line, shown
from ..paths import check_regular
from .annotations import Annotation, Annotations, number
from .image_folder import ImageFolder

FILE = ('filename', 'file_name', 'file', 'image', 'image_name', 'image_path',
        'img_path', 'path')
LABEL = ('class', 'label', 'class_name', 'category', 'category_name', 'name')
CORNERS = (('xmin', 'ymin', 'xmax', 'ymax'), ('x1', 'y1', 'x2', 'y2'),
           ('x_min', 'y_min', 'x_max', 'y_max'),
           ('left', 'top', 'right', 'bottom'))
SIDES = (('x', 'y', 'width', 'height'), ('x', 'y', 'w', 'h'),
         ('left', 'top', 'width', 'height'))
DELIMITERS = ',;\t|'


def read_csv(source: str, images: ImageFolder, errors: AnnotationErrors, **_
             ) -> tuple[Annotations, None]:
    """Read a table with a line for each box."""
    annotations: Annotations = {}
    for index, row, columns in _rows(source):
        where = f'{source}, line {index}'
        name = images.find(row[columns[0]].strip(), errors, where)
        if name is None:
            continue
        found = annotations.setdefault(name, [])
        values = [(row[column] or '').strip() for column in columns[2:]]
        if None in row:
            errors.add('line with more columns than the first', where)
        elif any(values):
            with errors.collect('line without a box of four numbers', where):
                label = (row[columns[1]] or '').strip()
                found.append(Annotation(label, _box(values, columns),
                                        where=where))
    return annotations, None


def _rows(source: str) -> Iterator[tuple[int, dict, list[str]]]:
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


def _columns(source: str, names) -> list[str]:
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
