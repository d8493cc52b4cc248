"""Results on disk: pictures, masks, crops, and one file of records."""
import hashlib
import json
import os
import re
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..errors import UserError
from ..utils.files import check_new_folder, replace_text
from .inputs import RECORDS
from .results import Detections, Result, Segmentation

# Bytes of a file's name, of which most file systems take 255; a number may
# have to be added.
LONGEST_NAME, LONGEST_SUFFIX = 240, 16
# What pictures are written as; others become PNG.
WRITABLE = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')


def output_folder(named: str | None, default: str) -> Path:
    """Where results go, without touching earlier ones."""
    if named:
        check_new_folder(named)
        return Path(named)
    folder, number = Path(default), 1
    while os.path.lexists(folder) and (
            not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = Path(f'{default}-{number}')
    return folder


class Numbering:
    """The numbers that images and classes have in a file of annotations."""

    def __init__(self, ann_file: str | None, classes: list[str]):
        self._file = ann_file
        self._images: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        if ann_file is None:
            return
        try:
            content = json.loads(Path(ann_file).read_text(encoding='utf-8'))
            self._images = {image['file_name']: image['id']
                            for image in content['images']}
            self._categories = {category['name']: category['id']
                                for category in content['categories']}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f'--ann-file {ann_file} cannot be read as '
                            f'annotations in COCO\'s format: {error!r}'
                            ) from error
        missing = [name for name in classes if name not in self._categories]
        if missing:
            raise UserError(f'--ann-file {ann_file} has no category '
                            f'{missing[0]!r}, which the model predicts')

    def image(self, name: str, position: int) -> int:
        """Number of an image."""
        if self._file is None:
            return position + 1
        parts = Path(name).parts
        # From the whole path down to the name alone.
        for start in range(len(parts)):
            found = self._images.get('/'.join(parts[start:]))
            if found is not None:
                return found
        raise UserError(f'image {name} is not in {self._file}')

    def apply(self, record: dict, image: int) -> dict:
        """A record with the numbers."""
        category = self._categories.get(record.get('category_name', ''))
        return dict(record, image_id=image, **(
            {} if category is None else dict(category_id=category)))


class Writer:
    """Writes results while the next ones are being predicted."""

    def __init__(self, folder: Path, numbering: Numbering,
                 records: str | None = None, *, pictures: bool = True,
                 crops: bool = False, ahead: int = 2):
        self.folder, self.numbering = folder, numbering
        self.file = Path(records) if records else folder / RECORDS
        self.pictures, self.crops, self.ahead = pictures, crops, ahead
        self.written: Counter = Counter()
        self._taken: set[str] = set()
        self._records: list[tuple[tuple, list[dict]]] = []
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'cannot write to {folder}: {error}') from error

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, *_) -> None:
        """Finish, also after an error or Ctrl-C: what is done is kept."""
        self._pool.shutdown()
        self._records.sort(key=lambda item: item[0])
        replace_text(self.file, json.dumps(
            [record for _, records in self._records for record in records]))
        self.wait()

    def add(self, position: int, name: str, result: Result) -> None:
        """Take in the result of an image."""
        image = self.numbering.image(result.name, position)
        self.record((position, ), [
            self.numbering.apply(dict(record, file_name=name), image)
            for record in result.json()])
        self.later(self._write, name, result)

    def later(self, do: Callable[..., None], *arguments) -> None:
        """Do something meanwhile, one thing after the other."""
        # Pictures never pile up, and errors are seen.
        self.wait(self.ahead)
        self._waiting.append(self._pool.submit(do, *arguments))

    def wait(self, count: int = 0) -> None:
        """Wait until there is less to do."""
        while len(self._waiting) > count:
            self._waiting.popleft().result()

    def free(self, kind: str, name: str) -> Path:
        """A file that no other result has."""
        wanted = file = self.folder / kind / short_path(name)
        number = 1
        # Some file systems take large and small letters for the same.
        while str(file).lower() in self._taken:
            number += 1
            file = wanted.with_stem(f'{wanted.stem}-{number}')
        self._taken.add(str(file).lower())
        return file

    def record(self, place: tuple, records: list[dict]) -> None:
        """Take in records."""
        self._records.append((place, records))

    def _write(self, name: str, result: Result) -> None:
        if self.pictures:
            stem, suffix = os.path.splitext(name)
            known = suffix.lower() in WRITABLE
            self._save(result.draw(), 'pictures',
                       name if known else f'{name}.png')
        if isinstance(result, Segmentation):
            # Below its whole name: a.jpg and a.png are two images.
            self._save(result.indexed(), 'masks', f'{name}.png')
        if self.crops and isinstance(result, Detections):
            for number, (crop, label) in enumerate(
                    zip(result.crops(), result.names), 1):
                self._save(crop, 'crops', os.path.join(
                    file_name(label), f'{name}-{number}.png'))

    def _save(self, picture, kind: str, name: str) -> None:
        file = self.free(kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
        self.written[kind] += 1


def short_path(path: str) -> Path:
    """A path whose parts file systems take."""
    return Path(*map(_short_name, Path(path).parts))


def _short_name(name: str) -> str:
    # Undecodable bytes are too much for encoders of videos, for example.
    whole = os.fsencode(name)
    name = whole.decode(errors='replace')
    if len(name.encode()) <= LONGEST_NAME:
        return name
    suffix = os.path.splitext(name)[1]
    if len(suffix.encode()) > LONGEST_SUFFIX:
        suffix = ''
    tail = f'-{hashlib.sha256(whole).hexdigest()[:8]}{suffix}'
    # Characters are not cut in the middle.
    room = LONGEST_NAME - len(tail.encode())
    return name.encode()[:room].decode(errors='ignore') + tail


def file_name(text: str) -> str:
    """A text as a name of a file or folder."""
    return re.sub(r'[^\w.+-]+', '_', text).strip('.') or '_'
