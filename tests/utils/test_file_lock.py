"""One training in a work dir at a time."""
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from mmlowformer.engine import UserError, check_free, work_dir_lock
from mmlowformer.utils import file_lock

HOLDER = """
import multiprocessing, sys, time
from mmlowformer.utils.file_lock import work_dir_lock

def work():
    # A worker of a data loader, which has closed the lock by now.
    print('locked', flush=True)
    time.sleep(60)

with work_dir_lock(sys.argv[1]):
    multiprocessing.get_context('fork').Process(target=work).start()
    time.sleep(60)
"""


def refused(folder):
    with (pytest.raises(UserError, match='another training is running in '
                        f'{folder} .process [0-9]+ on '),
          work_dir_lock(folder)):
        pass
    with pytest.raises(UserError, match='another training is running'):
        check_free(folder)


def test_second_is_refused_until_the_first_ends(tmp_path):
    check_free(tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    with work_dir_lock(tmp_path / 'run'):
        refused(tmp_path / 'run')
        with work_dir_lock(tmp_path / 'other'):
            pass
    with work_dir_lock(tmp_path / 'run'):
        pass
    check_free(tmp_path / 'run')


def test_killed_process_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', HOLDER, tmp_path],
                               stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        assert process.stdout.readline() == 'locked\n'
        refused(tmp_path)
        process.kill()
        process.wait()
        # Its child lives on.
        os.killpg(process.pid, 0)
        with work_dir_lock(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_end_of_a_child_unlocks_nothing(tmp_path):
    with work_dir_lock(tmp_path):
        child = multiprocessing.get_context('fork').Process(
            target=time.sleep, args=[0])
        child.start()
        child.join()
        refused(tmp_path)


def test_first_process_locks_for_all(tmp_path, monkeypatch):
    with work_dir_lock(tmp_path):
        monkeypatch.setenv('RANK', '1')
        with work_dir_lock(tmp_path):
            pass


def test_without_locks(tmp_path, monkeypatch, log):
    def fail(*_):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr(file_lock.fcntl, 'flock', fail)
    with work_dir_lock(tmp_path):
        assert 'cannot be locked (Operation not supported)' in log.text
    monkeypatch.setattr(file_lock, 'fcntl', None)
    with work_dir_lock(tmp_path / 'none'):
        assert not (tmp_path / 'none').exists()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    with (pytest.raises(UserError, match='file/run cannot be written'),
          work_dir_lock(tmp_path / 'file' / 'run')):
        pass


@pytest.mark.parametrize('make', [
    lambda lock: lock.symlink_to(lock.with_name('precious')),
    lambda lock: lock.symlink_to(lock.with_name('nowhere')),
    os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_a_lock(make, tmp_path):
    (tmp_path / 'precious').write_text('precious')
    make(tmp_path / file_lock.LOCK)
    with (pytest.raises(UserError, match='lock is not a regular file'),
          work_dir_lock(tmp_path)):
        pass
    with pytest.raises(UserError, match='lock is not a regular file'):
        check_free(tmp_path)
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert not (tmp_path / 'nowhere').exists()
