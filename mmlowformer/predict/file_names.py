"""Unique names of result files that are valid in file systems."""
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

# Bytes of a file name. Most file systems take 255, and a number may follow.
LONGEST_NAME, LONGEST_SUFFIX = 240, 16
# Formats of pictures; others become PNG.
WRITABLE = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')
# Suffix of annotated videos.
FORMAT = '.mp4'


def short_names(paths: Sequence[str]) -> list[str]:
    """Paths relative to the folder that all files share."""
    # s3://bucket/a.jpg is like a file in the folder /s3:/bucket.
    paths = [os.path.abspath(f'/{path}' if '://' in path else path)
             for path in paths]
    if not paths:
        return []
    shared = os.path.commonpath({os.path.dirname(path) for path in paths})
    start = len(os.path.join(shared, ''))
    return [path[start:].replace(os.sep, '/') for path in paths]


def video_names(sources: Sequence[str]) -> list[str]:
    """Unique names of videos."""
    files = [source for source in sources if Path(source).is_file()]
    names = dict(zip(files, short_names(files)))
    return [names.get(source) or (
        f'camera-{source}' if source.isdigit() else file_name(source))
        for source in sources]


def picture_name(name: str) -> str:
    """File of an image's picture."""
    known = os.path.splitext(name)[1].lower() in WRITABLE
    return name if known else f'{name}.png'


def copy_name(name: str) -> str:
    """File of a video's annotated copy."""
    return name if name.lower().endswith(FORMAT) else name + FORMAT


def distinct_names(names: Sequence[str], file_of: Callable[[str], str]
                   ) -> list[str]:
    """Number names whose files would be one, as if case did not count.

    A file has not the name of a folder of others, either.
    """
    folders = _folders_of(names)
    taken = set(folders)
    distinct = []
    for name in names:
        # Path is slow for a million names.
        if len(name) > LONGEST_NAME or not name.isascii():
            name = short_path(name).as_posix()
        stem, suffix = (os.path.splitext(name) if file_of(name) == name
                        else (name, ''))
        for number in count(2):
            file = file_of(name).lower()
            mask = f'{name}.png'.lower()
            if file not in taken and mask not in folders:
                break
            name = f'{stem}-{number}{suffix}'
        taken.add(file)
        distinct.append(name)
    return distinct


def _folders_of(names: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for name in names:
        folder = os.path.dirname(name.lower())
        while folder and folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return folders


def short_path(path: str) -> Path:
    """Shorten the parts of a path for file systems."""
    return Path(*map(_short_name, Path(path).parts))


def _short_name(name: str) -> str:
    # Video encoders fail on undecodable bytes.
    whole = os.fsencode(name)
    name = whole.decode(errors='replace')
    if len(name.encode()) <= LONGEST_NAME:
        return name
    suffix = os.path.splitext(name)[1]
    if len(suffix.encode()) > LONGEST_SUFFIX:
        suffix = ''
    tail = f'-{hashlib.sha256(whole).hexdigest()[:8]}{suffix}'
    # "ignore" drops a character that is cut.
    room = LONGEST_NAME - len(tail.encode())
    return name.encode()[:room].decode(errors='ignore') + tail


def file_name(text: str) -> str:
    """Convert a text to a file name."""
    return re.sub(r'[^\w.+-]+', '_', text).strip('.') or '_'
