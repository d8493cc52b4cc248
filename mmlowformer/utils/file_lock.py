"""One process at a time in a folder."""
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import print_log

from ..errors import UserError, is_first_process

try:
    import fcntl
except ImportError:  # Windows has no lock that ends with a killed process.
    fcntl = None  # type: ignore[assignment]

LOCK = '.training.lock'
# Do not follow a link, and do not wait for a pipe.
FLAGS = (os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
         | getattr(os, 'O_NONBLOCK', 0))


class LockedError(UserError):
    """Another process holds the lock."""


def check_free(work_dir: str | Path) -> None:
    """Check that no other training runs in a work dir."""
    if os.path.lexists(Path(work_dir, LOCK)):
        with work_dir_lock(work_dir):
            pass


@contextmanager
def work_dir_lock(work_dir: str | Path) -> Iterator[None]:
    """Keep other trainings out of a work dir.

    The kernel releases the lock when the process exits, even after a crash.
    The first process of a distributed job holds it for all.
    """
    if not is_first_process():
        yield
        return
    with file_lock(Path(work_dir, LOCK), 'training', '--work-dir'):
        yield


@contextmanager
def file_lock(lock: Path, task: str, option: str, *, shared: bool = False,
              wait: bool = False) -> Iterator[None]:
    """Keep other processes with the same task out of a folder.

    A shared lock keeps out only those that do not share it.
    """
    if fcntl is None:
        yield
        return
    file = _open(lock, option)
    try:
        _lock(file, lock.parent, task, option, shared, wait)
        yield
    finally:
        _LOCKED.discard(file)
        os.close(file)


def _open(lock: Path, option: str) -> int:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(lock) and not stat.S_ISREG(lock.lstat().st_mode):
            raise UserError(f'{lock} is not a regular file: delete it, or '
                            f'name another folder with {option}')
        return os.open(lock, FLAGS, 0o644)
    except OSError as error:
        raise UserError(f'{option} {lock.parent} cannot be written: '
                        f'{error.strerror}. Name another folder with {option}'
                        ) from error


def _lock(file: int, folder: Path, task: str, option: str, shared: bool,
          wait: bool) -> None:
    try:
        fcntl.flock(file, (0 if wait else fcntl.LOCK_NB) | (
            fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
    except BlockingIOError as error:
        owner = os.read(file, 200).decode(errors='replace').strip()
        raise LockedError(
            f'another {task} is running in {folder} ({owner}). Wait for it, '
            f'end it, or name another folder with {option}') from error
    except OSError as error:
        print_log(f'{folder} cannot be locked ({error.strerror}): make sure '
                  f'that no other {task} uses it.', 'current',
                  level=logging.WARNING)
        return
    _LOCKED.add(file)
    os.ftruncate(file, 0)
    os.write(file, f'process {os.getpid()} on {socket.gethostname()}\n'
             .encode())


_LOCKED: set[int] = set()


def _leave_to_parent() -> None:
    """Close the file in a fork, which would keep the lock.

    Forked workers of data loaders outlive a killed training by seconds.
    """
    while _LOCKED:
        os.close(_LOCKED.pop())


if fcntl is not None:
    os.register_at_fork(after_in_child=_leave_to_parent)
