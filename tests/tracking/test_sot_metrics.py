"""Metrics, compared with GOT-10k's toolkit and with manual results."""
import json

import numpy as np
import pytest
from got10k.experiments import ExperimentGOT10k
from got10k.utils.metrics import rect_iou

from mmlowformer.tracking.datasets.sot_datasets import GOT10k
from mmlowformer.tracking.evaluation import sot_metrics
from mmlowformer.tracking.evaluation.sot_metrics import TrackingMetric


def some_boxes(rng, count):
    """Boxes beyond an image of 320x240, and some without an area."""
    return np.concatenate([rng.uniform(-40, 300, (count, 2)),
                           rng.uniform(-9, 120, (count, 2)).clip(0)], 1)


def test_overlap_is_that_of_got10k():
    rng = np.random.default_rng(0)
    boxes, truth = some_boxes(rng, 500), some_boxes(rng, 500)
    for bound in (None, (320, 240)):
        np.testing.assert_allclose(
            sot_metrics.iou(boxes, truth, bound),
            rect_iou(boxes.copy(), truth.copy(), bound), atol=1e-12)


def tracked(dataset, rng):
    """Records, and the boxes of an inaccurate tracker."""
    for index in range(len(dataset)):
        record = dataset.get_data_info(index)
        found = record['boxes'] + rng.normal(0, 6, record['boxes'].shape)
        found[:, 2:] = found[:, 2:].clip(1)
        found[0] = record['boxes'][0]
        yield record, np.round(found, 3)


def test_metrics_are_those_of_got10k(videos, tmp_path):
    """The toolkit evaluates the same files and tracks."""
    dataset = GOT10k(str(videos), 'val')
    dataset.full_init()
    # Hide the object of the last video in a frame.
    name = dataset.get_data_info(2)['name']
    cover = videos / 'val' / name / 'cover.label'
    before = cover.read_text()
    labels = before.split()
    labels[3] = '0'
    cover.write_text('\n'.join(labels) + '\n')
    try:
        dataset = GOT10k(str(videos), 'val')
        metric = TrackingMetric()
        for record, boxes in tracked(dataset, np.random.default_rng(1)):
            folder = tmp_path / 'results/GOT-10k/ours' / record['name']
            folder.mkdir(parents=True)
            np.savetxt(folder / f'{record["name"]}_001.txt', boxes,
                       fmt='%.3f', delimiter=',')
            np.savetxt(folder / f'{record["name"]}_time.txt',
                       np.full(len(boxes), 0.01))
            metric.process({}, [dict(
                record, pred_boxes=boxes, seconds=np.full(len(boxes), 0.01),
                bound=(85, 64))])
        expected = ExperimentGOT10k(
            str(videos), 'val', str(tmp_path / 'results'),
            str(tmp_path / 'reports')).report(['ours'])['ours']['overall']
    finally:
        cover.write_text(before)
    metrics = metric.evaluate(3)
    curve = np.array(expected['succ_curve'])
    assert metrics['track/AO'] == pytest.approx(expected['ao'], abs=1e-6)
    assert metrics['track/SR_0.5'] == pytest.approx(expected['sr'], abs=1e-6)
    assert metrics['track/SR_0.75'] == pytest.approx(curve[75], abs=1e-6)
    assert metrics['track/fps'] == pytest.approx(100)
    assert 0 < metrics['track/AO'] < 1
    assert json.dumps(metrics)


def test_lasot_by_hand():
    truth = np.array([[0., 0, 10, 20]] * 4)
    boxes = truth + [[0, 0, 0, 0], [5, 0, 0, 0], [30, 0, 0, 0], [0, 0, 9, 9]]
    visible = np.array([True, True, True, False])
    track = sot_metrics.evaluate_track(
        boxes, truth, visible, visible.astype(int), (100, 100))
    # Overlaps 1, 1/3 and 0; the last frame does not count.
    expected = [(np.array([1, 1 / 3, 0]) > level).mean()
                for level in sot_metrics.OVERLAPS]
    np.testing.assert_allclose(track.success, expected)
    # Distances 0, 5 and 30 pixels, and 0, 0.5 and 3 widths.
    assert track.precision[[0, 4, 5, 30]].tolist() == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 1])
    assert track.norm_precision[[0, 49, 50]].tolist() == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3])
    summary = sot_metrics.summarize([track])
    assert summary['AO'] == pytest.approx(1 / 6)
    assert summary['precision'] == pytest.approx(2 / 3)


def test_frames_are_pooled_but_videos_are_averaged():
    good, bad = (sot_metrics.evaluate_track(
        boxes, truth, np.ones(len(truth), bool), np.ones(len(truth)),
        (50, 50)) for boxes, truth in (
            (np.array([[0., 0, 9, 9]] * 3), np.array([[0., 0, 9, 9]] * 3)),
            (np.array([[40., 40, 9, 9]] * 2), np.array([[0., 0, 9, 9]] * 2))))
    summary = sot_metrics.summarize([good, bad])
    assert summary['AO'] == pytest.approx(2 / 3)
    assert summary['precision'] == pytest.approx(1 / 2)


def test_without_truth_there_is_only_speed():
    metric = TrackingMetric()
    boxes = np.array([[0., 0, 9, 9]] * 3)
    truth = np.vstack([boxes[:1], np.full((2, 4), np.nan)])
    metric.process({}, [dict(
        name='a', attributes=[], boxes=truth, visible=np.isfinite(truth[:, 0]),
        cover=np.zeros(3), pred_boxes=boxes, seconds=np.full(3, 0.1),
        bound=(50, 50))])
    assert set(metric.evaluate(1)) == {'track/fps'}
