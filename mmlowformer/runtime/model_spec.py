"""``model.json``: all that is needed to use an exported model."""
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from .schema import FAILED, check

FILE = 'model.json'
# Counts up with each change that older readers would misunderstand.
SCHEMA = 1
UNVERIFIED = '.unverified'
BYTES = 2 ** 24
# Folders that this process has written and now verifies.
_own: ContextVar[frozenset[Path]] = ContextVar('own', default=frozenset())


@dataclass
class Description:
    """An exported model, in plain values.

    Attributes:
        task (str): ``detection``, ``segmentation``, ``classification`` or
            ``features``.
        model (str): Types of the model and its backbone.
        format (str): ``onnx``, ``openvino`` and so on.
        files (list[str]): Names of its files, the one to open first.
        precision (str): ``float32``, ``float16`` or ``int8``.
        classes (list[str]): Names of the classes, by label.
        palette (list[list[int]]): Colors of the classes, RGB.
        input (dict): ``name``, ``layout``, ``dtype``, ``range``,
            ``channel_order``, ``shape`` (names for dynamic dimensions),
            ``least_size``, and ``mean`` and ``std``, which the model applies.
        padding (dict): ``divisor`` and ``value`` of the padding at right and
            bottom after the normalization, ``by`` the ``model`` or the
            ``runtime``.
        prepare (list[dict]): Preprocessing steps before the model.
        outputs (list[dict]): ``name`` and ``shape`` of each.
        decoding (dict): Thresholds of detectors and, without NMS, how to
            decode boxes. ``threshold`` of segmentors with one class.
        host (dict): ``scope``, ``pipeline`` and ``score_thr`` of the library
            that the model was trained with.
        versions (dict): Versions of the packages that wrote it.
        sha256 (dict): Checksums of the checkpoint and of the files.
        verification (dict): ``verdict`` and the comparisons behind it.
        schema (int): Version of this file.
    """

    task: str
    model: str
    format: str
    files: list[str]
    precision: str
    classes: list[str]
    palette: list[list[int]]
    input: dict
    padding: dict
    prepare: list[dict]
    outputs: list[dict]
    decoding: dict = field(default_factory=dict)
    host: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    sha256: dict = field(default_factory=dict)
    verification: dict = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the input, None if dynamic."""
        height, width = self.input['shape'][2:]
        return None if isinstance(height, str) else (height, width)

    @property
    def batch(self) -> int | None:
        """Images in a call, None if dynamic."""
        batch = self.input['shape'][0]
        return None if isinstance(batch, str) else batch

    @property
    def multiple(self) -> int:
        """The runtime has to pad sides to multiples of it."""
        by_model = self.padding['by'] == 'model'
        return 1 if by_model else self.padding['divisor']

    def write(self, folder: Path) -> None:
        """Check that a reader will accept it, and write ``model.json``."""
        values = dict(dict(schema=self.schema), **asdict(self))
        _check(values, 'the description of this model')
        (folder / FILE).write_text(
            json.dumps(values, indent=1) + '\n', encoding='utf-8')


def is_exported(folder: str | Path) -> bool:
    """Whether this is the folder of an exported model."""
    if not isinstance(folder, (str, os.PathLike)):
        raise UserError(f'a path is needed, not {type(folder).__name__}: '
                        'name the file')
    try:
        return (Path(folder) / FILE).is_file()
    # The name has a NUL or is too long.
    except (OSError, ValueError):
        return False


@contextmanager
def allow_unverified(folder: Path) -> Iterator[None]:
    """Let this process open a folder that it has just written."""
    before = _own.set(_own.get() | {folder.resolve()})
    try:
        yield
    finally:
        _own.reset(before)


def is_being_verified(folder: str | Path) -> bool:
    """Whether this process has written the folder and now verifies it."""
    return Path(folder).resolve() in _own.get()


def read_description(folder: str | Path) -> Description:
    """Read and check a description and its files."""
    exported, folder = is_exported(folder), Path(folder)
    if not exported:
        inside = sorted(str(file.parent) for file in folder.glob(f'*/{FILE}'))
        raise UserError(f'{folder} has no exported model (no {FILE})' + (
            f'; did you mean {inside[0]}?' if inside else ''))
    file = folder / FILE
    values = _read(_inside(folder, FILE))
    schema = values.get('schema')
    if type(schema) is not int:
        raise UserError(f'{file} is damaged: schema is missing')
    if schema != SCHEMA:
        raise UserError(f'{file} is of schema {schema}, but this mmlowformer '
                        f'reads {SCHEMA}: update it, or export again')
    _check(values, f'{file} is damaged')
    description = Description(**values)
    verdict = description.verification.get('verdict')
    if verdict in (None, FAILED) and not is_being_verified(folder):
        raise UserError(f'{folder} did not pass its verification, see '
                        f'"verification" in {file}: export again')
    for name in description.files:
        _check_file(folder, name, description.sha256[name])
    return description


def _read(file: Path) -> dict:
    try:
        if file.stat().st_size > BYTES:
            raise ValueError(f'it has more than {BYTES} bytes')
        values = json.loads(
            file.read_bytes().decode(), object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant)
        # Lone surrogates cannot be printed.
        json.dumps(values, ensure_ascii=False).encode()
        if not isinstance(values, dict):
            raise ValueError('it is not a record')
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{file} is damaged: {first_line(error)[:200]}') \
            from error
    return values


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError('a key is repeated')
    return values


def _refuse_constant(text: str) -> None:
    raise ValueError(f'{text} is not a number')


def _check(values: dict, problem: str) -> None:
    try:
        check(values)
    except ValueError as error:
        raise UserError(f'{problem}: {error}') from error


def _inside(folder: Path, name: str) -> Path:
    """A file, unless a link leads out of the folder."""
    file = folder / name
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    # Circular links.
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise UserError(f'{file} leads out of its folder: copy the file')
    return file


def _check_file(folder: Path, name: str, expected: str) -> None:
    file = _inside(folder, name)
    if file.is_file():
        try:
            found = sha256(file)
        except OSError as error:
            raise UserError(f'{file} cannot be read: {error}') from error
        if found != expected:
            raise UserError(f'{file} has changed since the export (its sha256 '
                            f'differs from {FILE}): export again')
    elif file.with_name(file.name + UNVERIFIED).exists():
        raise UserError(f'{file} did not pass its verification, see '
                        f'"verification" in {folder / FILE}')
    else:
        raise UserError(f'{file} is missing, or not a file')


def sha256(file: str | Path) -> str:
    """Checksum of a file."""
    digest = hashlib.sha256()
    with open(file, 'rb') as stream:
        while block := stream.read(2 ** 20):
            digest.update(block)
    return digest.hexdigest()
