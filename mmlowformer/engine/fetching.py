"""Checkpoints that are named by a URL."""
import http.client
import shutil
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import url2pathname, urlopen
from uuid import uuid4

import torch
from mmengine.logging import print_log

from ..errors import UserError, first_line
from ..weights.reading import check_checkpoint

SECONDS_WITHOUT_A_BYTE = 60


def local_checkpoint(source: str) -> str:
    """The file of a checkpoint, fetched if it is on another machine.

    Args:
        source (str): A file, ``file://``, ``http://`` or ``https://``. Other
            schemes, such as ``hf-hub:``, are left as they are.

    Returns:
        str: The file, which holds a state dict, or what was given.

    Raises:
        UserError: If it cannot be fetched or read.
    """
    scheme = urlparse(source).scheme.lower()
    if scheme == 'file':
        source = _file_of(source)
    if scheme not in ('http', 'https'):
        check_checkpoint(source)
        return source
    file = str(_fetched(source))
    try:
        check_checkpoint(file)
    except UserError as error:
        raise UserError(f'{error}. It is a copy of {source}: delete it to '
                        'fetch it again') from error
    return file


def _file_of(url: str) -> str:
    parsed = urlparse(url)
    if parsed.netloc not in ('', 'localhost'):
        raise UserError(f'{url}: a file of this machine has three slashes, '
                        'file:///folder/file.pth')
    return url2pathname(parsed.path)


def _fetched(url: str) -> Path:
    """A file's copy in the cache that torch and MMEngine have for it."""
    name = Path(urlparse(url).path).name
    if not name:
        raise UserError(f'{url} names no file')
    file = Path(torch.hub.get_dir(), 'checkpoints', name)
    if file.exists():
        print_log(f'{url}: fetched before, taken from {file}', 'current')
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _download(url, file)
    except HTTPError as error:
        raise _failed(url, f'{error.code} {error.reason}') from error
    except URLError as error:
        reason = error.reason
        raise _failed(url, getattr(reason, 'strerror', None) or reason) \
            from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _failed(url, first_line(error)) from error
    print_log(f'{url}: fetched to {file}', 'current')
    return file


def _download(url: str, file: Path) -> None:
    """Give a file its name only when it is complete.

    Several processes may do so at a time, to the same effect.
    """
    partial = file.with_name(f'{file.name}.{uuid4().hex}.partial')
    try:
        with partial.open('wb') as target, urlopen(
                url, timeout=SECONDS_WITHOUT_A_BYTE) as response:
            shutil.copyfileobj(response, target)
            expected = response.headers.get('Content-Length')
            # Python does not mind if a connection ends before.
            if expected and target.tell() != int(expected):
                raise OSError(f'the connection ended after {target.tell()} of '
                              f'{expected} bytes')
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _failed(url: str, reason: object) -> UserError:
    return UserError(f'checkpoint {url} could not be fetched: {reason}')
