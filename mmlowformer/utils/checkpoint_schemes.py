"""Checkpoints from safetensors files, the Hugging Face hub and URLs."""
import errno
import hashlib
import http.client
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag, urlparse
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from ..errors import UserError, first_line

HUB_PREFIX = 'hf-hub:'
HUB_FILE = 'model.safetensors'
# Variants whose ImageNet weights timm has on the hub.
PUBLISHED = ('b0', 'b1', 'b15', 'b3', 'e1', 'e2', 'e3')
# How to get weights of a variant that has none.
TRAIN_THEM = ('Train them with lowformer_{0}_in1k, then add --weights '
              'work_dirs/lowformer_{0}_in1k/epoch_320.pth')
SHA256 = re.compile('[0-9a-f]{64}')
SECONDS_WITHOUT_A_BYTE = 60
# Headers that identify the version of a file.
VERSION_HEADERS = ('ETag', 'Last-Modified')
CHUNK = 2**20
# Errors of the disk, not of the connection.
OF_DISK = (errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.ENOSPC,
           errno.ENOTDIR, errno.EPERM, errno.EROFS)


class FetchError(UserError):
    """Weights on the hub or behind a URL could not be downloaded."""


def published_weights(arch: object) -> str | None:
    """The name on the hub of a variant's ImageNet weights, if published."""
    # The paper writes B1.5.
    name = str(arch).lower().replace('.', '')
    return (f'{HUB_PREFIX}timm/lowformer_{name}.in1k' if name in PUBLISHED
            else None)


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
    return load_from_safetensors(hub_file(filename), map_location)


def hub_file(name: str) -> str:
    """The local file of weights on the hub, downloaded if necessary.

    A file in the hub's cache is used as it is, without asking the server.
    """
    repository = name.removeprefix(HUB_PREFIX)
    try:
        return _cached_or_downloaded(repository)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_DISK:
            raise UserError(
                f'{name} could not be kept ({error.strerror}): set HF_HOME '
                'to a folder that can be written') from error
        reason = f'{type(error).__name__}: {first_line(error)}'
        if isinstance(error, ImportError):
            reason += '; pip install huggingface_hub safetensors'
        server = os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'
        raise FetchError(
            f'{name} could not be fetched ({reason}). Download '
            f'{server.rstrip("/")}/{repository}/resolve/main/{HUB_FILE} by '
            'hand and name that file instead') from error


def _cached_or_downloaded(repository: str) -> str:
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )
    cached = try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(cached, str):
        return cached
    # Unlike hf_hub_download, this fails at once without a network.
    size = get_hf_file_metadata(hf_hub_url(repository, HUB_FILE)).size
    print_log(f'Downloading {HUB_PREFIX}{repository}{_megabytes(size)}',
              'current')
    # It locks, shows its progress, and goes on after a lost connection.
    file = Path(hf_hub_download(repository, HUB_FILE))
    _check_sha256(file)
    return str(file)


def _megabytes(size: int | None) -> str:
    return f' ({size / 1e6:.0f} MB)' if size else ''


def _check_sha256(file: Path) -> None:
    """Compare a file of the hub's cache with the hash that names it."""
    stored = file.resolve()
    if not SHA256.fullmatch(stored.name):
        return
    digest = hashlib.sha256()
    with stored.open('rb') as content:
        for chunk in iter(partial(content.read, CHUNK), b''):
            digest.update(chunk)
    if digest.hexdigest() == stored.name:
        return
    for damaged in (file, stored):
        damaged.unlink(missing_ok=True)
    raise UserError(f'{file} arrived damaged and was deleted: repeat the '
                    'command to download it again')


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
        raise FetchError(f'checkpoint {url} could not be fetched: {reason}. '
                         'Name a file instead')
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
        if _is_complete(file, response.headers):
            print_log(f'{url}: fetched before, taken from {file}', 'current')
            return file
        with _cache_errors(folder):
            file.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(folder.with_suffix('.lock')):
            # Another one may have downloaded it meanwhile.
            if not _is_complete(file, response.headers):
                _download(url, response, file)
    print_log(f'{url}: fetched to {file}', 'current')
    return file


@contextmanager
def _one_process(file: Path) -> Iterator[None]:
    """Let one process of this machine download, while the others wait."""
    lock = FileLock(file)
    # Some file systems have no locks.
    with _cache_errors(file), suppress(NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _version(headers: Message) -> str:
    return _digest(''.join(headers.get(name) or ''
                           for name in VERSION_HEADERS))


def _is_complete(file: Path, headers: Message) -> bool:
    return (file.is_file() and file.parent.name != _digest('')
            and str(file.stat().st_size)
            == (headers.get('Content-Length') or '').strip())


def _download(url: str, response: http.client.HTTPResponse, file: Path
              ) -> None:
    """Download under another name, or go on with an interrupted download."""
    part = file.with_name(f'{file.name}.partial')
    keep = file.parent.name != _digest('')  # Its version is known.
    done = part.stat().st_size if keep and part.is_file() else 0
    try:
        if 0 < done < int(response.headers.get('Content-Length') or 0):
            with urlopen(_rest_of(url, response.headers, done),
                         timeout=SECONDS_WITHOUT_A_BYTE) as rest:
                _receive(url, rest, part)
        else:
            _receive(url, response, part)
        with _cache_errors(file):
            part.replace(file)
    except UserError:
        keep = False
        raise
    finally:
        if not keep:
            part.unlink(missing_ok=True)


def _rest_of(url: str, headers: Message, done: int) -> Request:
    """Ask for the rest of a file, or for all of it if it has changed."""
    version = next(headers[name] for name in VERSION_HEADERS
                   if name in headers)
    return Request(url, headers={'Range': f'bytes={done}-',
                                 'If-Range': version})


def _receive(url: str, response: http.client.HTTPResponse, part: Path
             ) -> None:
    from .terminal import download_bar
    partial_content = response.status == http.client.PARTIAL_CONTENT
    done = part.stat().st_size if partial_content else 0
    length = response.headers.get('Content-Length')
    total = done + int(length) if length else None
    print_log(f'Downloading {url}{_megabytes(total)}'
              + (f', from byte {done} on' if done else ''), 'current')
    with _cache_errors(part):
        target = part.open('ab' if done else 'wb', buffering=0)
    with target, download_bar(part.stem, total, done) as advance:
        for chunk in iter(partial(response.read, CHUNK), b''):
            advance(len(chunk))
            with _cache_errors(part):
                # A nearly full disk writes only a part.
                while chunk:
                    chunk = chunk[target.write(chunk):]
    # Python does not report a connection that ends early.
    size = part.stat().st_size
    if total is not None and size != total:
        raise OSError(f'the connection ended after {size} of {total} bytes')


@contextmanager
def _cache_errors(file: Path) -> Iterator[None]:
    """Tell errors of the disk from errors of the connection."""
    try:
        yield
    except OSError as error:
        raise UserError(f'{file} cannot be written ({error.strerror}): set '
                        'TORCH_HOME to a folder that can be') from error
