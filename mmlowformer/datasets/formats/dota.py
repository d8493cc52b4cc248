"""DOTA: a text file for each image, with the corners of oriented boxes."""
from pathlib import Path

from ...errors import shown
from .annotations import Annotation, Annotations, box_around, number
from .files import ReadErrors, annotation_files
from .image_folder import ImageFolder
from .shapes import ORIENTED, is_upright

HEADERS = ('imagesource:', 'gsd:')


def read_dota(source: str, images: ImageFolder, errors: ReadErrors, **_
              ) -> tuple[Annotations, None]:
    """Read corners as polygons and the boxes around them."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.txt', errors):
        lines = _lines(file, errors)
        if not any(_is_box(line) for line in lines) \
                and not images.find(stem.name):
            errors.notes.add('text file without boxes, left out', str(file))
            continue
        parts = ('images' if part.startswith('labelTxt') else part
                 for part in stem.parts)
        name = images.find('/'.join(parts)) or images.find(
            stem.name, errors, str(file))
        if not name:
            continue
        if name in annotations:
            errors.add('image with a second file', f'{name} ({file})')
        annotations[name] = [
            item for index, line in enumerate(lines, 1)
            if line.strip() and not line.lower().startswith(HEADERS)
            and (item := _annotation(line.split(), f'{file}, line {index}',
                                     errors))]
    return annotations, None


def _lines(file: Path, errors: ReadErrors) -> list[str]:
    with errors.collect('file that cannot be read', str(file), OSError):
        return file.read_text(encoding='utf-8-sig').splitlines()
    return []


def _is_box(line: str) -> bool:
    words = line.split()[:8]
    return len(words) == 8 and words[0][-1:].isdigit()


def _annotation(words: list[str], where: str, errors: ReadErrors
                ) -> Annotation | None:
    with errors.collect('line that is not eight coordinates, a class and a '
                        'difficulty', where):
        if len(words) not in (9, 10):
            raise ValueError(f'it has {len(words)} words')
        polygon = [number(word) for word in words[:8]]
        if words[9:] not in ([], ['0'], ['1'], ['2']):
            raise ValueError(f'its difficulty is {shown(repr(words[9]), 60)}')
        if not is_upright(polygon):
            errors.notes.add(ORIENTED, where)
        return Annotation(words[8], box_around([polygon]), [polygon],
                          words[9:] == ['1'], where)
    return None
