"""``model.json``: all that has to be known to use an exported model."""
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
# Of the keys below; a change that old readers misunderstand counts it up.
SCHEMA = 1
UNVERIFIED = '.unverified'
BYTES = 2 ** 24
# What this process has written by itself, and is about to verify.
_own: ContextVar[frozenset[Path]] = ContextVar('own', default=frozenset())


@dataclass
class Description:
    """An exported model, in plain values.

    Attributes:
        task (str): ``detection``, ``segmentation``, ``classification`` or
            ``features``.
        model (str): What it is, in words.
        format (str): ``onnx``, ``openvino`` and so on.
        files (list[str]): Names of its files, the one to open first.
        precision (str): ``float32``, ``float16`` or ``int8``.
        classes (list[str]): Names of the classes, by label.
        palette (list[list[int]]): Their colours, RGB.
        input (dict): ``name``, ``layout``, ``dtype``, ``range``,
            ``channel_order``, ``shape`` (a word where any size is fine),
            ``least_size``, and ``mean`` and ``std``, which the model applies
            by itself.
        padding (dict): ``divisor`` and ``value`` of what is added at the
            right and at the bottom after the normalization, ``by`` the
            ``model`` itself or the ``runtime``.
        prepare (list[dict]): What is done to an image before, in order.
        outputs (list[dict]): ``name`` and ``shape`` of each.
        decoding (dict): Of detectors: thresholds, and of raw ones how boxes
            are made of the maps. Of segmentors with one class: the
            ``threshold``.
        host (dict): ``scope`` and ``pipeline`` of the library that the model
            is of, and ``score_thr`` of its pictures.
        versions (dict): Of what wrote it.
        sha256 (dict): Of the checkpoint and of the files.
        verification (dict): ``verdict`` and what it is founded on.
        schema (int): Of this file.
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
        """Height and width of the input, None if any is fine."""
        height, width = self.input['shape'][2:]
        return None if isinstance(height, str) else (height, width)

    @property
    def batch(self) -> int | None:
        """Images in a call, None if any number is fine."""
        batch = self.input['shape'][0]
        return None if isinstance(batch, str) else batch

    @property
    def multiple(self) -> int:
        """Sides have to be multiples of it in front of the model."""
        by_model = self.padding['by'] == 'model'
        return 1 if by_model else self.padding['divisor']

    def write(self, folder: Path) -> None:
        """Write the file."""
        values = dict(schema=self.schema, **{
            key: value for key, value in asdict(self).items()
            if key != 'schema'})
        (folder / FILE).write_text(
            json.dumps(values, indent=1) + '\n', encoding='utf-8')

    def check(self) -> None:
        """Whether a reader will take it."""
        _check(asdict(self), 'the description of this model')


def is_exported(folder: str | Path) -> bool:
    """Whether this is the folder of an exported model."""
    if not isinstance(folder, (str, os.PathLike)):
        raise UserError(f'a path is needed, not {type(folder).__name__}: '
                        'name the file')
    try:
        return (Path(folder) / FILE).is_file()
    # Of a NUL in the name, or of a name that is too long.
    except (OSError, ValueError):
        return False


@contextmanager
def allow_unverified(folder: Path) -> Iterator[None]:
    """Take a folder for right that this process has just written."""
    before = _own.set(_own.get() | {folder.resolve()})
    try:
        yield
    finally:
        _own.reset(before)


def is_being_verified(folder: str | Path) -> bool:
    """Whether this process has written the folder, and verifies it now."""
    return Path(folder).resolve() in _own.get()


def read_description(folder: str | Path) -> Description:
    """Read what is known about an exported model, and check its files."""
    exported, folder = is_exported(folder), Path(folder)
    if not exported:
        inside = sorted(str(file.parent) for file in folder.glob(f'*/{FILE}'))
        raise UserError(f'{folder} holds no exported model (no {FILE})' + (
            f'; did you mean {inside[0]}?' if inside else ''))
    file = folder / FILE
    values = _read(_inside(folder, FILE))
    schema = values.get('schema')
    if type(schema) is not int:
        raise UserError(f'{file} is damaged: it has no schema')
    if schema != SCHEMA:
        raise UserError(f'{file} is of schema {schema}, and this '
                        f'mmlowformer reads {SCHEMA}: update it, or export '
                        'again')
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
            file.read_bytes().decode(), object_pairs_hook=_once,
            parse_constant=_no_number)
        # Half of a surrogate pair is no text, and can be printed nowhere.
        json.dumps(values, ensure_ascii=False).encode()
        if not isinstance(values, dict):
            raise ValueError('it is no record')
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{file} is damaged: {first_line(error)[:200]}') \
            from error
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError('a key is there twice')
    return values


def _no_number(text: str) -> None:
    raise ValueError(f'{text} is no number')


def _check(values: dict, problem: str) -> None:
    try:
        check(values)
    except ValueError as error:
        raise UserError(f'{problem}: {error}') from error


def _inside(folder: Path, name: str) -> Path:
    """A file, where no link leads out of the folder."""
    file = folder / name
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    # Links in a circle.
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
            raise UserError(f'{file} is not what was exported (its sha256 '
                            f'differs from {FILE}): export again')
    elif file.with_name(file.name + UNVERIFIED).exists():
        raise UserError(f'{file} did not pass its verification, see '
                        f'"verification" in {folder / FILE}')
    else:
        raise UserError(f'{file} is missing, or no file')


def sha256(file: str | Path) -> str:
    """Checksum of a file."""
    with open(file, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest() if hasattr(
            hashlib, 'file_digest') else hashlib.sha256(
                stream.read()).hexdigest()
