"""Pictures tell hits, misses and false alarms apart."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmlowformer.engine.hooks import visualization
from mmlowformer.visualization import drawing
from mmlowformer.visualization.confusion_matrix import (
    draw_accuracies,
    draw_confusion,
)

CLASSES = ('circle', 'square')
RED, GREEN = (255, 0, 0), (0, 255, 0)


class Dataset(list):
    """Images with their boxes."""

    metainfo = dict(classes=CLASSES, palette=[RED, GREEN])

    def get_data_info(self, index):
        return self[index]


class Sample(SimpleNamespace):
    def __contains__(self, name):
        return hasattr(self, name)


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draw a prediction; the line that is said and the picture."""
    lines = []
    monkeypatch.setattr(visualization, 'say', lines.append)

    def run(score=0.5, truth=(), size=64, **sample):
        file = tmp_path / 'images' / 'a.png'
        file.parent.mkdir(exist_ok=True)
        Image.new('RGB', (size, size), (90, 90, 90)).save(file)
        dataset = Dataset([dict(img_path=str(file), instances=[
            dict(bbox=box, bbox_label=label) for box, label in truth])])
        runner = SimpleNamespace(test_dataloader=SimpleNamespace(
            dataset=dataset))
        hook = visualization.VisualizationHook(str(tmp_path / 'out'), score)
        hook.before_test(runner)
        hook.after_test_iter(runner, 0, None, [
            Sample(img_path=str(file), **sample)])
        hook.after_test_epoch(runner)
        # The image itself is as it was.
        assert Image.open(file).size == (size, size)
        return lines[-1], Image.open(tmp_path / 'out' / 'a.png').copy()

    return run


def boxes(*found):
    return InstanceData(
        bboxes=torch.tensor([box for box, _, _ in found],
                            dtype=torch.float).reshape(-1, 4),
        labels=torch.tensor([label for _, label, _ in found],
                            dtype=torch.long),
        scores=torch.tensor([score for _, _, score in found]))


LEFT, RIGHT = (2, 2, 30, 60), (34, 2, 62, 60)


@pytest.mark.parametrize(('found', 'line'), [
    ((), '0 boxes above 0.5 (none): 0 hits, 2 missed, 0 false alarms'),
    (((LEFT, 0, 0.41), ),
     '0 boxes above 0.5 (best 0.41): 0 hits, 2 missed, 0 false alarms'),
    (((LEFT, 0, 0.9), (LEFT, 0, 0.8), (RIGHT, 0, 0.7)),
     '3 boxes above 0.5 (best 0.90): 1 hit, 1 missed, 2 false alarms'),
    (((RIGHT, 1, 0.6), (LEFT, 0, 0.9)),
     '2 boxes above 0.5 (best 0.90): 2 hits, 0 missed, 0 false alarms'),
])
def test_counts(draw, found, line):
    truth = ((LEFT, 0), (RIGHT, 1))
    said, _ = draw(truth=truth, pred_instances=boxes(*found))
    assert said == f'a.png  {line}'


def test_score_threshold(draw):
    found = boxes((LEFT, 0, 0.41))
    assert '1 box above 0.4 (best 0.41)' in draw(
        0.4, pred_instances=found)[0]


def share(picture, color):
    return (np.asarray(picture) == color).all(2).mean()


def test_false_alarms_are_dashed(draw):
    found = boxes((LEFT, 0, 0.9))
    hit = draw(truth=((LEFT, 0), ), pred_instances=found)[1]
    alarm = draw(truth=((RIGHT, 1), ), pred_instances=found)[1]
    assert 0 < share(alarm, RED) < 0.8 * share(hit, RED)
    # Truth and prediction, each enlarged, beside each other.
    assert hit.width > 2 * drawing.SMALLEST_SIDE
    assert share(alarm, GREEN) > 0


@pytest.mark.parametrize('corner', [(0, 0), (52, 0), (26, 26), (52, 52)])
def test_labels_do_not_hide_small_boxes(corner):
    image = np.full((64, 64, 3), 90, np.uint8)
    x, y = corner
    box = torch.tensor([[x, y, x + 12, y + 12.]])
    panel = np.asarray(drawing.draw_boxes(
        image, drawing.Boxes(box, [0], ['circle 0.9'], [True]), [RED]))
    times = drawing.scale_of(image)
    left, top, right, bottom = (
        (box[0] * times).int() + drawing.MARGIN).tolist()
    inside = panel[top + 4:bottom - 4, left + 4:right - 4]
    assert (inside == 90).all()
    assert (panel == RED).all(2).sum() > 0


def test_classes_have_colours_of_their_own():
    for count in (4, 80):
        assert len(set(drawing.class_colors(count))) == count
    # A palette for other classes is none.
    assert drawing.class_colors(2, [RED, GREEN]) == [RED, GREEN]
    assert drawing.class_colors(1, [RED, GREEN]) != [RED]


def test_random_colors_of_mmseg_are_not_the_data_sets():
    made_up = BaseSegDataset(metainfo=dict(classes=CLASSES), lazy_init=True,
                             data_prefix=dict(img_path='')).metainfo
    assert drawing.class_colors(2, made_up['palette']) == \
        drawing.class_colors(2)


def test_masks(draw):
    truth = torch.zeros(1, 64, 64, dtype=torch.long)
    truth[:, :32] = 255
    found = torch.zeros(1, 64, 64, dtype=torch.long)
    found[:, 48:] = 1
    line, picture = draw(pred_sem_seg=PixelData(data=found),
                         gt_sem_seg=PixelData(data=truth))
    assert line == 'a.png  50.0% of the pixels right, false alarm: square'
    assert picture.width > 3 * drawing.SMALLEST_SIDE


@pytest.mark.parametrize(('label', 'words'), [
    (0, 'circle predicted as circle 0.75, right'),
    (1, 'circle predicted as square 0.25, wrong')])
def test_classification(draw, label, words, tmp_path):
    line, picture = draw(
        size=32, pred_label=torch.tensor([label]),
        pred_score=torch.tensor([0.75, 0.25]), gt_label=torch.tensor([0]))
    assert line == f'a.png  {words}'
    assert picture.width >= drawing.SMALLEST_SIDE
    color = drawing.WRONG if label else drawing.RIGHT
    assert share(picture, color) > 0
    assert (tmp_path / 'out' / 'confusion_matrix.png').is_file()
    assert (tmp_path / 'out' / 'accuracy_by_class.png').is_file()


@pytest.mark.parametrize('count', [2, 100])
def test_pictures_of_many_classes(count, tmp_path):
    names = [f'class {index}' for index in range(count)]
    counts = np.eye(count, dtype=int) * 3
    counts[0] = 0
    draw_confusion(counts, names, tmp_path / 'matrix.png')
    draw_accuracies(counts, names, tmp_path / 'classes.png')
    for name in ('matrix.png', 'classes.png'):
        assert max(Image.open(tmp_path / name).size) < 3000
