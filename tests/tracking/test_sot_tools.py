"""Single-object tracking in the tools: train, test, predict, submit."""
import json
import re
import shutil
import zipfile

import cv2
import numpy as np
import pytest

from ..helpers import PREDICT, ROOT, TEST, TRAIN, run_program, untrained

CONFIG = ROOT / 'configs' / 'track_lowformer_tiny_shapes.py'


def options(videos, *more):
    return ['--cfg-options', f'data_root={videos}/',
            'train_dataloader.num_workers=0', 'train_dataloader.batch_size=2',
            'train_dataloader.dataset.length=8', 'train_cfg.max_iters=4',
            'train_cfg.val_interval=4', 'default_hooks.logger.interval=1',
            'default_hooks.checkpoint.interval=2', *more]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """The checkpoint of an untrained tracker."""
    return untrained(tmp_path_factory.mktemp('tracker'), CONFIG.stem)


@pytest.fixture(scope='module')
def film(videos, tmp_path_factory):
    """A video as a file, and its first box."""
    file = tmp_path_factory.mktemp('film') / 'film.mp4'
    folder = next((videos / 'val').glob('GOT*1'))
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*'mp4v'), 10,
                             (84, 64))
    for path in sorted(folder.glob('*.jpg')):
        writer.write(cv2.resize(cv2.imread(str(path)), (84, 64)))
    writer.release()
    box = (folder / 'groundtruth.txt').read_text().splitlines()[0]
    return file, box


def test_training(run_here, videos, tmp_path):
    result = run_here(TRAIN, CONFIG, '--work-dir', 'run', '--seed', 0,
                      *options(videos), cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    shown = ' '.join(result.stdout.split())
    assert 'LowFormerTracker with LowFormer, 0.97 M parameters' in shown
    assert 'Training 8 pairs an epoch: 100% GOT10k (2 videos of 10' in shown
    assert 'Validation: track/AO' in shown
    assert '--box x,y,w,h' in shown
    assert (tmp_path / 'run/iter_4.pth').is_file()


@pytest.mark.slow
def test_resumed_training(run_here, videos, tmp_path):
    for more in ([], ['--resume', 'run/iter_2.pth']):
        result = run_here(TRAIN, CONFIG, '--work-dir', 'run', *more,
                          *options(videos), cwd=tmp_path)
        assert result.returncode == 0, result.stdout
    assert '2 of 4 iterations done' in result.stdout


def metrics_of(run_here, videos, checkpoint, folder, *arguments, more=()):
    result = run_here(TEST, CONFIG, checkpoint, '--out', 'metrics.json',
                      '--work-dir', 'test', *arguments,
                      *options(videos, *more), cwd=folder)
    assert result.returncode == 0, result.stdout
    metrics = json.loads((folder / 'metrics.json').read_text())
    (folder / 'metrics.json').unlink()
    assert metrics.pop('track/fps') > 0
    return metrics, result.stdout


def test_testing(run_here, videos, checkpoint, tmp_path):
    metrics, shown = metrics_of(run_here, videos, checkpoint, tmp_path,
                                '--show-dir', 'pictures', '--submission',
                                'got10k.zip')
    assert set(metrics) == {f'track/{name}' for name in (
        'AO', 'SR_0.5', 'SR_0.75', 'success', 'precision', 'norm_precision')}
    names = [f'GOT-10k_Val_{index:06d}' for index in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) \
        == sorted([f'{name}.mp4' for name in names] + [
            'curves.png', 'videos.json'])
    table = json.loads((tmp_path / 'pictures/videos.json').read_text())
    assert list(table['videos']) == names
    assert f'{names[0]} 5 frames AO' in ' '.join(shown.split())
    capture = cv2.VideoCapture(str(tmp_path / f'pictures/{names[0]}.mp4'))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    with zipfile.ZipFile(tmp_path / 'got10k.zip') as archive:
        assert archive.namelist() == [
            f'{name}/{name}_{end}.txt' for name in names
            for end in ('001', 'time')]
        boxes = np.loadtxt(archive.read(
            f'{names[0]}/{names[0]}_001.txt').decode().splitlines(),
            delimiter=',')
    assert boxes.shape == (5, 4)


def test_goes_on_with_unfinished_videos(run_here, error_here, videos,
                                        checkpoint, tmp_path):
    whole, _ = metrics_of(run_here, videos, checkpoint, tmp_path)
    tracks = tmp_path / 'test/tracks'
    (tracks / 'GOT-10k_Val_000002.npz').unlink()
    # Of a finished video no frame is looked at again.
    copy = tmp_path / 'videos'
    shutil.copytree(videos, copy)
    for path in (copy / 'val/GOT-10k_Val_000001').glob('*.jpg'):
        path.write_bytes(b'')
    again, shown = metrics_of(run_here, copy, checkpoint, tmp_path,
                              '--resume')
    assert 'Finished already: 2 videos' in shown
    assert again == whole
    other = tmp_path / 'other.pth'
    shutil.copy(checkpoint, other)
    assert 'are not of other.pth as it is now' in error_here(
        TEST, CONFIG, 'other.pth', '--work-dir', 'test', '--resume',
        *options(videos), cwd=tmp_path).replace(f'{tmp_path}/', '')
    assert 'has no tracks' in error_here(
        TEST, CONFIG, checkpoint, '--work-dir', 'new', '--resume',
        *options(videos), cwd=tmp_path)


@pytest.mark.slow
def test_deployed(run_here, videos, checkpoint, tmp_path):
    plain, _ = metrics_of(run_here, videos, checkpoint, tmp_path)
    deployed, _ = metrics_of(run_here, videos, checkpoint, tmp_path,
                             '--deploy')
    assert deployed == pytest.approx(plain, abs=1e-3)


def test_broken_frame_is_named(error_here, videos, checkpoint, tmp_path):
    copy = tmp_path / 'videos'
    shutil.copytree(videos, copy)
    broken = copy / 'val/GOT-10k_Val_000002/00000004.jpg'
    broken.write_bytes(broken.read_bytes()[:40])
    assert 'GOT-10k_Val_000002/00000004.jpg cannot be decoded' in error_here(
        TEST, CONFIG, checkpoint, '--work-dir', 'test', *options(copy),
        cwd=tmp_path)
    # What was finished before is kept.
    assert (tmp_path / 'test/tracks/GOT-10k_Val_000001.npz').is_file()


@pytest.mark.slow
def test_two_processes_give_the_same_metrics(run_here, videos, checkpoint,
                                             tmp_path):
    alone, _ = metrics_of(run_here, videos, checkpoint, tmp_path)
    result = run_program(
        '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', 2,
        TEST, CONFIG, checkpoint, '--launcher', 'pytorch', '--out',
        'both.json', '--work-dir', 'both', *options(videos), cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    both = json.loads((tmp_path / 'both.json').read_text())
    both.pop('track/fps')
    assert both == pytest.approx(alone, abs=1e-6)


def test_predicting(run_here, checkpoint, film, tmp_path):
    file, box = film
    result = run_here(PREDICT, checkpoint, file, '--box', box, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert '5 frames, ' in result.stdout
    boxes = np.loadtxt(tmp_path / 'predictions/boxes.txt', delimiter=',')
    assert boxes.shape == (5, 4)
    np.testing.assert_allclose(
        boxes[0], [float(value) for value in box.split(',')], atol=1e-3)
    records = json.loads(
        (tmp_path / 'predictions/predictions.json').read_text())
    assert [record['image_id'] for record in records] == [1, 2, 3, 4, 5]
    capture = cv2.VideoCapture(str(tmp_path / 'predictions/videos/film.mp4'))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 5


def test_predicting_a_folder_of_frames(run_here, videos, checkpoint,
                                       tmp_path):
    folder = next((videos / 'val').glob('GOT*1'))
    result = run_here(PREDICT, checkpoint, folder, '--box', '10,10,20,20',
                      '--no-pictures', '--out', 'found', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert len((tmp_path / 'found/boxes.txt').read_text().split()) == 5
    assert not (tmp_path / 'found/videos').exists()


def test_detector_chooses_the_object(run_here, checkpoint, detector, film,
                                     tmp_path):
    result = run_here(PREDICT, checkpoint, film[0], '--detector', detector,
                      cwd=tmp_path)
    # The untrained detector may detect nothing.
    if result.returncode:
        assert 'detects nothing in the first frame' in result.stdout
    else:
        assert '5 frames' in result.stdout


def test_truncated_video(run_here, checkpoint, film, tmp_path):
    """It ends early, or cannot be opened."""
    content = film[0].read_bytes()
    (tmp_path / 'short.mp4').write_bytes(content[:len(content) // 2])
    result = run_here(PREDICT, checkpoint, 'short.mp4', '--box', film[1],
                      cwd=tmp_path)
    assert 'Traceback' not in result.stdout
    assert ('cannot be opened' in result.stdout
            or 'ends after' in result.stdout), result.stdout


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--box', '1,2,3'], '--box 1,2,3 has to be x,y,w,h'),
    (['--box', '1,2,0,3'], 'the box 1,2,0,3 has no area'),
    (['--box', '900,2,5,5'], 'lies outside of the image, which is 84x64'),
    (['--box', 'nan,2,5,5'], 'has to be four numbers'),
    ([], 'is of a tracker: use tools/predict.py with --box'),
])
def test_refused_boxes(error_here, checkpoint, film, tmp_path, arguments,
                       message):
    shown = error_here(PREDICT, checkpoint, film[0], *arguments,
                       cwd=tmp_path)
    assert message in ' '.join(shown.split())
    assert not (tmp_path / 'predictions/boxes.txt').exists()


def test_other_models_are_refused(error_here, detector, videos, film,
                                  tmp_path):
    assert '--box is for a tracker, and the checkpoint is of a RetinaNet' in \
        error_here(PREDICT, detector, film[0], '--box', film[1],
                   cwd=tmp_path)


def test_submission_needs_a_server(error_here, videos, checkpoint, tmp_path):
    assert 'has to end in .zip' in error_here(
        TEST, CONFIG, checkpoint, '--submission', 'a.tar', *options(videos),
        cwd=tmp_path)
    folder = tmp_path / 'otb/Ball'
    shutil.copytree(next((videos / 'val').glob('GOT*1')), folder)
    config = tmp_path / 'otb.py'
    config.write_text(
        f'_base_ = {str(CONFIG)!r}\n'
        "test_dataloader = dict(dataset=dict(_delete_=True, data_root='otb', "
        "type='mmlowformer.VideoFolders', "
        "pipeline=[dict(type='mmlowformer.PackVideo')]))\n")
    assert 'no server for VideoFolders' in error_here(
        TEST, config, checkpoint, '--submission', 'a.zip', cwd=tmp_path)


def test_snippet_of_the_page(checkpoint, film):
    page = (ROOT / 'docs' / 'tracking.md').read_text(encoding='utf-8')
    snippet = re.findall(r'```python\n(.*?)```', page, re.S)[0]
    frames = [np.full((200, 300, 3), 90, np.uint8)] * 2
    names = dict(first_frame=frames[0], frames=frames)
    exec(snippet.replace("'CHECKPOINT'", repr(str(checkpoint))), names)
    assert len(names['box']) == 4
    assert 0 < names['score'] < 1
