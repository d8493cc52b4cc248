"""Errors of a detector, against cases by hand and COCO's own evaluation."""
import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmlowformer.analysis import detection_errors as errors_of

# An object, and predictions that overlap with it by all, a third, and none.
BOX, SHIFTED, AWAY = (0, 0, 40, 40), (20, 0, 40, 40), (200, 200, 10, 10)
NONE = ()


def regions(items):
    return errors_of.Regions(
        np.array([box for box, *_ in items], float).reshape(-1, 4),
        np.array([label for _, label, *_ in items], int))


def errors(predictions, truth=((BOX, 0), ), crowds=NONE):
    """Predictions are boxes, classes and scores."""
    scores = np.array([score for *_, score in predictions])
    return errors_of.image_errors(regions(predictions), scores,
                                  regions(truth), regions(crowds))


def totals(found, threshold=0.):
    return {kind: sum(counts) for kind, counts in
            errors_of.count_kinds(found, threshold).items() if sum(counts)}


@pytest.mark.parametrize(('predictions', 'kinds'), [
    (NONE, dict(missed=1)),
    ([(BOX, 0, .9)], {}),
    ([(BOX, 1, .9)], dict(classification=1)),
    ([(SHIFTED, 0, .9)], dict(localization=1)),
    ([(SHIFTED, 1, .9)], dict(both=1, missed=1)),
    ([(BOX, 0, .9), (BOX, 0, .8)], dict(duplicate=1)),
    ([(AWAY, 0, .9)], dict(background=1, missed=1)),
    ([(BOX, 0, .9), (AWAY, 1, .8), (BOX, 1, .7)],
     dict(background=1, classification=1))])
def test_kinds(predictions, kinds):
    assert totals(errors(predictions)) == kinds


def test_all_is_background_without_objects():
    assert totals(errors([(BOX, 0, .9)], truth=NONE)) == dict(background=1)


def test_a_threshold_counts_what_is_above():
    found = errors([(SHIFTED, 0, .9), (BOX, 0, .5), (AWAY, 0, .2)])
    # The hit is below the threshold, and the object as good as found.
    assert totals(found, .6) == dict(localization=1)
    assert totals(found, .5) == dict(localization=1)
    assert totals(found, .95) == dict(missed=1)
    assert errors_of.count_images(found, .6) == (1, 1)
    assert errors_of.count_images(found, .5) == (1, 0)
    assert errors_of.count_images(found, .1) == (2, 0)


def test_predictions_in_a_crowd_are_no_errors():
    crowds = [((190, 190, 100, 100), 0)]
    found = errors([(BOX, 0, .9), (AWAY, 0, .8), (AWAY, 1, .7)],
                   crowds=crowds)
    assert totals(found) == dict(background=1)
    assert errors_of.curve(found).precision.tolist() == [1, .5]


def test_sizes_are_those_of_coco():
    truth = [((0, 0, *size), 0) for size in (
        (32, 31), (32, 32), (96, 95), (96, 96))]
    assert errors_of.count_kinds(errors(NONE, truth), 0)['missed'] == [1, 2, 1]


def test_best_threshold():
    found = errors([(BOX, 0, .8), (AWAY, 0, .4)])
    best, f1 = errors_of.curve(found).best()
    # Between the scores, as far from both as possible.
    assert (best, f1) == (.61, 1)
    at = errors_of.curve(found).at(np.array([0., .5, .9]))
    assert at['precision'][:2].tolist() == [.5, 1]
    assert np.isnan(at['precision'][2])
    assert at['recall'].tolist() == [1, 1, 0]


def test_no_prediction_at_all():
    points = errors_of.curve(errors(NONE))
    assert points.best()[1] == 0


def random_images(count=12):
    rng = np.random.default_rng(0)
    for _ in range(count):
        truth = [((*rng.uniform(0, 150, 2), *rng.uniform(10, 120, 2)),
                  int(rng.integers(3))) for _ in range(rng.integers(0, 7))]
        found = [(box + rng.normal(0, 6, 4), label) for box, label in
                 truth * 2 if rng.random() < .7]
        scores = np.sort(rng.random(len(found)))[::-1]
        yield truth, [(box, label if rng.random() < .8 else 2, score)
                      for (box, label), score in zip(found, scores)]


def test_average_precision_is_that_of_coco():
    images = list(random_images())
    found = errors_of.combined(
        errors(predictions, truth) for truth, predictions in images)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=image) for image in range(len(images))],
            categories=[dict(id=label) for label in range(3)],
            annotations=[dict(
                id=100 * image + number + 1, image_id=image,
                category_id=label, bbox=list(box), area=box[2] * box[3],
                iscrowd=0)
                for image, (truth, _) in enumerate(images)
                for number, (box, label) in enumerate(truth)])
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([
            dict(image_id=image, category_id=label, bbox=list(box),
                 score=score) for image, (_, items) in enumerate(images)
            for box, label, score in items]), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    # IoU 0.5, all recalls, each class, all sizes, 100 predictions an image.
    expected = evaluation.eval['precision'][0, :, :, 0, 2].mean(0)
    rows = errors_of.class_rows(found, 'abc', .5)
    assert [row['AP50'] for row in rows] == pytest.approx(expected)
    for row in rows:
        assert row['hits'] + row['misses'] == row['objects']
