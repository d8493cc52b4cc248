"""What curves show, and where."""
import io
import json
import shutil

import pytest

from mmlowformer.analysis.curves import choose_keys, draw_curves, read_logs


@pytest.fixture
def work_dir(tmp_path):
    """Two epochs of 12 iterations, of which the tenth is logged."""
    folder = tmp_path / 'run' / '20260101_120000'
    (folder / 'vis_data').mkdir(parents=True)
    records = [dict(loss=2., lr=.1, iter=10, step=10, epoch=1),
               dict(acc=0.5, step=1),
               dict(loss=1., lr=.1, iter=22, step=22, epoch=2),
               dict(acc=0.4, val_loss=3., step=2)]
    (folder / 'vis_data' / 'scalars.json').write_text(
        '\n'.join(map(json.dumps, records)))
    (folder / 'vis_data' / 'config.py').write_text(
        "log_processor = dict(type='LogProcessor', window_size=50)")
    (folder / '20260101_120000.log').write_text(
        'mmengine - INFO - Epoch(train)  [1][10/12]  lr: 1.0e-01  loss: 2')
    return tmp_path / 'run'


def panels_of(work_dir, *keys):
    logs = read_logs([work_dir])
    return draw_curves(logs, choose_keys(logs, keys or None)).axes


def test_validations_stand_at_their_iteration(work_dir):
    assert read_logs([work_dir])[0].curve('val', 'acc') == (
        [12, 24], [0.5, 0.4])


def test_validations_that_say_their_iteration(work_dir):
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    file.write_text(file.read_text().replace('"step": 2}', '"step": 24}'))
    assert read_logs([work_dir])[0].curve('val', 'acc')[0] == [12, 24]


def test_the_best_is_marked(work_dir):
    axis, = panels_of(work_dir, 'acc')
    assert axis.lines[0].get_label() == 'acc, best 0.5 at 12'
    assert axis.collections[0].get_offsets().tolist() == [[12, 0.5]]


def test_the_least_loss_is_the_best(work_dir):
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    file.write_text(file.read_text() + '\n' + json.dumps(
        dict(val_loss=4., step=2)))
    axis, = panels_of(work_dir, 'val_loss')
    assert axis.lines[0].get_label() == 'val_loss, best 3 at 24'


def test_single_points_have_markers(work_dir):
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    line = panels_of(work_dir, 'loss')[0].lines[0]
    assert line.get_marker() == 'None'
    file.write_text(file.read_text().splitlines()[0])
    line = panels_of(work_dir, 'loss')[0].lines[0]
    assert line.get_marker() == 'o'


def test_smoothing_is_named(work_dir):
    labels = [axis.get_ylabel() for axis in panels_of(work_dir)]
    assert labels == ['loss\n(mean of up to 50 iterations)', 'learning rate',
                      'validation']
    next(work_dir.glob('*/vis_data/config.py')).unlink()
    assert panels_of(work_dir)[0].get_ylabel() == 'loss'


def test_metrics_of_no_object_are_left_out(work_dir):
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    file.write_text(file.read_text().replace('"acc":', '"mAP_s": -1, "acc":'))
    panels = choose_keys(read_logs([work_dir]))
    assert panels['validation'] == [('val', 'acc'), ('val', 'val_loss')]


@pytest.mark.parametrize('name', ['$x^$', '_hidden', 'a\x1b[2J\n'])
def test_any_name_of_a_log_is_drawn(work_dir, name):
    """A formula that is none ends matplotlib, and _ hides an entry."""
    other = shutil.copytree(work_dir, work_dir.with_name(name))
    for folders in ([other], [work_dir, other]):
        logs = read_logs(folders)
        figure = draw_curves(logs, choose_keys(logs, None))
        figure.savefig(io.BytesIO())
    entries = [text.get_text() for text in
               figure.axes[0].get_legend().get_texts()]
    assert len(entries) == 2
    assert all(text.isprintable() for text in entries)
