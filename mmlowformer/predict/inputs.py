"""Find the images and videos named on a command line."""
import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from ..datasets.paths import IMAGES
from ..errors import UserError, similar

VIDEOS = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
          '.ts', '.webm', '.wmv')
# Files of a run, and of a run before they were added.
RESULTS = ('run.json', 'predictions.json')


@dataclass
class Inputs:
    """Image files; video files, stream URLs or camera numbers; notes."""

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Add a file by its suffix; images may have any."""
        kind = self.videos if _suffix(path) in VIDEOS else self.images
        if path not in kind:
            kind.append(path)


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
    elif os.path.isfile(argument):
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
    for parent, folders, files in os.walk(folder):
        # Results of earlier runs are no inputs.
        results = [name for name in folders
                   if any(os.path.isfile(os.path.join(parent, name, result))
                          for result in RESULTS)]
        earlier += len(results)
        folders[:] = sorted(set(folders) - set(results))
        for name in sorted(files):
            path = os.path.join(parent, name)
            if os.path.exists(path) and not os.path.isfile(path):
                # Reading a named pipe would never end.
                inputs.notes.append(f'{path} is no regular file')
            elif _suffix(name) in IMAGES + VIDEOS:
                inputs.add(path)
            else:
                ignored.append(name)
        if not recursive:
            closed = len(folders)
            break
    for number, what in (
            (len(ignored), 'file(s) without a suffix of images or videos, '
             f'such as {"".join(ignored[:1])}'),
            (earlier, 'sub-folder(s) with results of earlier runs'),
            (closed, 'sub-folder(s); -r includes them')):
        if number:
            inputs.notes.append(f'{folder}: ignored {number} {what}')


def _add_listed(inputs: Inputs, lines: Iterable[str], source: str) -> None:
    """Add one file for each line, relative to here or to the list."""
    for line in filter(None, map(str.strip, lines)):
        near = os.path.join(os.path.dirname(source), line)
        path = next(filter(os.path.isfile, (line, near)), None)
        if path is None:
            raise UserError(f'input not found: {line}, named in {source}')
        inputs.add(path)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _hint(path: str) -> str:
    parent, name = os.path.split(path)
    if not os.path.isdir(parent or '.'):
        return f' (folder {parent} does not exist)'
    return similar(name, os.listdir(parent or '.'))
