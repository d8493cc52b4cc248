"""Multi-object tracking in the tools: test, train, predict."""
import importlib.util
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from ..helpers import PREDICT, ROOT, TEST, TRAIN, untrained

CONFIG = ROOT / 'configs' / 'bytetrack_lowformer_b0_shapes.py'
FEW = dict(model=dict(test_cfg=dict(max_per_img=5)))


def options(crossings, *more):
    return ['--cfg-options', f'test_dataloader.dataset.data_root={crossings}',
            *more]


def biased(folder, bias):
    """A detector with the same boxes and scores in all images."""
    file = untrained(folder, 'retinanet_lowformer_b0_shapes', **FEW)
    content = torch.load(file, weights_only=True)
    content['state_dict']['bbox_head.retina_cls.bias'].fill_(bias)
    torch.save(content, file)
    return file


@pytest.fixture(scope='module')
def sure(tmp_path_factory):
    return biased(tmp_path_factory.mktemp('sure'), 3.)


def metrics_of(run_here, folder, checkpoint, crossings, *arguments):
    result = run_here(TEST, CONFIG, checkpoint, '--out', 'metrics.json',
                      '--work-dir', 'test', *arguments, *options(crossings),
                      cwd=folder)
    assert result.returncode == 0, result.stdout
    metrics = json.loads((folder / 'metrics.json').read_text())
    (folder / 'metrics.json').unlink()
    return ({name.removeprefix('motchallenge-metric/'): value
             for name, value in metrics.items()}, result.stdout)


@pytest.mark.slow
def test_testing_a_detector(run_here, crossings, sure, tmp_path):
    metrics, shown = metrics_of(run_here, tmp_path, sure, crossings,
                            '--show-dir', 'pictures')
    assert {'HOTA', 'DetA', 'AssA', 'MOTA', 'IDF1'} <= set(metrics)
    assert 0 <= metrics['HOTA'] < 1
    assert metrics['FP'] + metrics['TP'] > 0
    shown = ' '.join(shown.split())
    assert 'ByteTrack with LowFormer-b0' in shown
    assert 'Data 2 videos of 16 frames' in shown
    assert 'VIDEO' in shown
    assert shown.endswith('--track')
    # TrackEval prints a page for each metric.
    assert not [word for word in ('Evaluating', 'COMBINED', 'Timing',
                                  'Config:', 'CLEAR', ' sec ')
                if word in shown], shown
    names = ['MOT17-test-01', 'MOT17-test-02']
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) \
        == [f'{name}.mp4' for name in names]
    for name in names:
        capture = cv2.VideoCapture(str(tmp_path / f'pictures/{name}.mp4'))
        assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 8
        rows = np.loadtxt(
            tmp_path / f'test/tracks/default-tracker/{name}.txt',
            delimiter=',')
        assert rows.shape[1] == 10
        assert set(rows[:, 0]) <= set(range(1, 9))


def test_foreign_files_among_the_tracks_stay(
        error_here, crossings, sure, tmp_path):
    mine = tmp_path / 'test' / 'tracks' / 'song.mp3'
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert 'song.mp3 is no track' in ' '.join(error_here(
        TEST, CONFIG, sure, '--work-dir', 'test', *options(crossings),
        cwd=tmp_path).split())
    assert mine.exists()


def test_no_track_at_all_is_a_result(run_here, crossings, tmp_path):
    metrics, _ = metrics_of(run_here, tmp_path, biased(tmp_path, -9.),
                            crossings)
    assert metrics['HOTA'] == metrics['TP'] == metrics['FP'] == 0
    assert metrics['FN'] > 0


def test_what_is_not_for_many_objects_is_refused(error_here, crossings, sure,
                                                 tmp_path):
    for arguments, text in (
            (('--out', 'tracks.pkl'), 'many objects are written to'),
            (('--score-thr', 0.2, '--show-dir', 'a'), 'thresholds in model'),
            (('--tta', ), '--tta needs tta_model and tta_pipeline'),
            (('--submission', 'a.zip'), 'is for trackers of one object')):
        shown = error_here(TEST, CONFIG, sure, '--work-dir', 'test',
                           *arguments, *options(crossings), cwd=tmp_path)
        assert text in ' '.join(shown.split()), shown


def test_missing_packages_and_data(error_here, crossings, sure, tmp_path,
                                   monkeypatch):
    shown = error_here(TEST, CONFIG, sure, *options(tmp_path), cwd=tmp_path)
    assert 'tools/make_shapes.py data/shape_crowds --mot' in ' '.join(
        shown.split())
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: (
        None if name == 'trackeval' else found(name)))
    shown = error_here(TEST, CONFIG, sure, *options(crossings), cwd=tmp_path)
    assert 'pip install trackeval==1.3.0 "numpy<2.4"' in ' '.join(
        shown.split())


def test_broken_frame_is_named(error_here, crossings, sure, tmp_path):
    copy = tmp_path / 'mot17'
    shutil.copytree(crossings, copy)
    broken = copy / 'test/MOT17-test-02/img1/000003.jpg'
    broken.write_bytes(broken.read_bytes()[:40])
    shown = error_here(TEST, CONFIG, sure, '--work-dir', 'test',
                       *options(copy), cwd=tmp_path)
    assert 'MOT17-test-02/img1/000003.jpg cannot be decoded' in ''.join(
        shown.split('\n'))


@pytest.mark.slow
def test_training(run_here, crossings, shapes, tmp_path):
    """The detector is trained on images, the tracker validated on videos."""
    result = run_here(
        TRAIN, CONFIG, '--work-dir', 'run', '--cfg-options',
        f'data_root={shapes / "coco"}/', 'train_dataloader.batch_size=2',
        f'val_dataloader.dataset.data_root={crossings}',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
        'default_hooks.logger.interval=1', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    shown = ' '.join(result.stdout.split())
    assert 'Validation: motchallenge-metric/HOTA' in shown
    assert 'Add --weights published to start' in shown
    trained = tmp_path / 'run/epoch_1.pth'
    metrics, _ = metrics_of(run_here, tmp_path, trained, crossings)
    assert metrics['FN'] > 0


@pytest.mark.slow
def test_the_recipe_of_mot17(run_here, crossings, tmp_path):
    """On small videos in MOT17's layout; OC-SORT uses ByteTrack's detector."""
    scale = 'pipeline.0.transforms.1.scale=(96,96)'
    settings = [
        f'data_root={crossings}', 'train_dataloader.num_workers=0',
        'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'train_dataloader.dataset.pipeline.4.crop_size=(64,64)',
        *(f'{name}_dataloader.{setting}' for name in ('val', 'test')
          for setting in ('num_workers=0', f'dataset.{scale}')),
        'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']
    kinds = [ROOT / 'configs' / f'{kind}_lowformer_b1_mot17.py'
             for kind in ('bytetrack', 'ocsort')]
    result = run_here(TRAIN, kinds[0], '--work-dir', 'run', '--weights',
                      'none', '--cfg-options', *settings, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'motchallenge-metric/HOTA' in result.stdout
    for kind in kinds:
        result = run_here(TEST, kind, 'run/epoch_1.pth', '--deploy',
                          '--work-dir', 'test', '--cfg-options', *settings,
                          cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        assert 'Data 1 video of 3 frames' in ' '.join(result.stdout.split())


@pytest.fixture(scope='module')
def film(crossings, tmp_path_factory):
    """A folder of frames."""
    return crossings / 'test/MOT17-test-01/img1'


def test_predicting(run_here, sure, film, tmp_path):
    result = run_here(PREDICT, sure, film, '--track', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert '8 frames, ' in result.stdout
    folder = tmp_path / 'predictions'
    rows = np.loadtxt(folder / 'tracks.txt', delimiter=',')
    assert rows.shape[1] == 10
    assert (rows[:, 7:] == -1).all()
    assert set(rows[:, 0]) <= set(range(1, 9))
    frames = [set(rows[rows[:, 0] == number, 1]) for number in (1, 2)]
    assert frames[0]
    assert frames[0] & frames[1]
    records = json.loads((folder / 'predictions.json').read_text())
    assert [[record['image_id'], record['track_id']] for record in records] \
        == rows[:, :2].tolist()
    capture = cv2.VideoCapture(str(folder / 'videos/img1.mp4'))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 8


def test_interrupted_prediction_is_kept(run_here, sure, film, tmp_path,
                                        monkeypatch):
    from mmlowformer.tracking import predict_mot
    step = predict_mot.MultiObjectTracker.__call__

    def interrupted(self, found):
        if self._frame == 3:
            raise KeyboardInterrupt
        return step(self, found)

    monkeypatch.setattr(predict_mot.MultiObjectTracker, '__call__',
                        interrupted)
    result = run_here(PREDICT, sure, film, '--track', cwd=tmp_path)
    assert result.returncode == 130
    assert 'Interrupted: 3 frames done' in ' '.join(result.stdout.split())
    folder = tmp_path / 'predictions'
    rows = np.loadtxt(folder / 'tracks.txt', delimiter=',')
    assert rows[:, 0].max() == 3
    assert (folder / 'videos/img1.mp4').is_file()
    assert json.loads((folder / 'predictions.json').read_text())


def test_bad_predictions(error_here, sure, segmentor, film, tmp_path):
    for arguments, text in (
            ((segmentor, film), '--track is for detectors, and the checkpoint '
             'is of segmentation'),
            ((sure, film, film), '--track is for one video, not for 2'),
            ((sure, film, '--save-crops'), '--save-crops is for images'),
            ((sure, tmp_path), 'holds no images'),
            ((sure, 'no.mp4'), 'video no.mp4 cannot be opened'),
            ((sure, film, '--box', '1,2,3,4'), 'not allowed with')):
        shown = error_here(PREDICT, *arguments, '--track', cwd=tmp_path)
        assert text in ' '.join(shown.split()), shown
    assert not (tmp_path / 'predictions').exists()


def test_predicting_with_the_tracker_of_a_config(run_here, error_here, sure,
                                                 film, tmp_path):
    arguments = (sure, film, '--track', '--config', CONFIG)
    assert run_here(PREDICT, *arguments, cwd=tmp_path).returncode == 0
    assert 'ByteTracker has thresholds of its own' in ' '.join(error_here(
        PREDICT, *arguments, '--score-thr', 0.3, cwd=tmp_path).split())


@pytest.mark.slow
def test_predicting_with_an_exported_detector(run_here, error_here, exported,
                                              crossings, film, tmp_path):
    result = run_here(PREDICT, exported('detection'), film, '--track',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert (tmp_path / 'predictions/videos/img1.mp4').is_file()
    assert 'tools/predict.py --track takes it' in ' '.join(error_here(
        TEST, CONFIG, exported('detection'), *options(crossings),
        cwd=tmp_path).split())
