import io
import os
import time

import pytest

from mmlowformer.errors import UserError
from mmlowformer.predict.file_names import (
    copy_name,
    distinct_names,
    picture_name,
    short_names,
    short_path,
)
from mmlowformer.predict.inputs import collect_inputs
from mmlowformer.tracking.datasets.frames import images_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ('b.JPG', 'a.png', 'notes.md', 'film.MP4', 'sub/a.png',
                 'sub/deep/c.TIFF'):
        file = tmp_path / 'in' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures('folder')
class TestCollect:

    def test_folder(self):
        found = collect_inputs(['in'])
        assert found.images == ['in/a.png', 'in/b.JPG']
        assert found.videos == ['in/film.MP4']
        ignored, closed = found.notes
        assert '1 file(s)' in ignored
        assert 'notes.md' in ignored
        assert '1 sub-folder(s)' in closed
        assert '-r' in closed

    def test_recursive(self):
        found = collect_inputs(['in'], recursive=True)
        assert found.images == ['in/a.png', 'in/b.JPG', 'in/sub/a.png',
                                'in/sub/deep/c.TIFF']
        assert len(found.notes) == 1

    def test_globs_and_files(self):
        found = collect_inputs(['in/*.JPG', 'in/**/*.png', 'in/notes.md', '0',
                         'rtsp://camera/1'])
        assert found.images == ['in/b.JPG', 'in/a.png', 'in/sub/a.png',
                                'in/notes.md']
        assert found.videos == ['0', 'rtsp://camera/1']

    def test_the_same_twice(self):
        assert collect_inputs(['in/a.png', 'in', 'in/a.png']).images == [
            'in/a.png', 'in/b.JPG']

    def test_lists(self):
        with open('in/list.txt', 'w') as stream:
            stream.write('in/b.JPG\n\n  sub/a.png  \n')
        expected = ['in/b.JPG', 'in/sub/a.png']
        assert collect_inputs(['in/list.txt']).images == expected
        stdin = io.StringIO('in/b.JPG\nin/sub/a.png\n')
        assert collect_inputs(['-'], stdin=stdin).images == expected

    @pytest.mark.parametrize(('argument', 'words'), [
        ('in/a.pgn', 'Did you mean a.png?'),
        ('out/a.png', 'folder out does not exist'),
        ('in/*.webp', 'not found')])
    def test_what_is_not_there(self, argument, words):
        with pytest.raises(UserError) as error:
            collect_inputs(['in', argument])
        assert argument in str(error.value)
        assert words in str(error.value)

    def test_a_list_names_what_is_not_there(self):
        with pytest.raises(UserError, match='gone.png, named in the standard'):
            collect_inputs(['-'], stdin=io.StringIO('gone.png'))

    def test_all_missing_paths_are_counted(self):
        lines = ''.join(f'{number}.png\n' for number in range(5))
        with pytest.raises(UserError) as error:
            collect_inputs(['-'], stdin=io.StringIO(f'{lines}in/a.png\n'))
        assert '5 inputs' in str(error.value)
        assert '0.png, 1.png, 2.png' in str(error.value)
        assert '3.png' not in str(error.value)

    def test_urls_of_images(self):
        found = collect_inputs(
            ['-', 'https://host/b.png', 'https://host/film.mp4'],
            stdin=io.StringIO('s3://bucket/a/a.jpg\nin/a.png\n'))
        assert found.images == ['s3://bucket/a/a.jpg', 'in/a.png',
                                'https://host/b.png']
        assert found.videos == ['https://host/film.mp4']
        assert short_names(['s3://bucket/a/a.jpg', 's3://bucket/b.jpg']) == [
            'a/a.jpg', 'b.jpg']

    def test_folders_that_cannot_be_read(self, monkeypatch):
        def scandir(folder, scandir=os.scandir):
            if str(folder).endswith('deep'):
                raise PermissionError(13, 'Permission denied')
            return scandir(folder)

        monkeypatch.setattr(os, 'scandir', scandir)
        found = collect_inputs(['in'], recursive=True)
        assert found.images[-1] == 'in/sub/a.png'
        assert 'in/sub/deep cannot be read' in found.notes[0]

    def test_linked_folders_are_not_followed(self):
        os.symlink('.', 'in/loop')
        assert len(collect_inputs(['in'], recursive=True).images) == 4

    def test_nothing(self):
        os.mkdir('empty')
        with pytest.raises(UserError, match='no images or videos'):
            collect_inputs(['empty'])


def test_names_tell_files_apart():
    assert short_names(['x/A/1.jpg', 'x/B/1.jpg', 'x/2.jpg']) == [
        'A/1.jpg', 'B/1.jpg', '2.jpg']
    assert short_names(['x/A/1.jpg']) == ['1.jpg']
    assert short_names([]) == []


def test_a_file_is_no_folder():
    """Pictures of x.tif and masks of y.jpg are x.tif.png and y.jpg.png."""
    names = ['x.tif', 'X.tif.PNG/a.png', 'y.jpg', 'y.jpg.png/deep/a.jpg']
    assert distinct_names(names, picture_name) == [
        'x.tif-2', names[1], 'y-2.jpg', names[3]]
    names = ['a.avi', 'a.avi.mp4/b.mp4']
    assert distinct_names(names, copy_name) == ['a.avi-2', names[1]]


@pytest.mark.parametrize('result', [
    'predictions.json', 'predictions.jsonl', '.predictions.lock'])
def test_results_are_no_inputs(tmp_path, result):
    """Folders of others may have a run.json."""
    for name, file in (('run', 'run.json'), ('results', result)):
        (tmp_path / name).mkdir()
        for each in (file, 'image.png'):
            (tmp_path / name / each).touch()
    found = collect_inputs([str(tmp_path)], recursive=True)
    assert found.images == [str(tmp_path / 'run/image.png')]
    assert any('results of earlier runs' in note for note in found.notes)


def test_long_lists_take_linear_time(monkeypatch):
    """Looking each of 100,000 paths up in a list would take a minute."""
    monkeypatch.setattr(os.path, 'isfile', lambda path: True)
    lines = [f'folder/{number}.png\n' for number in range(100_000)]
    started = time.process_time()
    found = collect_inputs(['-'], stdin=io.StringIO(''.join(lines * 2)))
    names = short_names(found.images)
    assert time.process_time() - started < 20
    assert found.images == [line.strip() for line in lines]
    assert names == [line[len('folder/'):].strip() for line in lines]


def test_named_pipes_are_left_alone(tmp_path):
    (tmp_path / 'a.png').touch()
    os.mkfifo(tmp_path / 'pipe.png')
    found = collect_inputs([str(tmp_path)])
    assert found.images == [str(tmp_path / 'a.png')]
    assert 'pipe.png' in found.notes[0]
    with pytest.raises(UserError, match=r'pipe.png is no regular file'):
        collect_inputs([str(tmp_path / 'pipe.png')])
    assert images_in(tmp_path) == ['a.png']


def test_lists_may_name_what_is_no_text(tmp_path):
    name = os.fsdecode(b'caf\xe9.png')
    (tmp_path / name).touch()
    (tmp_path / 'list.txt').write_bytes(os.fsencode(name))
    found = collect_inputs([str(tmp_path / 'list.txt')])
    assert found.images == [str(tmp_path / name)]


@pytest.mark.parametrize('name', [
    'x' * 251 + '.png', '\u00e9' * 125 + '.png', 'x' * 245 + '.webp/a.png',
    'x.' + 'y' * 250])
def test_names_that_file_systems_take(name, tmp_path):
    short = [short_path(name + end) for end in ('', '-1.png', '-2.png')]
    assert len(set(short)) == 3
    for path in short:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_stem(file.stem + '-2').touch()
    assert str(short_path('folder/a.png')) == os.path.join('folder', 'a.png')
