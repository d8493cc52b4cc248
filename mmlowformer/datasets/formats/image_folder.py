"""Folders of images, and what is found to be wrong in them."""
import os
from collections import Counter, defaultdict
from pathlib import PurePosixPath

from ...errors import UserError, first_line, shown
from ..checks.masks import upright_size
from ..paths import IMAGES, files_below


class Faults:
    """What is wrong, counted by its kind, with an example of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, fault: str, example: str) -> None:
        """Count a fault."""
        self.counts[fault] += 1
        self.examples.setdefault(fault, shown(example))

    def lines(self) -> list[str]:
        """Each kind in a line."""
        return [f'{count} x {fault}, first: {self.examples[fault]}'
                for fault, count in self.counts.items()]

    def check(self, source: str, remedy: str = '') -> None:
        """End with an error, if there is a fault."""
        if self.counts:
            raise UserError(f'{source}: {"; ".join(self.lines())}'
                            + (f'. {remedy}' if remedy else ''))


class ImageFolder:
    """The images of a folder, found by what annotations call them.

    A name with folders is one below the folder, or below some that lead to
    it; a mere name is that of an image in any of its folders.
    """

    def __init__(self, folder: str):
        if not os.path.isdir(folder):
            raise UserError(f'{folder} is no folder of images')
        self.folder = folder
        self.names, self.hidden = files_below(folder, IMAGES)
        if not self.names:
            raise UserError(f'{folder} holds no images')
        self._known = set(self.names)
        self._folders = {parent.as_posix() for name in self.names
                         for parent in PurePosixPath(name).parents}
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._last: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            stem = os.path.splitext(name)[0]
            self._whole[stem].append(name)
            for key in (name, stem):
                self._last[os.path.basename(key)].append(name)

    def find(self, called: str, faults: Faults, where: str) -> str | None:
        """The image that is meant by a name."""
        found = self._meant(called.replace('\\', '/').removeprefix('./'))
        if len(found) == 1:
            return found[0]
        if found:
            faults.add('image name that several images have',
                       f'{called} ({where}): {found[0]} and {found[1]}')
        else:
            faults.add(f'image that is not in {self.folder}',
                       f'{called} ({where})')
        return None

    def _meant(self, called: str) -> list[str]:
        parts = called.split('/')
        # Paths of another machine have folders in front.
        for start in range(len(parts)):
            key = '/'.join(parts[start:])
            if key in self._known:
                return [key]
            if key in self._whole:
                return self._whole[key]
            # What is missing in train/ is not the image of val/.
            if parts[start] in self._folders:
                return []
        return [] if len(parts) > 1 else self._last.get(called, [])

    def knows_folder_of(self, called: str) -> bool:
        """Whether a name says in which of the folders its image is."""
        return any(part in self._folders for part in
                   called.replace('\\', '/').split('/')[:-1])

    def beside(self, called: str, folder: str) -> str:
        """A name as it is meant in an annotation file of a sub-folder."""
        within = folder in self._folders and '/' not in called
        return f'{folder}/{called}' if within else called

    def path(self, name: str) -> str:
        """Path of an image."""
        return os.path.join(self.folder, name)

    def size(self, name: str, faults: Faults) -> tuple[int, int] | None:
        """Width and height of an image."""
        path = self.path(name)
        try:
            height, width = upright_size(path)
        except (OSError, UserError) as error:
            reason = ('it is empty (0 bytes)' if not os.path.getsize(path)
                      else first_line(error).replace(repr(path), 'it')
                      .replace(f'image {path}', 'it'))
            faults.add('image that cannot be read', f'{path}, {reason}')
            return None
        return width, height
