"""Several processes that deal the inputs of a run out."""
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from mmlowformer.engine import call_in_first_process, start_processes
from mmlowformer.engine.cli import LAUNCHER_VARIABLES
from mmlowformer.errors import UserError
from mmlowformer.predict import (
    CocoIdMapper,
    Shard,
    Writer,
    claim_folder,
    merge_folders,
    results_folder,
)
from mmlowformer.runtime.results import Detections

from ..helpers import PREDICT, run_program, run_tool

SETTINGS = dict(checkpoint='abc', count=8, score_thr=0.5)
VIDEO = 4
RESULTS = ('predictions.jsonl', 'predictions.json', 'run.json')


def boxes(number):
    """A result with this many boxes."""
    return Detections(
        boxes=np.full((number, 4), number, np.float32),
        scores=np.full(number, 0.5), labels=np.zeros(number, int),
        classes=['ship'])


def predict(folder, shard=None, *, resume=False, fails=(), settings=SETTINGS):
    """Predict seven images and a video of two frames."""
    with claim_folder(folder, '', settings, resume=resume, shard=shard
                      ) as claimed:
        with claimed.finishing(), Writer(
                claimed.lines, CocoIdMapper(), claimed.path,
                pictures=False) as writer:
            for position in claimed.left(range(8)):
                if position in fails:
                    continue
                if position != VIDEO:
                    writer.add(position, f'{position}.jpg', boxes(position))
                    continue
                with writer.video('film', 25, position) as add:
                    for frame in range(2):
                        add(frame, boxes(frame))
        return claimed.missing() if claimed.is_merged else None


def free_port():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


@pytest.fixture
def whole(tmp_path):
    """The contents of the results of one process."""
    assert predict(tmp_path / 'whole') == []
    return contents(tmp_path / 'whole')


def contents(folder):
    return [(folder / name).read_bytes() for name in RESULTS]


@pytest.mark.parametrize('world', [1, 2, 3, 10])
def test_the_last_shard_merges(tmp_path, whole, world):
    folder = tmp_path / 'out'
    order = random.Random(0).sample(range(world), world)
    for number, rank in enumerate(order, 1):
        missing = predict(folder, Shard(rank, world))
        assert missing == ([] if number == world else None)
        assert (folder / RESULTS[0]).exists() == (number == world)
    assert contents(folder) == whole
    assert not (folder / 'parts').exists()


def test_a_running_shard_is_waited_for(tmp_path, whole):
    folder = tmp_path / 'out'
    with claim_folder(folder, '', SETTINGS, shard=Shard(0, 2)) as first:
        assert first.left(range(8)) == [0, 2, 4, 6]
        assert predict(folder, Shard(1, 2)) is None
        with (pytest.raises(UserError, match='another prediction is running'),
              claim_folder(folder, '', SETTINGS, resume=True)):
            pass
        with (pytest.raises(UserError, match='another prediction is running'),
              claim_folder(folder, '', SETTINGS, resume=True,
                           shard=Shard(0, 2))):
            pass
    assert predict(folder, Shard(0, 2), resume=True) == []
    assert contents(folder) == whole


def test_a_shard_waits_while_others_are_merged(tmp_path, whole, monkeypatch):
    folder, merge, joined = tmp_path / 'out', results_folder.merge, []
    predict(folder, Shard(0, 2))

    def merge_while_one_joins(*arguments):
        if not joined:
            joined.append(pool.submit(
                predict, folder, Shard(0, 2), resume=True))
            assert not wait(joined, 0.5).done
        merge(*arguments)

    monkeypatch.setattr(results_folder, 'merge', merge_while_one_joins)
    with ThreadPoolExecutor(1) as pool:
        assert predict(folder, Shard(1, 2)) == []
        assert joined[0].result() == []
    assert contents(folder) == whole


@pytest.mark.parametrize('others', [
    [None], [Shard(0, 3), Shard(1, 3), Shard(2, 3)], [Shard(1, 2)]])
def test_the_part_of_a_lost_shard(tmp_path, whole, others):
    """It is predicted by one process, by itself, or by any number."""
    folder = tmp_path / 'out'
    predict(folder, Shard(0, 2))
    with pytest.raises(KeyError):
        lose_a_shard(folder)
    assert not (folder / RESULTS[0]).exists()
    found = [predict(folder, shard, resume=True) for shard in others]
    assert found == [None] * (len(others) - 1) + [[]]
    assert contents(folder) == whole


def test_a_running_shard_of_another_number(tmp_path, whole):
    """Its lines are not merged, nor lost, while it runs."""
    folder = tmp_path / 'out'
    with claim_folder(folder, '', SETTINGS, shard=Shard(1, 2)):
        assert [predict(folder, Shard(rank, 3)) for rank in range(3)] == [
            None] * 3
    with merge_folders([folder], None) as merged, merged.finishing():
        pass
    assert merged.missing() == []
    assert contents(folder) == whole


def lose_a_shard(folder):
    """A shard that is killed while it writes a line."""
    with claim_folder(folder, '', SETTINGS, shard=Shard(1, 2)) as claimed, \
            claimed.finishing(), \
            Writer(claimed.lines, CocoIdMapper(), folder, pictures=False
                   ) as writer:
        writer.add(1, '1.jpg', boxes(1))
        writer.wait()
        with claimed.lines.open('ab') as file:
            file.write(b'{"input": 4, "file_na')
        raise KeyError


def test_failed_images_are_tried_again(tmp_path, whole):
    folder = tmp_path / 'out'
    shards = [Shard(0, 2), Shard(1, 2)]
    found = [predict(folder, shard, fails=(2, 5)) for shard in shards]
    assert found == [None, [2, 5]]
    # By one of the shards, and then by all.
    assert predict(folder, shards[0], resume=True, fails=(5, )) == [5]
    assert predict(folder, shards[1], resume=True) == []
    assert contents(folder) == whole


def test_shards_with_folders_of_their_own(tmp_path, whole):
    folders = [tmp_path / f'job-{rank}' for rank in range(3)]
    for rank, folder in enumerate(folders):
        assert predict(folder, Shard(rank, 3)) is None
    for sources, out, expected in (
            (folders[:2], tmp_path / 'merged', [2, 5]),
            (folders[2:], tmp_path / 'merged', []),
            (folders, None, []), (folders[:1], None, [])):
        with merge_folders(sources, out) as merged:
            with merged.finishing():
                pass
            assert merged.path == (out or folders[0])
            assert merged.missing() == expected
    assert contents(tmp_path / 'merged') == whole
    assert contents(folders[0]) == whole
    # What is not the merged folder's stays.
    assert (folders[1] / 'parts').exists()


def refused(folder, *arguments, **options):
    with pytest.raises(UserError) as error:
        predict(folder, *arguments, **options)
    assert str(folder) in str(error.value)
    return str(error.value)


def test_what_shards_may_not_do(tmp_path):
    folder = tmp_path / 'out'
    predict(folder, Shard(0, 2))
    assert '--resume continues' in refused(folder, Shard(0, 2))
    assert 'score_thr: 0.5 instead of 0.1' in refused(
        folder, Shard(1, 2), settings=SETTINGS | dict(score_thr=0.1))
    (folder / 'run.json').write_text('[')
    assert 'damaged' in refused(folder, Shard(1, 2))
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/precious').touch()
    assert 'not empty' in refused(tmp_path / 'mine', Shard(0, 2))
    with (pytest.raises(UserError, match='run.json cannot be read'),
          merge_folders([tmp_path / 'mine'], None)):
        pass
    predict(tmp_path / 'a', Shard(0, 2))
    predict(tmp_path / 'b', Shard(0, 2), settings=SETTINGS | dict(count=9))
    with (pytest.raises(UserError, match=r'settings \(count'),
          merge_folders([tmp_path / 'a', tmp_path / 'b'], tmp_path / 'c')):
        pass


def join_at_once(barrier, folder, rank, found):
    barrier.wait()
    found.put(predict(folder, Shard(rank, 4)))


@pytest.mark.slow
def test_shards_started_together(tmp_path, whole):
    """Exactly one merges, in each of many races."""
    context = multiprocessing.get_context('fork')
    for number in range(20):
        folder = tmp_path / str(number)
        barrier, found = context.Barrier(4), context.SimpleQueue()
        processes = [context.Process(target=join_at_once, args=(
            barrier, folder, rank, found)) for rank in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
        merged = [found.get() for _ in processes]
        assert sorted(merged, key=str) == [None, None, None, []]
        assert contents(folder) == whole


@pytest.fixture
def images(photos, tmp_path):
    """Thirty images, of which one cannot be read."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(30):
        os.link(photos[number % len(photos)], folder / f'{number:02}.jpg')
    (folder / '30.jpg').touch()
    return folder


def call(arguments, cwd):
    """Run the tool, in a fork."""
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    os._exit(run_tool(PREDICT, *arguments, cwd=cwd).returncode)


def start(count, *arguments, cwd):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=call, args=(
        [*arguments, '--shard', f'{rank}/{count}', '--resume'], cwd))
        for rank in range(1, count + 1)]
    for process in processes:
        process.start()
    return processes


@pytest.mark.slow
def test_a_launcher(run_here, tiny, images, tmp_path):
    """Three processes; an image that cannot be read ends none of them."""
    command = PREDICT, tiny('detection'), images, '--score-thr', 0
    run_here(*command, '--out', 'whole', cwd=tmp_path)
    result = run_program(
        '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', 3,
        *command, '--launcher', 'pytorch', cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.count('Model  ') == 1
    assert '1 of 31 inputs' in result.stdout
    assert '30.jpg' in result.stdout
    assert contents(tmp_path / 'predictions') == contents(tmp_path / 'whole')
    (images / '30.jpg').unlink()
    os.link(images / '00.jpg', images / '30.jpg')
    result = run_here(*command, '--out', 'predictions', '--resume',
                      cwd=tmp_path)
    assert '1 of 1 done' in result.stdout


@pytest.mark.parametrize('launcher', ['slurm', 'mpi'])
def test_a_launcher_of_clusters(tmp_path, monkeypatch, launcher):
    """Two processes that know their ranks as the launcher tells them."""
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho 127.0.0.1\necho other\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('MASTER_PORT', str(free_port()))
    monkeypatch.setenv('SLURM_NODELIST', 'node[1-2]')
    if launcher == 'mpi':
        monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    names = LAUNCHER_VARIABLES[launcher]

    def join(rank):
        os.environ.update({names['RANK']: str(rank), names['WORLD_SIZE']: '2',
                           names['LOCAL_RANK']: str(rank)})
        found = start_processes(launcher)
        folder = call_in_first_process(lambda: f'folder of {rank}')
        (tmp_path / f'{rank}.txt').write_text(f'{found} {folder}')

    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=join, args=(rank, ))
                 for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for rank in range(2):
        assert (tmp_path / f'{rank}.txt').read_text() == (
            f'({rank}, 2) folder of 0')


def test_jobs_are_merged(run_here, tiny, images, tmp_path):
    command = PREDICT, tiny('detection')
    for number in (1, 3):
        result = run_here(*command, '--shard', f'{number}/3', '--out',
                          f'job-{number}', images, cwd=tmp_path)
        assert '10 of 1' in result.stdout
    result = run_here(PREDICT, '--merge', 'job-1', 'job-3', '--out', 'all',
                      '--json', 'all.json', cwd=tmp_path)
    assert result.returncode == 1
    assert '11 of 31 inputs (input 2, input 5, input 8, ...)' in ' '.join(
        result.stdout.split())
    assert json.loads((tmp_path / 'all.json').read_text()) is not None
    assert len((tmp_path / 'all/predictions.jsonl').read_bytes().splitlines()
               ) == 20
    assert 'is no folder of results' in run_here(
        PREDICT, '--merge', images, cwd=tmp_path).stdout


@pytest.mark.parametrize(('options', 'words'), [
    (('--shard', '1/2'), '--out'),
    (('--shard', '0/2', '--out', 'out'), 'I from 1'),
    (('--shard', '1/2', '--out', 'out', '--track'), '--track is for one'),
    (('--shard', '1/2', '--launcher', 'pytorch'), 'omit --shard'),
    (('--launcher', 'pytorch', '--profile'), '--profile is for one'),
    (('--launcher', 'pytorch', '-'), 'standard input'),
    (('--launcher', 'pytorch'), 'torchrun'),
    (('--launcher', 'slurm'), 'SLURM_PROCID'),
    (('--launcher', 'mpi'), 'mpirun')])
def test_one_line_for_mistakes(run_here, tiny, images, tmp_path, options,
                               words):
    result = run_here(PREDICT, tiny('detection'), *options, images,
                      cwd=tmp_path)
    assert result.returncode
    assert 'Traceback' not in result.stdout
    assert words in ' '.join(result.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(6))
def test_killed_processes(run_here, tiny, images, tmp_path, seed):
    """Three are killed at random moments, until all is done."""
    chosen = random.Random(seed)
    arguments = tiny('detection'), images, '--score-thr', 0, '--save-crops'
    run_here(PREDICT, *arguments, '--out', 'whole', cwd=tmp_path)
    for _ in range(3):
        with ExitStack() as stack:
            for process in start(3, *arguments, '--out', 'out', cwd=tmp_path):
                stack.callback(process.join)
                time.sleep(chosen.uniform(0, 1.5))
                if chosen.random() < 0.8:
                    os.kill(process.pid, signal.SIGKILL)
    for process in start(chosen.choice((1, 2, 3, 4)), *arguments, '--out',
                         'out', cwd=tmp_path):
        process.join()
    result = run_here(PREDICT, *arguments, '--out', 'out', '--resume',
                      cwd=tmp_path)
    assert '30.jpg' in result.stdout
    lines = list(map(json.loads, (tmp_path / 'out/predictions.jsonl').open()))
    assert [line['input'] for line in lines] == list(range(1, 31))
    for kind in ('pictures', 'crops'):
        files, whole = (sorted(
            str(file.relative_to(folder)) for file in folder.rglob('*.*'))
            for folder in (tmp_path / 'out' / kind, tmp_path / 'whole' / kind))
        assert files == whole
        for file in files:
            Image.open(tmp_path / 'out' / kind / file).load()
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')
    assert not list((tmp_path / 'out').rglob('*.part*'))
    shutil.rmtree(tmp_path / 'out')
