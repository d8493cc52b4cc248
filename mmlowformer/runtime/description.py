"""``model.json``: all that has to be known to use an exported model."""
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UserError

FILE = 'model.json'
# Of the keys below; a change that old readers misunderstand counts it up.
SCHEMA = 1
UNVERIFIED = '.unverified'


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
        """Write the file.

        Args:
            folder (Path): Where to.
        """
        values = dict(schema=self.schema, **{
            key: value for key, value in asdict(self).items()
            if key != 'schema'})
        (folder / FILE).write_text(
            json.dumps(values, indent=1) + '\n', encoding='utf-8')


def is_exported(folder: str | Path) -> bool:
    """Whether this is the folder of an exported model."""
    return (Path(folder) / FILE).is_file()


def read_description(folder: str | Path) -> Description:
    """Read what is known about an exported model, and check its files.

    Args:
        folder (str | Path): The folder.

    Returns:
        Description: The values.

    Raises:
        UserError: If something is missing, changed or not verified.
    """
    folder = Path(folder)
    if not is_exported(folder):
        inside = sorted(str(file.parent) for file in folder.glob(f'*/{FILE}'))
        raise UserError(f'{folder} holds no exported model (no {FILE})' + (
            f'; did you mean {inside[0]}?' if inside else ''))
    try:
        values = json.loads((folder / FILE).read_text(encoding='utf-8'))
        schema = values['schema']
        if schema == SCHEMA:
            description = Description(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{folder / FILE} is damaged: {error}') from error
    if schema != SCHEMA:
        raise UserError(f'{folder / FILE} is of schema {schema}, and this '
                        f'mmlowformer reads {SCHEMA}: update it, or export '
                        'again')
    for name in description.files:
        _check_file(folder / name, description.sha256.get(name))
    return description


def _check_file(file: Path, expected: str | None) -> None:
    if file.is_file():
        if expected and sha256(file) != expected:
            raise UserError(f'{file} is not what was exported (its sha256 '
                            'differs from model.json): export again')
    elif file.with_name(file.name + UNVERIFIED).exists():
        raise UserError(f'{file} did not pass its verification, see '
                        f'"verification" in {file.with_name(FILE)}')
    else:
        raise UserError(f'{file} is missing')


def sha256(file: str | Path) -> str:
    """Checksum of a file.

    Args:
        file (str | Path): The file.

    Returns:
        str: In hexadecimal digits.
    """
    with open(file, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest() if hasattr(
            hashlib, 'file_digest') else hashlib.sha256(
                stream.read()).hexdigest()
