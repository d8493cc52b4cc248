"""Tracking, drawing and writing of many objects."""
import importlib.util
import json

import numpy as np
import pytest
import torch
from mmdet.structures import TrackDataSample
from mmengine.config import Config
from mmengine.registry import (
    DATASETS,
    METRICS,
    MODELS,
    DefaultScope,
    init_default_scope,
)
from mmengine.structures import InstanceData

from mmlowformer import get_config
from mmlowformer.checkpoint.compatibility import check_fits
from mmlowformer.config import requirements
from mmlowformer.datasets.checks.check_datasets import check_datasets
from mmlowformer.errors import UserError
from mmlowformer.predict.results import Detections
from mmlowformer.predict.trained_model import load_model
from mmlowformer.tracking.predict_mot import (
    PALETTE,
    MOTResult,
    MultiObjectTracker,
    Traces,
    tracker_settings,
)
from mmlowformer.visualization import drawing

from ..helpers import ROOT, untrained

NAMES = ['circle', 'square']
IMAGE = np.full((60, 80, 3), 90, np.uint8)


def detections(boxes, scores, labels):
    return Detections(
        name='film', image=IMAGE, classes=NAMES,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32), labels=np.array(labels, int))


def moving(frame):
    """Two objects that pass each other, and one with a low score."""
    left, right = 5. + 2 * frame, 55. - 2 * frame
    return detections([[left, 5, left + 20, 25], [right, 30, right + 20, 50],
                       [60, 2, 70, 12]], [0.9, 0.8, 0.3], [0, 1, 0])


def test_identities_are_kept():
    tracker = MultiObjectTracker(tracker_settings(0.5))
    frames = [tracker(moving(frame)) for frame in range(20)]
    for number, frame in enumerate(frames):
        assert frame.identities.tolist() == [1, 2]
        np.testing.assert_array_equal(frame.boxes, moving(number).boxes[:2])
    assert frames[-1].traces[1].shape == (20, 2)
    np.testing.assert_allclose(frames[-1].traces[1][0], [15, 15])


def test_less_sure_boxes_continue_an_object():
    """They start no track."""
    tracker = MultiObjectTracker(tracker_settings(0.5))
    scores = [0.9, 0.2, 0.2, 0.9]
    found = [tracker(detections([[5, 5, 25, 25]], [score], [0]))
             for score in scores]
    assert [frame.identities.tolist() for frame in found] == [[1]] * 4
    fresh = MultiObjectTracker(tracker_settings(0.5))
    assert len(fresh(detections([[5, 5, 25, 25]], [0.2], [0])).boxes) == 0


@pytest.mark.parametrize(('kind', 'expected'), [
    ('mmdet.ByteTracker', [[1], [2], [2]]),
    ('mmlowformer.ClassAgnosticByteTracker', [[1], [1], [1]])])
def test_objects_that_change_their_class(kind, expected):
    tracker = MultiObjectTracker(dict(tracker_settings(0.5), type=kind))
    found = [tracker(detections([[60, 30, 70, 40], [5, 5, 25, 25]],
                                   [0.3, 0.9], [0, label]))
             for label in (0, 1, 1)]
    assert [frame.identities.tolist() for frame in found] == expected
    assert [frame.labels.tolist() for frame in found] == [[0], [1], [1]]


def test_one_box_of_two_classes_is_one_object():
    tracker = MultiObjectTracker(tracker_settings(0.3))
    found = tracker(detections([[5, 5, 25, 25]] * 2 + [[15, 5, 35, 25]],
                                  [0.6, 0.9, 0.7], [0, 1, 0]))
    assert sorted(found.scores.tolist()) == pytest.approx([0.7, 0.9])
    assert sorted(found.labels.tolist()) == [0, 1]


def test_frames_without_any_box():
    tracker = MultiObjectTracker(tracker_settings(0.5))
    for frame in (None, 0, None, 1):
        found = tracker(detections([], [], []) if frame is None else
                           moving(frame))
        assert len(found.boxes) == (0 if frame is None else 2)


def test_traces_end():
    traces = Traces(length=3)
    box = np.array([[0., 0., 4., 4.]])
    lengths = [len(traces([1], box + frame).get(1, ())) for frame in range(5)]
    assert lengths == [1, 2, 3, 3, 3]
    nothing = np.zeros((0, 4))
    assert [len(traces([], nothing).get(1, ())) for _ in range(3)] == [2, 1, 0]


def identified(**changes):
    return MOTResult(**dict(dict(
        name='film', image=IMAGE, classes=NAMES, palette=[], seconds=0.,
        boxes=np.array([[10, 20, 30, 45.5]], np.float32),
        scores=np.array([0.75], np.float32), labels=np.array([1]),
        identities=np.array([7]),
        traces={7: np.array([[20., 20.], [60., 20.]])}), **changes))


def test_drawn():
    def has(picture, color):
        return (np.asarray(picture) == color).all(-1).any()

    assert has(identified().draw(), PALETTE[7])
    alone = dict(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0),
                 labels=np.zeros(0, int), identities=np.zeros(0, int))
    # The trace remains when its object is hidden.
    assert has(identified(**alone).draw(), PALETTE[7])
    assert not has(identified(**alone, traces={}).draw(), PALETTE[7])
    assert (IMAGE == 90).all()


def test_written():
    assert identified().lines(3) == (
        '3,7,10.0,20.0,20.0,25.5,0.7500,-1,-1,-1\n')
    assert identified().json() == [dict(
        track_id=7, category_id=2, category_name='square',
        bbox=[10., 20., 20., 25.5], score=0.75)]


def test_missing_packages_are_named(monkeypatch):
    cfg = get_config('ocsort_lowformer_b1_mot17')
    requirements.require_packages(cfg)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError) as error:
        requirements.require_packages(cfg)
    assert str(error.value).endswith(
        'pip install lap==0.5.13 motmetrics==1.4.0 trackeval==1.3.0 '
        '"numpy<2.4"')
    with pytest.raises(UserError, match='needs lap, which is not installed'):
        MultiObjectTracker(tracker_settings(0.5))
    requirements.require_packages(get_config('retinanet_lowformer_b1_coco'))


def test_pins():
    pins = (ROOT / 'requirements' / 'mot.txt').read_text()
    for name in {name for names in requirements.NEEDS.values()
                 for name in names}:
        assert f'\n{name}==' in pins


@pytest.mark.parametrize('kind', ['ByteTrack', 'OCSORT'])
def test_right_boxes_are_followed(crossings, kind):
    """HOTA of perfect detections."""
    cfg = get_config('bytetrack_lowformer_b0_shapes')
    init_default_scope('mmdet')
    settings = cfg.model.tracker if kind == 'ByteTrack' else get_config(
        'ocsort_lowformer_b1_mot17').model.tracker
    tracker = MODELS.build(settings)
    metric = METRICS.build(cfg.test_evaluator)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset,
                                  data_root=str(crossings)))
    assert len(dataset) == 2
    for video in range(2):
        for frame in range(8):
            sample: TrackDataSample = dataset[video, frame]['data_samples']
            instances = sample[0].instances
            sample[0].pred_instances = InstanceData(
                bboxes=torch.tensor([item['bbox'] for item in instances]
                                    ).float(),
                labels=torch.zeros(len(instances), dtype=torch.long),
                scores=torch.full((len(instances), ), 0.9))
            sample[0].pred_track_instances = tracker.track(
                data_sample=sample[0])
            metric.process({}, [sample.to_dict()])
    metrics = metric.evaluate(16)
    assert metrics['motchallenge-metric/HOTA'] > 0.9
    assert metrics['motchallenge-metric/IDSW'] <= 1


def test_a_detector_fits_a_tracker_and_the_other_way_round(detector, tmp_path):
    cfg = get_config('bytetrack_lowformer_b0_shapes')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    check_fits(model, detector)
    tracker = untrained(tmp_path, 'bytetrack_lowformer_b0_shapes')
    loaded = load_model(tracker)
    assert type(loaded.module).__name__ == 'RetinaNet'
    assert loaded.tracker == cfg.model.tracker
    whole = torch.load(tracker, weights_only=True)['state_dict']
    for name, value in loaded.module.state_dict().items():
        assert value.equal(whole[f'detector.{name}']), name


def broken(crossings, folder, change):
    """A test config with changed annotations."""
    content = json.loads(
        (crossings / 'annotations/test_cocoformat.json').read_text())
    change(content)
    file = folder / 'broken.json'
    file.write_text(json.dumps(content))
    dataset = dict(
        get_config('bytetrack_lowformer_b0_shapes').test_dataloader.dataset,
        data_root=str(crossings), ann_file=str(file))
    return Config(dict(default_scope='mmdet',
                       test_dataloader=dict(dataset=dataset)))


def lose_boxes(content):
    content['annotations'] = [item for item in content['annotations']
                              if item['image_id'] > 8]


FAULTS = {
    'no frame_id that counts from 0': lambda content: content['images'].
    pop(3),
    'without any box of category 1': lose_boxes,
    'box without visibility': lambda content: content['annotations'][0].
    pop('visibility'),
    'object with two boxes in a frame': lambda content: content[
        'annotations'][1].update(
        instance_id=content['annotations'][0]['instance_id']),
    'not in its folder, first: .*MOT17-test-01/img1/9.jpg': lambda content:
    content['images'][0].update(file_name='MOT17-test-01/img1/9.jpg'),
    "do not match the config's classes": lambda content: content[
        'categories'][0].update(name='person'),
}


@pytest.mark.parametrize('text', FAULTS)
def test_faults_are_found_before_the_test(crossings, tmp_path, text):
    check_datasets(broken(crossings, tmp_path, len), ['test_dataloader'])

    def change(content):
        FAULTS[text](content)
        left = {image['id'] for image in content['images']}
        content['annotations'] = [item for item in content['annotations']
                                  if item['image_id'] in left]

    with pytest.raises(UserError, match=text):
        check_datasets(broken(crossings, tmp_path, change),
                       ['test_dataloader'])


def test_traces_hide_little_of_small_objects():
    image = np.full((1000, 1000, 3), 100, np.uint8)
    boxes = np.array([[500, 500, 512, 512]], np.float32)
    result = MOTResult(
        name='a', image=image, classes=['crown'], palette=[(255, 0, 0)],
        seconds=0., boxes=boxes, scores=np.ones(1), labels=np.zeros(1, int),
        identities=np.ones(1, int),
        traces={1: np.array([[500., 506], [506, 506]])})
    inside = np.asarray(result.draw())[
        500 + drawing.MARGIN:512 + drawing.MARGIN,
        500 + drawing.MARGIN:512 + drawing.MARGIN]
    assert 0 < (inside != 100).any(2).mean() < 0.1
