"""tools/data.py tile: processes, interruptions and --resume."""
import json
import os
import random
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from mmlowformer.datasets import tile_writer, tiling
from mmlowformer.errors import UserError
from mmlowformer.utils.file_lock import file_lock

from ..helpers import ROOT

DATA = ROOT / 'tools/data.py'
TILE = ('tile', 'all.json', '--tile-size', 64, '--min-visible', 0)


@pytest.fixture
def scenes(tmp_path):
    return write_scenes(tmp_path, 4)


def write_scenes(folder, count, side=150):
    """Images of noise with a box each, half of them in a sub-folder."""
    names = [f'{"b/" * (index % 2)}{index}.png' for index in range(count)]
    for index, name in enumerate(names):
        path = folder / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 255, (side, 200, 3))
        cv2.imwrite(str(path), noise.astype(np.uint8))
    (folder / 'all.json').write_text(json.dumps(dict(
        images=[dict(id=index, file_name=name, width=200, height=side)
                for index, name in enumerate(names)],
        categories=[dict(id=1, name='bar')],
        annotations=[dict(
            id=index + 1, image_id=index, category_id=1, iscrowd=0, area=600,
            bbox=[10 + index % 9, 20.5, 30, 20]) for index in range(count)])))
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes()
            for path in folder.rglob('*') if path.is_file()}


def interrupt_at(monkeypatch, number):
    """Ctrl-C while the image of this number is read."""
    calls = []

    def read(path, read=tiling.read_scene):
        calls.append(path)
        if len(calls) == number:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(tiling, 'read_scene', read)
    return calls


def test_interrupted_and_resumed(run_here, error_here, scenes, monkeypatch):
    """Each image is cut once, and the result is that of a single run."""
    assert run_here(DATA, *TILE, '--out', 'whole', '-j', 1, cwd=scenes
                    ).returncode == 0
    tile = (DATA, *TILE, '--out', 'tiles', '--workers', 1)
    with monkeypatch.context() as patch:
        first = interrupt_at(patch, 3)
        result = run_here(*tile, cwd=scenes)
    assert result.returncode == 130
    assert 'Interrupted: 2 of 4 images done, in tiles. Continue with ' \
        '--resume.' in ' '.join(result.stdout.split())
    assert not (scenes / 'tiles/annotations.json').exists()
    assert 'with --resume, or delete it' in error_here(*tile, cwd=scenes)
    for option in ('--tile-size', '--seed', '--negatives'):
        assert 'was made with other settings' in error_here(
            *tile, '--resume', option, 96, cwd=scenes)
    journal = scenes / 'tiles/tiles.jsonl'
    # Killed while it wrote a line, and a tile.
    journal.write_bytes(journal.read_bytes() + b'["b/3.png", [["b/')
    (scenes / 'tiles/images/b/3_y00000_x00000.png.77.part').touch()
    second = interrupt_at(monkeypatch, 0)
    assert run_here(*tile, '--resume', cwd=scenes).returncode == 0
    assert sorted(first[:2] + second) == sorted(
        str(path) for path in first + second[1:])
    assert contents(scenes / 'tiles') == contents(scenes / 'whole')
    shown = run_here(*tile, '--resume', cwd=scenes).stdout
    assert 'exists already' in ' '.join(shown.split())


def test_resume_without_anything_starts(run_here, scenes):
    result = run_here(DATA, *TILE, '--out', 'new/tiles', '--resume', '-j', 1,
                      cwd=scenes)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize('line', [b'{"size"', b'[]\n', b'7\n'])
def test_damaged_journal(line, run_here, error_here, scenes):
    (scenes / 'tiles').mkdir()
    journal = scenes / 'tiles/tiles.jsonl'
    journal.write_bytes(line)
    (scenes / 'tiles/.tiles.lock').touch()
    if line.endswith(b'\n'):
        said = error_here(DATA, *TILE, '--out', 'tiles', '--resume',
                          cwd=scenes)
        assert '--resume: tiles was made with other settings (size' in said
    else:
        assert run_here(DATA, *TILE, '--out', 'tiles', '--resume', cwd=scenes
                        ).returncode == 0
        assert sorted(path.name for path in (scenes / 'tiles').iterdir()) == [
            'annotations.json', 'images']


def test_one_command_at_a_time(error_here, scenes):
    (scenes / 'tiles').mkdir()
    with file_lock(scenes / 'tiles/.tiles.lock', 'tiling', '--out'):
        assert 'another tiling is running in tiles' in error_here(
            DATA, *TILE, '--out', 'tiles', cwd=scenes)


def test_tiles_of_two_images_with_one_name(error_here, scenes):
    content = json.loads((scenes / 'all.json').read_text())
    content['images'][2]['file_name'] = '0.bmp'
    (scenes / 'all.json').write_text(json.dumps(content))
    cv2.imwrite(str(scenes / 'images/0.bmp'), np.zeros((150, 200, 3)))
    (scenes / 'images/2.png').unlink()
    assert 'tiles of 0.png and 0.bmp would have the same names' in error_here(
        DATA, *TILE, '--out', 'tiles', cwd=scenes)


@pytest.mark.slow
def test_tiles_do_not_depend_on_the_number_of_processes(run_here, scenes):
    for workers in (1, 2):
        assert run_here(DATA, *TILE, '--out', f'{workers}', '-j', workers,
                        '--negatives', 2, cwd=scenes).returncode == 0
    assert contents(scenes / '1') == contents(scenes / '2')
    assert len(contents(scenes / '1')) > 12


def test_negatives_do_not_depend_on_other_images(run_here, scenes):
    run_here(DATA, *TILE, '--out', 'all', '-j', 1, cwd=scenes)
    content = json.loads((scenes / 'all.json').read_text())
    content.update(images=content['images'][2:],
                   annotations=content['annotations'][2:])
    (scenes / 'all.json').write_text(json.dumps(content))
    run_here(DATA, *TILE, '--out', 'some', '-j', 1, cwd=scenes)
    everything = contents(scenes / 'all/images')
    some = contents(scenes / 'some/images')
    assert some
    assert some.items() <= everything.items()


def test_default_number_of_processes(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: range(3))
    sizes = [(tiling.AnnotatedImage('', 9_000, side, []), '')
             for side in (5_000, 6_000)]
    assert tile_writer._worthwhile(sizes[:1]) == 0
    assert tile_writer._worthwhile(sizes[1:]) == 1
    assert tile_writer._worthwhile(sizes * 9) == 3


def test_killed_process_is_reported():
    """As by the kernel when memory is full."""
    with pytest.raises(UserError, match='--resume and fewer --workers'):
        list(tile_writer.in_processes(os._exit, [(1, ), (1, )], 2))


def start(folder):
    return subprocess.Popen(
        [sys.executable, DATA, *map(str, TILE), '--out', 'tiles', '--resume',
         '-j', '2', '--negatives', '200'], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)


def wait_for_lines(folder, number, process):
    journal = folder / 'tiles/tiles.jsonl'
    while process.poll() is None and not (
            journal.exists() and journal.read_bytes().count(b'\n') >= number):
        time.sleep(0.01)


@pytest.mark.slow
def test_any_end_can_be_resumed(run_here, tmp_path):
    """SIGTERM, Ctrl-C and SIGKILL, to the group or to the command alone."""
    write_scenes(tmp_path, 100, side=1500)
    run_here(DATA, *TILE, '--out', 'whole', '-j', 1, '--negatives', 200,
             cwd=tmp_path)
    chance = random.Random(0)
    done = 1
    for number, to_all in ((signal.SIGTERM, False), (signal.SIGINT, True),
                           (signal.SIGTERM, True), (signal.SIGKILL, False),
                           (signal.SIGKILL, True)):
        process = start(tmp_path)
        wait_for_lines(tmp_path, done + chance.randrange(1, 10), process)
        (os.killpg if to_all else os.kill)(process.pid, number)
        shown = process.communicate(timeout=200)[0]
        assert process.returncode == (
            -number if number == signal.SIGKILL else 128 + number), shown
        if number != signal.SIGKILL:
            assert shown.count('Interrupted: ') == 1, shown
            assert len(shown.strip().splitlines()) <= 3, shown
            assert not list((tmp_path / 'tiles').rglob('*.part'))
        # No process of the group goes on.
        for _ in range(500):
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.02)
        else:
            pytest.fail('processes remain')
        done = (tmp_path / 'tiles/tiles.jsonl').read_bytes().count(b'\n')
    process = start(tmp_path)
    assert process.wait(300) == 0, process.stdout.read()
    assert contents(tmp_path / 'tiles') == contents(tmp_path / 'whole')
