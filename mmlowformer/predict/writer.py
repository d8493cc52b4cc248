"""Write results: pictures, masks, crops, and a line for each image."""
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedWriter, FileIO, UnsupportedOperation
from pathlib import Path

from PIL.Image import registered_extensions

from ..datasets.checks.coco_annotations import read_coco
from ..errors import UserError, first_line
from ..runtime.results import Detections, Result, Segmentation
from ..utils.files import LineFile
from .file_names import copy_name, file_name, picture_name, short_path
from .result_lines import line_of
from .video import VideoWriter


class UnwritableError(UserError):
    """A full disk, or a folder that cannot be written: the run ends."""


class _Stream(BufferedWriter):
    """A file that Pillow lets Python write.

    It ignores that a full disk takes only a part of what it writes itself.
    """

    def fileno(self) -> int:
        raise UnsupportedOperation


class CocoIdMapper:
    """Gives images and classes the ids of an annotation file."""

    def __init__(self, ann_file: str | None = None,
                 classes: Iterable[str] = ()):
        self._file = ann_file
        self._images: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        if ann_file is None:
            return
        content = read_coco(ann_file)
        self._images = {image['file_name']: image['id']
                        for image in content['image_records']}
        self._categories = dict(zip(content['categories'],
                                    content['category_ids']))
        missing = [name for name in classes if name not in self._categories]
        if missing:
            raise UserError(f'--ann-file {ann_file} has no category '
                            f'{missing[0]!r}, which the model predicts')

    def image_id(self, name: str, position: int) -> int:
        """Id of an image."""
        if self._file is None:
            return position + 1
        parts = Path(name).parts
        # The annotations may contain only the end of the path.
        for start in range(len(parts)):
            image_id = self._images.get('/'.join(parts[start:]))
            if image_id is not None:
                return image_id
        raise UserError(f'image {name} is not in {self._file}')

    def category(self, record: dict) -> dict:
        """Replace the id of the class in a record."""
        category = self._categories.get(record.get('category_name', ''))
        return (record if category is None else
                dict(record, category_id=category))


class Writer:
    """Writes results while the next images are predicted.

    The line of an image is appended when its pictures are complete.
    """

    def __init__(self, lines: Path, ids: CocoIdMapper,
                 folder: Path | None = None, *,
                 pictures: bool = True, crops: bool = False, ahead: int = 2):
        self.lines, self.ids, self.folder = lines, ids, folder or lines.parent
        self.pictures, self.crops, self.ahead = pictures, crops, ahead
        self.written: Counter = Counter()
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        self._file = LineFile(lines)

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()
        self._file.close()
        # A killed process may have left one of any format.
        for part in self.lines.parent.glob(f'{self.lines.stem}.part.*'):
            part.unlink()
        self.wait()

    def add(self, position: int, name: str, result: Result,
            file: str | None = None) -> None:
        """Add the result of an image.

        Args:
            position (int): Number of the input, from 0.
            name (str): Name in the records.
            result (Result): The result.
            file (str, optional): Name of its pictures. Defaults to ``name``.
        """
        image_id = self.ids.image_id(result.name, position)
        self.later(self._write, file or name, result, dict(
            position=position, file_name=name, image_id=image_id))

    @contextmanager
    def video(self, name: str, fps: float, position: int = 0,
              file: str | None = None
              ) -> Iterator[Callable[[int, Result], None]]:
        """Yield a function that adds the result of a frame, by its index."""
        copy = VideoWriter(self.folder / 'videos' / short_path(
            copy_name(file or name)), fps)
        frames = 0

        def write(number: int, result: Result) -> None:
            if self.pictures:
                copy.add(result)
            self._append(result, position=position, frame=number,
                         file_name=name, image_id=number)

        def add(index: int, result: Result) -> None:
            nonlocal frames
            frames = index + 1
            self.later(write, frames, result)

        try:
            yield add
        finally:
            # In order, also if a task before it fails.
            self._waiting.append(self._pool.submit(copy.close))
            self.wait()
        self.later(self._file.add, line_of(
            position, frames=frames, file_name=name))

    def later(self, do: Callable[..., None], *arguments) -> None:
        """Run a function in another thread, in order."""
        self._waiting.append(self._pool.submit(do, *arguments))
        # Pictures do not pile up, and errors are raised.
        self.wait(self.ahead)

    def wait(self, count: int = 0) -> None:
        """Wait until at most ``count`` tasks are left."""
        while len(self._waiting) > count:
            try:
                self._waiting.popleft().result()
            except OSError as error:
                raise UnwritableError(
                    f'{error.filename or self.folder} cannot be written: '
                    f'{first_line(error)}. What is done is kept: --resume '
                    'continues') from error

    def _write(self, file: str, result: Result, values: dict) -> None:
        if self.pictures:
            self._save(result.draw(), 'pictures', picture_name(file))
        if isinstance(result, Segmentation):
            # a.jpg and a.png are two images.
            self._save(result.indexed(), 'masks', f'{file}.png')
        if self.crops and isinstance(result, Detections):
            for number, (crop, label) in enumerate(
                    zip(result.crops(), result.names), 1):
                self._save(crop, 'crops', os.path.join(
                    file_name(label), f'{file}-{number}.png'))
        self._append(result, **values)

    def _save(self, picture, kind: str, name: str) -> None:
        file = self.folder / kind / short_path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = self.lines.with_suffix(f'.part{file.suffix}')
        with _Stream(FileIO(part, 'w')) as stream:
            picture.save(stream, registered_extensions()[part.suffix.lower()])
        os.replace(part, file)
        self.written[kind] += 1

    def _append(self, result: Result, **values) -> None:
        category, image_id = self.ids.category, values['image_id']
        self._file.add(line_of(**values, predictions=[
            category(dict(record, file_name=values['file_name'],
                          image_id=image_id)) for record in result.json()]))
