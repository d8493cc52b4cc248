"""What reaches the screen, what the log file, and what neither loses."""
import contextlib
import io
import logging
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image

from mmlowformer.engine import exit_on_interrupt
from mmlowformer.engine.runner import QuietRunner
from mmlowformer.errors import UserError, blocked_signals, one_line_errors
from mmlowformer.utils import console
from mmlowformer.utils.text import wrapped
from mmlowformer.visualization import drawing
from mmlowformer.visualization.confusion_matrix import (
    draw_accuracies,
    draw_confusion,
)
from mmlowformer.visualization.drawing import Boxes


@pytest.fixture
def logged(tmp_path, capsys):
    """Log within a quiet screen; the lines on it and those in the file."""

    def run(work, before=lambda: None, **options):
        file = tmp_path / 'run.log'
        with console.quiet_screen(**options):
            before()
            logger = MMLogger(f'{tmp_path}', log_file=str(file))
            MMLogger._instance_dict[f'{tmp_path}'] = logger
            try:
                console.install_screen_handler(logger)
                work(logger)
            finally:
                MMLogger._instance_dict.pop(f'{tmp_path}')
        return capsys.readouterr().out, file.read_text()

    return run


SUPPRESSED_WARNINGS = [
    '``build_loss`` would be deprecated soon',
    'Default ``avg_non_ignore`` is False, if you would like to',
    'The draw is False, it means that the hook for visualization will not',
    '"FileClient" will be deprecated in future. Please use io functions',
    '"HardDiskBackend" is the alias of "LocalBackend"',
    'Failed to search registry with scope "mmdet" in the "function" tree',
    '`Visualizer` backend is not initialized because save_dir is None.',
    'CUTLASS backend is not supported with non-AOT cpp_wrapper mode. Skipping',
    'pkg_resources is deprecated as an API. See https://setuptools.pypa.io',
    "'pkgutil.find_loader' is deprecated and slated for removal in Python",
    r"invalid escape sequence '\d'",
    r'"\d" is an invalid escape sequence. Such sequences will not work in the',
    'for stem.0.conv.weight: copying from a non-meta parameter in the '
    'checkpoint to a meta parameter in the current module, which is a no-op.',
]


@pytest.mark.parametrize(('text', 'screen'), [
    ("No CUDA runtime is found, using CUDA_HOME='/usr/local'", ''),
    ('something else', 'Warning: something else\n')])
def test_what_torch_logs(logged, text, screen):
    """On the same screen, and not on a stream of its own."""
    before = list(logging.getLogger('torch').handlers)

    def log(_):
        logging.getLogger('torch.utils.cpp_extension').warning(text)
        assert not set(before) & set(logging.getLogger('torch').handlers)

    shown, file = logged(log)
    assert shown == screen
    assert text in file
    assert logging.getLogger('torch').handlers == before


@pytest.mark.parametrize('text', SUPPRESSED_WARNINGS)
@pytest.mark.parametrize('way', ['logged', 'warned'])
def test_false_alarms_are_in_the_file_alone(logged, text, way):
    screen, file = logged(
        lambda logger: logger.warning(text) if way == 'logged' else
        warnings.warn(text, stacklevel=2))
    assert screen == ''
    assert text in file


@pytest.mark.parametrize('text', [
    *SUPPRESSED_WARNINGS, f'The reason: {SUPPRESSED_WARNINGS[0]}'])
def test_other_tools_hide_false_alarms(recwarn, text):
    with console.suppress_warnings():
        warnings.warn(text, stacklevel=2)
        warnings.warn('something else', stacklevel=2)
    assert [str(item.message) for item in recwarn] == ['something else']


@pytest.mark.parametrize('way', ['logged', 'warned'])
def test_true_warnings_are_on_both(logged, way):
    text = 'lr_scheduler.step() was called before optimizer.step()'
    screen, file = logged(
        lambda logger: logger.warning(text) if way == 'logged' else
        warnings.warn(text, stacklevel=2))
    assert screen == f'Warning: {text}\n'
    assert text in file


def test_details_are_in_the_file_alone(logged):
    screen, file = logged(lambda logger: logger.info('Config:\nmodel = 1'))
    assert screen == ''
    assert 'model = 1' in file


def test_said_is_on_both(logged):
    screen, file = logged(lambda logger: console.say('Best  0.5'))
    assert screen == 'Best  0.5\n'
    assert 'Best  0.5' in file


def test_loaded_tensors_are_news(logged):
    text = 'LowFormer-b0: 252/252 tensors from b0.pth (timm)'
    assert logged(lambda logger: logger.info(text))[0] == f'{text}\n'


def test_results_by_class_where_they_are_the_result(logged):
    text = '\n+--------+\n| Class  |\n+--------+'
    assert logged(lambda logger: logger.info(text))[0] == ''
    assert logged(lambda logger: logger.info(text), tables=True)[0] == \
        f'{text}\n'


# As TrackEval formats its settings, tables and times.
TRACKEVAL = [
    '\nMotChallenge2DBox Config:', 'USE_PARALLEL         : False',
    '\nEvaluating 1 tracker(s) on 2 sequence(s) for 1 class(es) on it',
    '\nEvaluating default-tracker\n',
    f'{"HOTA: default-tracker-pedestrian":35}{"HOTA":10}{"DetA":10}',
    f'{"COMBINED":35}{"33.33":10}{"-4":10}', '\nTiming analysis:',
    f'1 {"eval_sequence(MOT17-02)":70} 0.1000 sec',
    f'{"get_raw_seq_data":70} 0.2000 sec',
    '\nAll sequences for default-tracker finished in 0.30 seconds']


def test_chatter_is_in_the_file_and_prints_on_the_screen(logged):
    def work(logger):
        print('loading annotations into memory...')
        print('my own hook', 'was here')
        for line in TRACKEVAL:
            print(line)
        print('without an end', end='')

    screen, file = logged(work)
    assert screen == 'my own hook was here\nwithout an end\n'
    for line in ('loading annotations', *TRACKEVAL):
        assert line.strip() in file
    assert 'my own hook' not in file


def test_each_warning_is_shown_once(logged):
    def work(logger):
        torch_logger = logging.getLogger('torch.fx')
        for text in ('one', 'two', 'one'):
            torch_logger.warning(text)

    assert logged(work)[0] == 'Warning: one\nWarning: two\n'


def test_what_comes_before_the_file_is_in_it(logged):
    screen, file = logged(
        lambda logger: None,
        before=lambda: (console.warn('too early'),
                        warnings.warn(SUPPRESSED_WARNINGS[0], stacklevel=2)))
    assert screen == 'Warning: too early\n'
    assert 'too early' in file
    assert SUPPRESSED_WARNINGS[0] in file


def test_only_the_first_process_writes(logged, monkeypatch):
    monkeypatch.setenv('RANK', '1')

    def work(logger):
        console.say('said')
        console.show('shown')
        print('printed')
        logger.warning('warned')

    assert logged(work)[0] == ''


def test_lines_break_between_words():
    path = '/data/' + 'folder-with-a-name/' * 6
    assert wrapped(f'a {path} b') == f'a\n{path}\nb'
    assert all(len(line) <= 80
               for line in wrapped('word ' * 60).splitlines())


def test_runner_is_quiet_from_its_first_line(tmp_path, capsys):
    arguments = dict(model=dict(type='ToyModel'), work_dir=str(tmp_path))
    for runner in (Runner, QuietRunner):
        with pytest.raises(KeyError):
            runner(**arguments, experiment_name=runner.__name__)
        out = capsys.readouterr().out
        assert ('System environment' in out) == (runner is Runner)
    logs = [file.read_text() for file in tmp_path.glob('*/*.log')]
    assert any('System environment' in log for log in logs)


class Mean(BaseModel):
    """Its loss takes no data to speak of."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.layer(torch.ones(1, 2)).mean())


def test_training_is_compiled_with_groups_of_parameters(tmp_path):
    """As configs have them: torch cannot compile optimizers of these."""
    runner = QuietRunner(
        Mean(), str(tmp_path), train_dataloader=dict(
            dataset=[dict(inputs=1)] * 2, batch_size=1,
            sampler=dict(type='DefaultSampler')),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        cfg=Config(dict(compile=dict(backend='eager'))),
        optim_wrapper=ConfigDict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1),
            paramwise_cfg=dict(bias_decay_mult=0.)),
        default_hooks=dict(checkpoint=None), experiment_name='compiled')
    before = runner.model.layer.weight.clone()
    runner.train()
    assert (runner.model.layer.weight != before).all()
    groups = runner.optim_wrapper.optimizer.param_groups
    assert [group['weight_decay'] for group in groups] == [0.1, 0.]


@pytest.fixture
def _ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_work(swallowed):
    with (console.quiet_screen(),
          exit_on_interrupt(lambda: 'Words.')):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not swallowed:
                raise
            raise SyntaxError('Failed to format the config') from None


@pytest.mark.usefixtures('_ctrl_c')
@pytest.mark.parametrize('swallowed', [False, True])
def test_interrupted(swallowed, capsys):
    with pytest.raises(SystemExit) as status:
        interrupt_work(swallowed)
    assert status.value.code == 130
    assert capsys.readouterr().err == '\nWords.\n'


SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.usefixtures('_ctrl_c')
@pytest.mark.parametrize('number', SIGNALS)
def test_the_inner_words_of_nested_interrupts_are_the_only_ones(
        number, capsys):
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(SystemExit) as status, one_line_errors('tool'), \
            exit_on_interrupt(lambda: 'Nothing is done.'), \
            exit_on_interrupt(lambda: 'Two are done.'):
        signal.raise_signal(number)
    assert status.value.code == 128 + number
    assert capsys.readouterr().err == '\nTwo are done.\n'
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_new_processes_get_no_signals():
    with blocked_signals():
        shown = subprocess.check_output([sys.executable, '-c', (
            'import signal; print(signal.pthread_sigmask('
            'signal.SIG_BLOCK, []))')], text=True)
    for number in SIGNALS:
        assert repr(signal.Signals(number)) in shown
    assert not {*SIGNALS} & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def interrupted_measurement(number):
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)
    raise KeyboardInterrupt


@pytest.mark.usefixtures('_ctrl_c')
@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_without_words(number, capsys):
    # As a measurement does, which shows what it has got.
    with pytest.raises(SystemExit) as status, one_line_errors('tool'):
        interrupted_measurement(number)
    assert status.value.code == 128 + number
    assert capsys.readouterr().err == '\nInterrupted.\n'


def test_what_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with one_line_errors('tool'):
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_distributed_job_is_ended_by_its_launcher(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with one_line_errors('tool'):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


HOSTILE = 'a\x1b[2Jb\u202ec\rd\udcff\u2028e'


def test_nothing_that_is_shown_moves_the_cursor(capsysbinary):
    with console.quiet_screen():
        console.show(HOSTILE)
        print('half\rwhole')
        console.warn(HOSTILE)
    shown = capsysbinary.readouterr().out.decode()
    assert r'a\x1b[2Jb\u202ec\rd\udcff\u2028e' in shown
    assert not set(HOSTILE[1:]) & set(shown) - set('abcde[2J')
    assert 'whole' in shown
    assert 'half' not in shown


@pytest.mark.parametrize('draw', [
    lambda text: drawing.draw_boxes(np.zeros((99, 99, 3), np.uint8), Boxes(
        np.array([[1., 1, 9, 9]]), [0], [text], [True]), [(9, 9, 9)]),
    lambda text: drawing.draw_label(np.zeros((9, 9, 3), np.uint8), [text]),
    lambda text: drawing.captioned([(text, Image.new('RGB', (9, 9)))],
                                    [(text, (9, 9, 9))]),
    lambda text: drawing.contact_sheet([(text, Image.new('RGB', (9, 9)))])])
@pytest.mark.parametrize('text', ['two\nlines', HOSTILE, 'x' * 100_000],
                         ids=['lines', 'controls', 'length'])
def test_any_name_can_be_drawn(draw, text):
    assert draw(text).width < 4000


def test_any_name_has_a_place_in_the_matrix(tmp_path):
    names = ['two\nlines', HOSTILE, '$x^$']
    for draw in (draw_confusion, draw_accuracies):
        draw(np.eye(3, dtype=int), names, tmp_path / 'matrix.png')
    assert (tmp_path / 'matrix.png').stat().st_size


def test_a_message_has_a_limit_and_no_controls():
    with pytest.raises(SystemExit) as status, one_line_errors('tool'):
        raise UserError(HOSTILE + 'x' * 100_000)
    said = str(status.value)
    assert len(said) < 5000
    assert r'a\x1b' in said
    assert '\x1b' not in said


def test_a_name_begins_no_line_of_a_message():
    with pytest.raises(SystemExit) as status, one_line_errors('tool'):
        raise UserError('checkpoint a\nNo errors.pth is empty')
    assert str(status.value) == (
        'tool: error: checkpoint a\\nNo errors.pth is empty')


class LeftPipe(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_a_reader_that_left_does_not_end_the_work(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', LeftPipe())
    with console.quiet_screen():
        console.show('on and on')
        print('and on')


def test_other_errors_are_not_interrupts():
    with (pytest.raises(ValueError, match='real'),
          exit_on_interrupt(lambda: 'Words.')):
        raise ValueError('a real one')


@pytest.mark.parametrize('version', [4, 5])
def test_opencv_is_silent_for_a_while(monkeypatch, version):
    """Version 5 has moved the functions."""
    levels = [3]
    log = SimpleNamespace(getLogLevel=lambda: levels[-1],
                          setLogLevel=levels.append)
    monkeypatch.setattr(console, 'cv2', (
        SimpleNamespace(utils=SimpleNamespace(logging=log)) if version == 5
        else SimpleNamespace(utils=SimpleNamespace(), **vars(log))))
    with console._silent_opencv():
        assert levels == [3, 0]
    assert levels == [3, 0, 3]


def test_handlers_have_a_stream(logged):
    """MMEngine's MLflow back end looks at that of each handler."""

    def look(logger):
        assert any(isinstance(handler, console.ScreenHandler)
                   for handler in logger.handlers)
        assert not any(handler.stream is None or handler.stream.closed
                       for handler in logger.handlers)

    logged(look)
