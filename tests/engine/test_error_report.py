"""Reports of a test, from data samples as the libraries give them."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools import mask as coco_mask

from mmlowformer import get_config
from mmlowformer.engine import error_report
from mmlowformer.errors import UserError

from .test_drawing import Dataset, Sample

SQUARE, HALF = (10, 10, 50, 50), (10, 10, 50, 30)
SIZE = 64


def mask(box):
    left, top, right, bottom = box
    painted = np.zeros((SIZE, SIZE), bool)
    painted[top:bottom, left:right] = True
    return painted


def polygon(box):
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, left, bottom]]


def run_lengths(box):
    return coco_mask.encode(np.asfortranarray(mask(box), np.uint8))


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Report on images; what is said, and the report."""
    lines = []
    monkeypatch.setattr(error_report, 'say', lines.append)

    def run(images, score_thr=None):
        dataset, samples = Dataset(), []
        for index, (instances, found) in enumerate(images):
            path = str(tmp_path / f'{index}.png')
            Image.new('RGB', (SIZE, SIZE)).save(path)
            dataset.append(dict(img_path=path, instances=instances))
            samples.append(Sample(img_path=path, ori_shape=(SIZE, SIZE),
                                  pred_instances=found))
        hook = error_report.ReportHook(str(tmp_path / 'report'), score_thr)
        runner = SimpleNamespace(test_dataloader=SimpleNamespace(
            dataset=dataset))
        hook.before_test(runner)
        # The sampler of several processes repeats the first image.
        hook.after_test_iter(runner, 0, None, [*samples, samples[0]])
        hook.after_test_epoch(runner)
        return '\n'.join(lines), json.loads(
            (tmp_path / 'report' / 'report.json').read_text())

    return run


def instances(boxes=(), labels=(), scores=(), **fields):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores), **fields)


def truth(box, label=0, **fields):
    return dict(bbox=box, bbox_label=label, **fields)


def number_of(found, kind):
    return sum(found['errors'][kind].values())


def test_boxes(report):
    printed, found = report([
        ([truth(SQUARE)], instances([SQUARE, HALF], [0, 1], [.9, .8])),
        ([truth(SQUARE), truth(HALF, 1)], instances()),
        ([], instances())])
    assert found['matched_by'] == 'boxes'
    assert [(row['hits'], row['misses'], row['false_positives'])
            for row in found['classes']] == [(1, 1, 0), (0, 1, 0)]
    assert found['best_score_thr'] == .85
    assert 'predict.py --score-thr 0.85' in printed
    # An image without errors is none of the worst.
    assert [row['misses'] for row in found['worst']] == [2]
    assert max(map(len, printed.splitlines())) <= 80


def test_chosen_threshold(report):
    printed, found = report([([truth(SQUARE)], instances(
        [SQUARE, HALF], [0, 1], [.9, .8]))], .3)
    assert number_of(found, 'classification') == 1
    assert 'Errors at score 0.3' in printed
    assert found['best_score_thr'] == .85


@pytest.mark.parametrize('annotated', [polygon, run_lengths])
def test_masks(annotated, report):
    """Two masks in the same box are not the same."""
    _, found = report([([truth(SQUARE, mask=annotated(SQUARE))], instances(
        [SQUARE, SQUARE], [0, 0], [.9, .8],
        masks=torch.from_numpy(np.stack([
            mask((10, 10, 50, 20)), mask(SQUARE)]))))], .1)
    assert found['matched_by'] == 'masks'
    assert number_of(found, 'localization') == 1
    assert found['classes'][0]['hits'] == 1


def test_crowds_are_not_counted(report):
    printed, found = report([([truth(SQUARE, ignore_flag=1)], instances(
        [HALF], [0], [.9]))])
    assert not found['worst']
    assert found['classes'][0]['objects'] == 0
    assert found['classes'][0]['AP50'] is None
    assert 'No prediction is a hit' in printed


@pytest.mark.parametrize('config', [
    'track_lowformer_tiny_shapes', 'bytetrack_lowformer_b0_shapes',
    'lowformer_b1_retrieval'])
def test_refused(config):
    with pytest.raises(UserError, match='--report is for detectors'):
        error_report.add_report_hook(
            SimpleNamespace(cfg=get_config(config)), 'report')
