"""Folders of results: claimed once, continued after any end."""
import json
import multiprocessing
import shutil
import tracemalloc

import numpy as np
import pytest

from mmlowformer.errors import UserError
from mmlowformer.predict import CocoIdMapper, Writer, claim_folder
from mmlowformer.predict.result_lines import line_of, merge, write_coco
from mmlowformer.runtime.results import Detections

SETTINGS = dict(checkpoint='abc', score_thr=0.5, tile_size=None)


def boxes(number):
    """A result with this many boxes."""
    return Detections(
        boxes=np.full((number, 4), number, np.float32),
        scores=np.full(number, 0.5), labels=np.zeros(number, int),
        classes=['"predictions": [ship'])


def predict(folder):
    """Two images, a video of two frames, an image; what was predicted."""
    with claim_folder(folder, '', SETTINGS, resume=True) as claimed:
        predicted = [position for position in range(4)
                     if position not in claimed.done]
        with claimed.finishing(), Writer(claimed.lines, CocoIdMapper(),
                                         pictures=False) as writer:
            for position in predicted:
                if position != 2:
                    writer.add(position, f'{position}.jpg',
                               boxes(position // 3))
                    continue
                with writer.video('film', 25, 2) as add:
                    for frame in range(2):
                        add(frame, boxes(frame))
    return predicted


def test_a_line_for_each_image_and_one_list(tmp_path):
    predict(tmp_path)
    lines = list(map(json.loads, (tmp_path / 'predictions.jsonl').open()))
    assert [(line['input'], line.get('frame'), line.get('frames'))
            for line in lines] == [
        (1, None, None), (2, None, None), (3, 1, None), (3, 2, None),
        (3, None, 2), (4, None, None)]
    assert lines[0] == dict(input=1, file_name='0.jpg', image_id=1,
                            predictions=[])
    assert json.loads((tmp_path / 'predictions.json').read_text()) == [
        record for line in lines for record in line.get('predictions', [])]
    assert [len(line.get('predictions', ())) for line in lines] == [
        0, 0, 0, 1, 0, 1]


def test_a_process_may_be_killed_at_any_byte(tmp_path):
    predict(tmp_path / 'whole')
    whole = (tmp_path / 'whole/predictions.jsonl').read_bytes()
    ends = np.cumsum([len(line) for line in whole.splitlines(True)])
    resumed = tmp_path / 'resumed'
    resumed.mkdir()
    shutil.copy(tmp_path / 'whole/run.json', resumed)
    for size in range(len(whole) + 1):
        (resumed / 'predictions.jsonl').write_bytes(whole[:size])
        # Images of whole lines are kept, videos only with all frames.
        kept = np.flatnonzero(ends[[0, 1, 4, 5]] <= size).tolist()
        assert predict(resumed) == [
            position for position in range(4) if position not in kept]
        for name in ('predictions.jsonl', 'predictions.json', 'run.json'):
            assert (resumed / name).read_bytes() == (
                tmp_path / 'whole' / name).read_bytes(), size


def test_lines_are_sorted_in_the_end(tmp_path):
    """As batches of images of one size come in any order."""
    lines = [line_of(position, file_name='x', predictions=[])
             for position in range(12)]
    lines[3:4] = [line_of(3, **kind, file_name='x') for kind in (
        dict(frame=1), dict(frame=2), dict(frames=2))]
    shuffled = np.random.default_rng(0).permutation(len(lines))
    for part, chosen in (('a', shuffled[:9]), ('b', shuffled[5:])):
        (tmp_path / part).write_bytes(b''.join(lines[i] for i in chosen))
    merge([tmp_path / 'a', tmp_path / 'b'], tmp_path / 'a')
    assert (tmp_path / 'a').read_bytes() == b''.join(lines)
    before = (tmp_path / 'a').stat().st_ino
    merge([tmp_path / 'a'], tmp_path / 'a')
    assert (tmp_path / 'a').stat().st_ino == before


def test_no_results_are_an_empty_list(tmp_path):
    (tmp_path / 'lines').touch()
    merge([tmp_path / 'lines'], tmp_path / 'lines')
    write_coco(tmp_path / 'lines', tmp_path / 'list')
    assert json.loads((tmp_path / 'list').read_text()) == []


def refused(folder, settings=SETTINGS, *, resume=True):
    with (pytest.raises(UserError) as error,
          claim_folder(folder, '', settings, resume=resume)):
        pass
    assert str(folder) in str(error.value)
    return str(error.value)


def test_other_settings_are_refused(tmp_path):
    predict(tmp_path)
    for name, value in (('checkpoint', 'def'), ('tile_size', 512)):
        assert f'other settings ({name}' in refused(
            tmp_path, SETTINGS | {name: value})
    (tmp_path / 'run.json').write_text('[')
    assert 'run.json is damaged' in refused(tmp_path)
    (tmp_path / 'run.json').write_text(json.dumps(SETTINGS))
    for line in ('{}', '{"input": 0, ', '{"input": 1%s, ' % ('0' * 30)):
        (tmp_path / 'predictions.jsonl').write_text(f'{line}\n')
        assert 'line 1 is damaged' in refused(tmp_path)


def test_only_one_process_writes(tmp_path):
    folder = tmp_path / 'out'
    with claim_folder(folder, '', SETTINGS):
        assert 'another prediction is running' in refused(folder)
        assert 'not empty' in refused(folder, resume=False)
        with claim_folder(None, folder, SETTINGS) as other:
            assert other.path == tmp_path / 'out-2'
    assert '--resume continues' in refused(folder, resume=False)


def test_nothing_is_written_to_a_folder_of_others(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/precious').touch()
    for resume in (False, True):
        assert 'not empty' in refused(tmp_path / 'mine', resume=resume)
    assert [file.name for file in (tmp_path / 'mine').iterdir()] == [
        'precious']


def claim_at_once(barrier, name, folder, found):
    barrier.wait()
    try:
        with claim_folder(name, folder, SETTINGS) as claimed:
            found.put(str(claimed.path))
            barrier.wait()
    except UserError:
        found.put(None)
        barrier.wait()


@pytest.mark.slow
@pytest.mark.parametrize('locks', [True, False])
def test_calls_started_together_share_no_folder(tmp_path, locks, monkeypatch):
    if not locks:  # As on Windows, and some network file systems.
        monkeypatch.setattr('mmlowformer.utils.file_lock.fcntl', None)
    context = multiprocessing.get_context('fork')
    for number in range(10):
        for name in (None, tmp_path / f'named-{number}'):
            barrier, found = context.Barrier(4), context.SimpleQueue()
            processes = [context.Process(target=claim_at_once, args=(
                barrier, name, tmp_path / f'default-{number}', found))
                for _ in range(4)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            paths = [found.get() for _ in processes]
            if name:
                assert sorted(map(bool, paths)) == [False] * 3 + [True]
            else:
                assert None not in paths
                assert len(set(paths)) == 4


def test_the_writer_needs_no_memory_for_results(tmp_path):
    """Of thousands of boxes."""
    result = boxes(1000)
    with Writer(tmp_path / 'lines', CocoIdMapper(), pictures=False) as writer:
        writer.add(0, '0.jpg', result)
        writer.wait()
        tracemalloc.start()
        for position in range(1, 12):
            writer.add(position, f'{position}.jpg', result)
        writer.wait()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    merge([tmp_path / 'lines'], tmp_path / 'lines')
    size = (tmp_path / 'lines').stat().st_size
    assert kept < size / 20
    tracemalloc.start()
    write_coco(tmp_path / 'lines', tmp_path / 'list')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2  # That is a few lines.
