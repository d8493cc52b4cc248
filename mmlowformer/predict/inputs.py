"""Find the images and videos named on a command line."""
import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TextIO

from ..datasets.paths import IMAGES
from ..errors import UserError, similar
from ..utils.text import counted

VIDEOS = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
          '.ts', '.webm', '.wmv')
# Results of a run, and of shards that are not merged. Others have a run.json.
RESULTS = ('predictions.json', 'predictions.jsonl', '.predictions.lock')


@dataclass
class Inputs:
    """Image files; video files, stream URLs or camera numbers; notes."""

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set, repr=False)

    def add(self, path: str) -> None:
        """Add a file by its suffix; images may have any."""
        if path not in self._known:
            self._known.add(path)
            (self.videos if _suffix(path) in VIDEOS else self.images
             ).append(path)


def collect_inputs(arguments: Sequence[str], *, recursive: bool = False,
                   stdin: TextIO | None = None) -> Inputs:
    """Collect images and videos, with notes on ignored files."""
    inputs = Inputs()
    for argument in arguments:
        if argument == '-':
            _add_listed(inputs, stdin or sys.stdin, 'the standard input')
        else:
            _add(inputs, argument, recursive)
    if not inputs.images and not inputs.videos:
        raise UserError('; '.join(('no images or videos found',
                                   *inputs.notes)))
    return inputs


def _add(inputs: Inputs, argument: str, recursive: bool) -> None:
    if os.path.isdir(argument):
        _add_folder(inputs, argument, recursive)
    elif os.path.isfile(argument) and _suffix(argument) == '.txt':
        with open(argument, encoding='utf-8',
                  errors='surrogateescape') as lines:
            _add_listed(inputs, lines, argument)
    elif os.path.isfile(argument) or (
            '://' in argument and _suffix(argument) in IMAGES):
        inputs.add(argument)
    elif argument.isdigit() or '://' in argument:
        inputs.videos.append(argument)
    elif os.path.exists(argument):
        raise UserError(f'input {argument} is no regular file: copy its '
                        'content to one')
    elif found := sorted(glob.glob(argument, recursive=True)):
        for path in filter(os.path.isfile, found):
            inputs.add(path)
    else:
        raise UserError(f'input not found: {argument}{_hint(argument)}')


def _add_folder(inputs: Inputs, folder: str, recursive: bool) -> None:
    ignored, earlier, closed = [], 0, 0
    waiting = [folder]
    while waiting:
        files, folders = _scan(waiting.pop(), inputs.notes)
        # Results of earlier runs are no inputs.
        new = [entry for entry in folders if not any(
            os.path.isfile(os.path.join(entry.path, result))
            for result in RESULTS)]
        earlier += len(folders) - len(new)
        if recursive:
            waiting += [entry.path for entry in reversed(new)
                        if not entry.is_symlink()]
        else:
            closed = len(new)
        for entry in files:
            if not entry.is_file() and os.path.exists(entry.path):
                # Reading a named pipe would never end.
                inputs.notes.append(f'{entry.path} is no regular file')
            elif _suffix(entry.name) in IMAGES + VIDEOS:
                inputs.add(entry.path)
            else:
                ignored.append(entry.name)
    for number, what in (
            (len(ignored), 'file(s) without a suffix of images or videos, '
             f'such as {"".join(ignored[:1])}'),
            (earlier, 'sub-folder(s) with results of earlier runs'),
            (closed, 'sub-folder(s); -r includes them')):
        if number:
            inputs.notes.append(f'{folder}: ignored {number} {what}')


def _scan(folder: str, notes: list[str]
          ) -> tuple[list[os.DirEntry], list[os.DirEntry]]:
    """Files and sub-folders by name, without a call of stat for each."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=attrgetter('name'))
    except OSError as error:
        notes.append(f'folder {folder} cannot be read: {error.strerror}')
        return [], []
    return ([entry for entry in listed if not entry.is_dir()],
            [entry for entry in listed if entry.is_dir()])


def _add_listed(inputs: Inputs, lines: Iterable[str], source: str) -> None:
    """Add one file for each line, relative to here or to the list."""
    missing = []
    for line in filter(None, map(str.strip, lines)):
        near = os.path.join(os.path.dirname(source), line)
        path = next(filter(_is_there, (line, near)), None)
        if path is None:
            missing.append(line)
        else:
            inputs.add(path)
    if missing:
        more = ', ...' if len(missing) > 3 else ''
        raise UserError(f'{counted(len(missing), "input")} not found: '
                        f'{", ".join(missing[:3])}{more}, named in {source}')


def _is_there(path: str) -> bool:
    # Asking a server for each URL would take too long.
    return '://' in path or os.path.isfile(path)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _hint(path: str) -> str:
    parent, name = os.path.split(path)
    if not os.path.isdir(parent or '.'):
        return f' (folder {parent} does not exist)'
    return similar(name, os.listdir(parent or '.'))
