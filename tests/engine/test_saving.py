"""What is in the way of a training is found before it starts."""
import os
from types import SimpleNamespace

import pytest

from mmlowformer.checkpoint.work_dir import VALIDATION_RECORD
from mmlowformer.engine import (
    UserError,
    check_places,
    full_disk_errors,
    latest_checkpoint,
    saved_checkpoints,
)
from mmlowformer.engine.hooks import resume_validation


@pytest.mark.parametrize(('name', 'make'), [
    ('epoch_1.pth', os.mkdir), ('iter_2.pth', os.mkdir),
    ('best_acc_epoch_1.pth', os.mkdir), ('last_checkpoint', os.mkdir),
    ('last_checkpoint', os.mkfifo), ('last_validation', os.mkfifo),
    ('last_checkpoint', lambda file: file.symlink_to('/etc/hosts'))])
def test_what_is_in_the_way(name, make, tmp_path):
    check_places(tmp_path / 'none')
    (tmp_path / 'epoch_9.pth').touch()
    (tmp_path / 'last_checkpoint.txt').touch()
    check_places(tmp_path)
    make(tmp_path / name)
    with pytest.raises(UserError, match=f'{name} is in the way'):
        check_places(tmp_path)


@pytest.mark.parametrize(('make', 'word'), [
    (os.mkdir, 'is no file'), (os.mkfifo, 'is no file'),
    (lambda file: file.symlink_to('nowhere'), 'a link to nothing')])
def test_resuming_passes_over(make, word, tmp_path, log):
    make(tmp_path / 'epoch_1.pth')
    assert saved_checkpoints(tmp_path) == [tmp_path / 'epoch_1.pth']
    assert latest_checkpoint(tmp_path) is None
    assert word in log.text


def test_files_that_cannot_be_written_end_in_a_line(tmp_path):
    with (pytest.raises(UserError, match='x could not be written'),
          full_disk_errors(tmp_path)):
        raise PermissionError(13, 'Permission denied', str(tmp_path / 'x'))


@pytest.mark.parametrize(('text', 'iteration'), [
    (b'12', 12), (b'', 0), (b'\xff\x00', 0), (b'-1', 0), (b'9' * 9999, 0)])
def test_record_of_a_validation(text, iteration, tmp_path):
    (tmp_path / VALIDATION_RECORD).write_bytes(text)
    runner = SimpleNamespace(cfg={}, work_dir=tmp_path)
    assert resume_validation._validated(runner) == iteration
