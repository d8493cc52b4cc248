"""Files that are written whole or not at all."""
import os

import pytest

from mmlowformer.utils.files import generate_if_missing, replace_text


@pytest.mark.parametrize('name', ['out.txt', 'out.txt.part'])
@pytest.mark.parametrize('make', [
    os.mkfifo, lambda file: file.symlink_to(file.with_name('precious'))])
def test_neither_waits_nor_follows(name, make, tmp_path):
    (tmp_path / 'precious').write_text('precious')
    make(tmp_path / name)
    replace_text(tmp_path / 'out.txt', 'new')
    assert (tmp_path / 'out.txt').read_text() == 'new'
    assert not (tmp_path / 'out.txt').is_symlink()
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert sorted(os.listdir(tmp_path)) == ['out.txt', 'precious']


def test_failure_leaves_nothing_behind(tmp_path):
    (tmp_path / 'out.txt').mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / 'out.txt', 'new')
    assert os.listdir(tmp_path) == ['out.txt']


@pytest.mark.parametrize('content', ['', '{', '[' * 100_000, '\ufffe', 'null'])
def test_what_is_no_record_is_something_else(content, tmp_path):
    (tmp_path / 'shapes.json').write_bytes(content.encode())
    with pytest.raises(FileExistsError, match='holds something else'):
        generate_if_missing(tmp_path, 'shapes.json', {}, lambda folder: None)
