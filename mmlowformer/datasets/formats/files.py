"""Files of annotations, read without trusting them."""
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from ...errors import AnnotationErrors, UserError
from ..paths import files_below


class ReadErrors(AnnotationErrors):
    """Errors in annotations, and notes on what is left out or changed."""

    def __init__(self) -> None:
        super().__init__()
        self.notes = AnnotationErrors()


def annotation_files(source: str, suffix: str, errors: ReadErrors
                     ) -> Iterator[tuple[Path, Path]]:
    """Annotation files, and their paths below the source without suffix."""
    path = Path(source)
    if not path.is_file() and not path.is_dir():
        raise UserError(f'{source} does not exist')
    names, hidden = files_below(path, (suffix, )) if path.is_dir() else (
        [path.name], 0)
    if not names:
        raise UserError(f'{source} holds no file that ends in {suffix}')
    for _ in range(hidden):
        errors.notes.add(f'hidden {suffix} file left out', source)
    base = path if path.is_dir() else path.parent
    for name in names:
        yield base / name, Path(name).with_suffix('')


def read_json(file: Path) -> object:
    """Parse a JSON file, with or without a byte order mark."""
    return json.loads(file.read_text(encoding='utf-8-sig'))


class _PlainXML(ElementTree.TreeBuilder):
    """Refuses document types, whose entities may expand without end."""

    def doctype(self, *_) -> NoReturn:
        raise ValueError('it has a DOCTYPE, which is not read: delete that '
                         'part')


def read_xml(file: Path, errors: AnnotationErrors
             ) -> ElementTree.Element | None:
    """Parse an XML file without a document type."""
    with errors.collect('invalid XML file', str(file), OSError, LookupError,
                        ElementTree.ParseError):
        parser = ElementTree.XMLParser(target=_PlainXML())
        return ElementTree.parse(file, parser).getroot()
    return None
