"""Checkpoints from safetensors files, the Hugging Face hub and URLs."""
import errno
import hashlib
import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag, urlparse
from urllib.request import urlopen
from uuid import uuid4

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from ..errors import UserError, first_line

HUB_PREFIX = 'hf-hub:'
HUB_FILE = 'model.safetensors'
SECONDS_WITHOUT_A_BYTE = 60
# Headers that identify the version of a file.
VERSION_HEADERS = ('ETag', 'Last-Modified')
CHUNK = 2**20
# Errors of the disk, not of the connection.
OF_DISK = (errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.ENOSPC,
           errno.ENOTDIR, errno.EPERM, errno.EROFS)


# MMEngine treats prefixes as regular expressions.
@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """Load the state dict in a local safetensors file."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(f'{filename} needs: pip install safetensors') \
            from error
    return load_file(filename, device=str(map_location or 'cpu'))


@CheckpointLoader.register_scheme(prefixes=HUB_PREFIX)
def load_from_hub(filename: str, map_location=None) -> dict:
    """Load the state dict of ``hf-hub:REPOSITORY``, or of its local copy."""
    repository = filename.removeprefix(HUB_PREFIX)
    try:
        from huggingface_hub import hf_hub_download
        path = hf_hub_download(repository, HUB_FILE)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_DISK:
            raise RuntimeError(
                f'{filename} could not be kept ({error.strerror}): set '
                'HF_HOME to a folder that can be written') from error
        raise RuntimeError(
            f'{filename} could not be fetched ({type(error).__name__}). With '
            'network and "pip install huggingface_hub" it is fetched '
            f'automatically; else get {HUB_FILE} of '
            f'https://huggingface.co/{repository} by hand and set '
            'checkpoint=PATH.') from error
    return load_from_safetensors(path, map_location)


def fetched(url: str) -> Path:
    """Download a file, or find the copy of its current version.

    The cache keys are the whole URL and the version that the server names.
    Without a version the file is downloaded each time.
    """
    name = Path(urlparse(url).path).name
    if not name:
        raise UserError(f'{url} names no file')
    folder = Path(torch.hub.get_dir(), 'checkpoints',
                  _digest(urldefrag(url).url))
    try:
        return _current_copy(url, folder, name)
    except HTTPError as error:
        reason: object = f'{error.code} {error.reason}'
        # The server answers that it has no such file.
        copy = None if error.code < 500 else _newest(folder, name)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        reason = getattr(reason, 'strerror', None) or (
            first_line(reason) if isinstance(reason, Exception) else reason)
        copy = _newest(folder, name)
    if copy is None:
        raise UserError(f'checkpoint {url} could not be fetched: {reason}')
    print_log(f'{url}: the server cannot be reached ({reason}); using the '
              f'earlier download {copy}', 'current',
              level=logging.WARNING)
    return copy


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _newest(folder: Path, name: str) -> Path | None:
    copies = [file for file in folder.glob('*/*') if file.name == name]
    return max(copies, key=lambda file: file.stat().st_mtime_ns, default=None)


def _current_copy(url: str, folder: Path, name: str) -> Path:
    with urlopen(url, timeout=SECONDS_WITHOUT_A_BYTE) as response:
        file = folder / _version(response.headers) / name
        size = response.headers.get('Content-Length')
        if (file.is_file() and file.parent.name != _digest('')
                and str(file.stat().st_size) == (size or '').strip()):
            print_log(f'{url}: fetched before, taken from {file}', 'current')
            return file
        with _cache_errors(folder):
            file.parent.mkdir(parents=True, exist_ok=True)
        _download(response, file)
    print_log(f'{url}: fetched to {file}', 'current')
    return file


def _version(headers: Message) -> str:
    return _digest(''.join(headers.get(name) or ''
                           for name in VERSION_HEADERS))


def _download(response: http.client.HTTPResponse, file: Path) -> None:
    """Rename the file when it is complete.

    Several processes may download the same file at a time.
    """
    part = file.with_name(f'{uuid4().hex}.partial')
    received = 0
    try:
        with _cache_errors(file):
            target = part.open('wb', buffering=0)
        with target:
            for chunk in iter(partial(response.read, CHUNK), b''):
                received += len(chunk)
                with _cache_errors(file):
                    # A nearly full disk writes only a part.
                    while chunk:
                        chunk = chunk[target.write(chunk):]
        expected = response.headers.get('Content-Length')
        # Python does not report a connection that ends early.
        if expected and received != int(expected):
            raise OSError(f'the connection ended after {received} of '
                          f'{expected} bytes')
        with _cache_errors(file):
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _cache_errors(file: Path) -> Iterator[None]:
    """Tell errors of the disk from errors of the connection."""
    try:
        yield
    except OSError as error:
        raise UserError(f'{file} cannot be written ({error.strerror}): set '
                        'TORCH_HOME to a folder that can be') from error
