"""Curves from logs."""
import json
import runpy

import cv2
import numpy as np
import pytest

from mmlowformer.analysis.curves import choose_keys, draw_curves, read_logs
from mmlowformer.engine import UserError

from ..helpers import ROOT

TOOL = ROOT / 'tools' / 'analyze_log.py'


def train(iteration, **values):
    values.setdefault('loss', 1 / iteration)
    return dict(lr=0.1, time=1., iter=iteration, step=iteration, **values)


def val(step, **values):
    return dict(values, time=1., step=step)


def write(work_dir, *runs):
    for i, records in enumerate(runs):
        file = work_dir / f'2026010{i}_120000' / 'vis_data' / 'scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text(''.join(json.dumps(r) + '\n' for r in records))
    return work_dir


@pytest.fixture
def resumed(tmp_path):
    """Killed after 40 iterations, went on from 20, tested in between."""
    return write(
        tmp_path / 'resumed',
        [train(10), train(20), val(0, mIoU=1.), train(30), train(40),
         val(0, mIoU=2.)],
        [val(0, mIoU=9.)],
        [train(30, loss=7.), val(35, mIoU=3.), train(40, loss=8.),
         val(2, mIoU=4.)])


def test_joins_the_runs(resumed):
    log, = read_logs([resumed])
    assert log.curve('train', 'loss') == ([10, 20, 30, 40],
                                          [1 / 10, 1 / 20, 7., 8.])
    # A validation says its iteration, its epoch, or nothing.
    assert log.curve('val', 'mIoU') == ([20, 35, 40], [1., 3., 4.])
    assert log.runs == 2


def test_starting_anew_replaces_everything(tmp_path):
    work_dir = write(tmp_path / 'run', [train(5), train(10), val(1, acc=1.)],
                     [train(5, loss=3.)])
    log, = read_logs([work_dir])
    assert log.curve('train', 'loss') == ([5], [3.])
    assert not log.val


def test_torn_last_line(tmp_path):
    work_dir = write(tmp_path / 'run', [train(10), train(20)])
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    file.write_text(file.read_text()[:-20])
    assert read_logs([work_dir])[0].curve('train', 'lr')[0] == [10]
    file.write_text(f'torn\n{file.read_text()}')
    with pytest.raises(UserError, match='scalars.json .* line 1 is no JSON'):
        read_logs([work_dir])


def test_panels(tmp_path, resumed):
    log, = read_logs([resumed])
    assert choose_keys([log]) == {
        'loss': [('train', 'loss')], 'learning rate': [('train', 'lr')],
        'validation': [('val', 'mIoU')]}
    assert choose_keys([log], ['time']) == {
        'training': [('train', 'time')], 'validation': [('val', 'time')]}
    other, = read_logs([write(tmp_path / 'other', [
        train(1, loss=5., loss_cls=2.), val(1, aAcc=1., mAcc=1.)])])
    assert choose_keys([other])['loss'] == [('train', 'loss'),
                                            ('train', 'loss_cls')]
    assert choose_keys([log, other]) == {
        'loss': [('train', 'loss')], 'learning rate': [('train', 'lr')],
        'validation': [('val', 'mIoU'), ('val', 'aAcc')]}


def lines_of(work_dirs, keys=None):
    logs = read_logs(work_dirs)
    figure = draw_curves(logs, choose_keys(logs, keys))
    return figure, [[(line.get_label(), line.get_color())
                     for line in axis.lines] for axis in figure.axes]


def test_work_dirs_are_told_apart_by_colour(tmp_path):
    work_dirs = [write(tmp_path / name, [train(1), val(1, acc=1.)])
                 for name in ('a/run', 'b/run')]
    figure, lines = lines_of(work_dirs)
    assert lines[0] == [('a/run: loss', 'C0'), ('b/run: loss', 'C1')]
    assert [color for _, color in lines[2]] == ['C0', 'C1']
    assert all(axis.get_legend() for axis in figure.axes)


@pytest.mark.parametrize(('losses', 'scale'), [
    ((10., 1.), 'linear'), ((500., 1.), 'log'), ((500., 0.), 'linear'),
    ((500., 1., float('nan')), 'log'), ((float('nan'), ), 'linear')])
def test_log_axis(tmp_path, losses, scale):
    work_dir = write(tmp_path / 'run', [
        train(i, loss=loss) for i, loss in enumerate(losses, 1)])
    figure, _ = lines_of([work_dir], ['loss'])
    assert figure.axes[0].get_yscale() == scale


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the tool from an empty folder, in this process."""

    def run(*arguments):
        monkeypatch.setattr('sys.argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')

    monkeypatch.chdir(tmp_path)
    return run


def test_draws_a_picture(call, resumed, capsys):
    call(resumed)
    assert capsys.readouterr().out.splitlines() == [
        'resumed: iteration 40, 3 validation(s), started 2 time(s)',
        f'Written: {resumed}/curves.png']
    picture = cv2.imread(str(resumed / 'curves.png'))
    assert min(picture.shape[:2]) > 500
    # Nothing is cut off at the edges.
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all(np.all(edge == 255) for edge in edges)
    assert not np.all(picture == 255)


@pytest.mark.parametrize(('arguments', 'message'), [
    (['.'], 'no log of a training in'),
    (['resumed', '--keys', 'miou'],
     '--keys miou: no such value was logged. Did you mean mIoU?'),
    (['resumed', '--keys', 'grad_norm'], 'Only trainings with '
     'optim_wrapper.clip_grad log it'),
    (['resumed', '--keys', 'x'], 'Choose from lr, time, loss, mIoU.'),
    (['resumed', '--out', 'x.jpg'], '--out x.jpg has to end in .png'),
    (['resumed', '--out', 'mine.png'], 'mine.png exists already'),
    (['resumed', 'resumed'], 'several work dirs need --out'),
    (['resumed', '--out', 'none/x.png'], 'none/x.png cannot be written (No '
     'such file or directory)'),
])
@pytest.mark.usefixtures('resumed')
def test_bad_input(arguments, message, call, tmp_path):
    (tmp_path / 'mine.png').write_text('mine')
    with pytest.raises(SystemExit) as error:
        call(*arguments)
    assert message in str(error.value)
    assert (tmp_path / 'mine.png').read_text() == 'mine'
    assert not list(tmp_path.rglob('curves.png'))


@pytest.mark.parametrize('line', [
    'null', '[1]', '{"loss": 1}', '{"step": "1", "iter": 1}',
    '{"step": 1, "iter": null}', f'{{"step": {10**30}, "iter": 1}}',
    '{"step": NaN, "iter": 1}', '[' * 100_000, '\udcff\udcfe'])
def test_wrong_records_are_told_in_a_line(line, tmp_path):
    work_dir = write(tmp_path / 'run', [train(10), train(20)])
    file = next(work_dir.glob('*/vis_data/scalars.json'))
    file.write_bytes(f'{line}\n'.encode(errors='surrogateescape')
                     + file.read_bytes())
    with pytest.raises(UserError, match='is no log of a training'):
        read_logs([work_dir])


def test_only_numbers_are_drawn(tmp_path):
    work_dir = write(tmp_path / 'run', [
        train(1, loss=None, x='text'), train(2, loss=10**400),
        train(3, loss=2.)])
    logs = read_logs([work_dir])
    assert logs[0].curve('train', 'loss') == ([3], [2.])
    draw_curves(logs, choose_keys(logs))
