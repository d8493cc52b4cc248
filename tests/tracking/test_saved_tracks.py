"""Saved tracks of finished videos."""
import random

import numpy as np
import pytest

from mmlowformer.errors import UserError
from mmlowformer.tracking.saved_tracks import (
    KEYS,
    RECORD,
    read_track,
    start_over,
    track_file,
)

from ..mutations import check_message, mutated


@pytest.fixture
def file(tmp_path):
    np.savez(track_file(tmp_path, 'film'), **dict.fromkeys(KEYS, [1., 2.]))
    return track_file(tmp_path, 'film')


def test_read_as_written(file):
    assert read_track(file.parent, 'another') is None
    assert read_track(file.parent, 'film')['bound'].tolist() == [1, 2]


@pytest.mark.parametrize('damage', [
    lambda content: b'', lambda content: b'no archive',
    lambda content: content[:len(content) // 2]])
def test_damaged(file, damage):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match='film.npz is damaged: delete it'):
        read_track(file.parent, 'film')


def test_foreign_arrays_stay(file):
    with pytest.raises(UserError, match='film.npz is of no test'):
        start_over(file.parent)
    (file.parent / RECORD).write_text('{}')
    start_over(file.parent)
    assert not file.exists()


def test_damaged_anywhere(file):
    content = file.read_bytes()
    np.save(file.with_suffix('.npy'), np.zeros(3))
    file.write_bytes(file.with_suffix('.npy').read_bytes())
    with pytest.raises(UserError, match='is damaged'):
        read_track(file.parent, 'film')
    for index in range(300):
        file.write_bytes(mutated(random.Random(index), content))
        try:
            read_track(file.parent, 'film')
        except UserError as error:
            check_message(str(error), file)
