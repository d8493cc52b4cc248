"""A folder of images, and how annotations refer to them."""
import os
from functools import cached_property
from pathlib import PurePosixPath

from ...errors import AnnotationErrors, UserError, first_line, shown
from ...utils.images import upright_size
from ..paths import files_below

# Characters of a path on Linux: each of its ends is looked up.
LONGEST_PATH = 4096


def find_image_folder(source: str) -> str | None:
    """The folder of an annotation file's, or an exported folder's, images.

    It is ``images`` in the source or beside it, else the folder itself.
    """
    path = os.path.abspath(source)
    beside = os.path.dirname(path)
    own = path if os.path.isdir(path) else beside
    for folder in (os.path.join(own, 'images'),
                   os.path.join(beside, 'images')):
        if os.path.isdir(folder):
            return folder
    return own if os.path.isdir(own) and files_below(own)[0] else None


class ImageFolder:
    """Finds the images of a folder by the names that annotations use."""

    def __init__(self, folder: str):
        if not os.path.isdir(folder):
            raise UserError(f'{folder} is not a folder of images')
        self.folder = folder
        self.names, self.hidden = files_below(folder)
        if not self.names:
            raise UserError(f'{folder} holds no images')
        self._sizes: dict[str, tuple[int, int]] = {}

    # The names of a million images are indexed only for annotations that need
    # it.
    @cached_property
    def _known(self) -> set[str]:
        return set(self.names)

    @cached_property
    def _folders(self) -> set[str]:
        folders = map(PurePosixPath, {os.path.dirname(name)
                                      for name in self.names})
        return {parent.as_posix() for folder in folders
                for parent in (folder, *folder.parents)}

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(os.path.splitext(name)[0], []).append(name)
        return found

    @cached_property
    def _by_basename(self) -> dict[str, list[str]]:
        """By bare names with and without suffix."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            for key in (name, os.path.splitext(name)[0]):
                found.setdefault(os.path.basename(key), []).append(name)
        return found

    def find(self, called: str, errors: AnnotationErrors | None = None,
             where: str = '') -> str | None:
        """Find the image that an annotation names."""
        found = self._matches(called.replace('\\', '/').removeprefix('./'))
        if len(found) == 1:
            return found[0]
        if errors and found:
            errors.add('ambiguous image name',
                       f'{called} ({where}): {found[0]} and {found[1]}')
        elif errors:
            errors.add(f'image that is not in {self.folder}',
                       f'{called} ({where})')
        return None

    def find_moved(self, called: str, size: tuple | None) -> str | None:
        """Find an image that has another path, but its name and size.

        Another size is another picture, such as a drawing of predictions.
        """
        found = self.find(called)
        return found if found and size in (None, self.size(found)) else None

    def _matches(self, called: str) -> list[str]:
        # Paths of another machine have folders in front.
        parts = called[-LONGEST_PATH:].split('/')
        for start in range(len(parts)):
            key = '/'.join(parts[start:])
            if key in self._known:
                return [key]
            if key in self._by_stem:
                return self._by_stem[key]
            # What is missing in train/ is not the image of val/.
            if parts[start] in self._folders:
                return []
        # A bare name may be in any sub-folder.
        return [] if len(parts) > 1 else self._by_basename.get(called, [])

    def knows_folder_of(self, called: str) -> bool:
        """Whether a name contains one of the sub-folders."""
        return any(part in self._folders for part in
                   called.replace('\\', '/').split('/')[:-1])

    def beside(self, called: str, folder: str) -> str:
        """Resolve a bare name against the annotation file's sub-folder."""
        within = folder in self._folders and '/' not in called
        return f'{folder}/{called}' if within else called

    def path(self, name: str) -> str:
        """Path of an image."""
        return os.path.join(self.folder, name)

    def size(self, name: str, errors: AnnotationErrors | None = None
             ) -> tuple[int, int] | None:
        """Width and height of an image, None if it cannot be read."""
        if name in self._sizes:
            return self._sizes[name]
        path = self.path(name)
        try:
            height, width = upright_size(path)
        except (OSError, UserError) as error:
            if errors:
                reason = first_line(error).replace(repr(path), 'it').replace(
                    f'image {path}', 'it')
                errors.add('image that cannot be read', f'{path}, {reason}')
            return None
        return self._sizes.setdefault(name, (width, height))

    def check_size(self, said: tuple, name: str, where: str,
                   errors: AnnotationErrors) -> None:
        """Compare the size in an annotation file with the image's."""
        size = self.size(name)
        if size and said != size:
            errors.add(
                'size that differs from the image',
                f'{where}: {"x".join(shown(side, 20) for side in said)}, '
                f'{name} has {size[0]}x{size[1]}')
