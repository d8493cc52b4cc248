"""Write results: pictures, masks, crops, and one file of records."""
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ..datasets.checks.coco_annotations import read_coco
from ..errors import UserError
from ..runtime.results import Detections, Result, Segmentation
from ..utils.files import check_new_folder, replace_text, unused
from .file_names import file_name, short_path
from .inputs import RECORDS
from .video import FORMAT, VideoWriter

# Formats of pictures; others become PNG.
WRITABLE = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')


def output_folder(named: str | None, default: str) -> Path:
    """Choose a new or empty folder."""
    if named:
        check_new_folder(named)
        return Path(named)
    return unused(default, lambda folder: os.path.lexists(folder) and (
        not folder.is_dir() or any(folder.iterdir())))


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

    def apply(self, record: dict, image_id: int) -> dict:
        """Add the ids to a record."""
        category = self._categories.get(record.get('category_name', ''),
                                        record.get('category_id'))
        ids = {} if category is None else dict(category_id=category)
        return dict(record, image_id=image_id, **ids)


class Writer:
    """Writes results while the next images are predicted."""

    def __init__(self, folder: Path, ids: CocoIdMapper,
                 records: str | None = None, *, pictures: bool = True,
                 crops: bool = False, ahead: int = 2):
        self.folder, self.ids = folder, ids
        self.file = Path(records) if records else folder / RECORDS
        self.pictures, self.crops, self.ahead = pictures, crops, ahead
        self.written: Counter = Counter()
        self._taken: set[str] = set()
        # Sorted by the positions of images and frames in the end.
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
        """Write the records, also after an error or Ctrl-C."""
        self._pool.shutdown()
        self._records.sort(key=lambda item: item[0])
        replace_text(self.file, json.dumps(
            [record for _, records in self._records for record in records]))
        self.wait()

    def add(self, position: int, name: str, result: Result) -> None:
        """Add the result of an image."""
        image_id = self.ids.image_id(result.name, position)
        self._records.append(((position, ), [
            self.ids.apply(dict(record, file_name=name), image_id)
            for record in result.json()]))
        self.later(self._write, name, result)

    @contextmanager
    def video(self, name: str, fps: float, position: int = 0
              ) -> Iterator[Callable[[int, Result], None]]:
        """Yield a function that adds the result of a frame, by its index."""
        suffix = '' if name.lower().endswith(FORMAT) else FORMAT
        copy = VideoWriter(self.free('videos', name + suffix), fps)

        def add(index: int, result: Result) -> None:
            if self.pictures:
                self.later(copy.add, result)
            self._records.append(((position, index), [
                dict(record, file_name=name, image_id=index + 1)
                for record in result.json()]))

        try:
            yield add
        finally:
            self.wait()
            copy.close()

    def later(self, do: Callable[..., None], *arguments) -> None:
        """Run a function in another thread, in order."""
        # Pictures do not pile up, and errors are raised.
        self.wait(self.ahead)
        self._waiting.append(self._pool.submit(do, *arguments))

    def wait(self, count: int = 0) -> None:
        """Wait until at most ``count`` tasks are left."""
        while len(self._waiting) > count:
            self._waiting.popleft().result()

    def free(self, kind: str, name: str) -> Path:
        """Choose a file that no other result has."""
        # Some file systems ignore case.
        file = unused(self.folder / kind / short_path(name),
                      lambda file: str(file).lower() in self._taken)
        self._taken.add(str(file).lower())
        return file

    def _write(self, name: str, result: Result) -> None:
        if self.pictures:
            stem, suffix = os.path.splitext(name)
            known = suffix.lower() in WRITABLE
            self._save(result.draw(), 'pictures',
                       name if known else f'{name}.png')
        if isinstance(result, Segmentation):
            # a.jpg and a.png are two images.
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
