"""Mistakes are told from bugs."""
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmlowformer import errors
from mmlowformer.engine import UserError, explain_build_errors, one_line_errors


class Picky(nn.Module):

    def __init__(self, size=1, bug=False):
        super().__init__()
        if bug:
            raise bug
        if size < 1:
            raise ValueError('size has to be positive')


@pytest.fixture
def picky():
    MODELS.register_module(module=Picky)
    yield
    del MODELS.module_dict['Picky']


def build(cfg):
    with explain_build_errors(cfg):
        MODELS.build(cfg.model)


@pytest.mark.parametrize(('part', 'message'), [
    (dict(type='Picky', size=0),
     r'model \(Picky\) cannot be built: size has to be positive \(--debug'),
    (dict(type='Picky', sizes=0), r"argument 'sizes'. Did you mean size\?"),
    (dict(type='Pickie'), r'Pickie is not in .* Did you mean Picky\?'),
    (dict(size=1), 'model cannot be built: it has no type'),
])
@pytest.mark.usefixtures('picky')
def test_mistakes(part, message):
    with pytest.raises(UserError, match=message):
        build(Config(dict(model=part)))


@pytest.mark.parametrize('kind', [NameError, AttributeError, IndexError,
                                  ZeroDivisionError, RecursionError])
@pytest.mark.usefixtures('picky')
def test_bugs_in_a_part_keep_their_traceback(kind):
    with pytest.raises(kind):
        build(Config(dict(model=dict(type='Picky', bug=kind('slip')))))


def test_bugs_outside_keep_their_traceback():
    with (pytest.raises(ValueError, match='x'),
          explain_build_errors(Config({}))):
        raise ValueError('x')


def test_bugs_in_hooks_keep_their_traceback(tmp_path):
    class Broken(Hook):

        def after_load_checkpoint(self, runner, checkpoint):
            raise ValueError('slip')

    runner = Runner(nn.Linear(1, 1), str(tmp_path), load_from='x',
                    experiment_name='bugs_in_hooks')
    runner.register_hook(Broken())
    with (pytest.raises(ValueError, match='slip'),
          explain_build_errors(Config(dict(load_from='x')))):
        runner.call_hook('after_load_checkpoint', checkpoint={})
    with (pytest.raises(UserError, match='checkpoint x cannot be loaded'),
          explain_build_errors(Config(dict(load_from='x')))):
        runner.load_or_resume()


@pytest.mark.parametrize('debug', [True, False])
def test_debug_shows_the_traceback(debug, capsys, monkeypatch):
    monkeypatch.setenv(errors.DEBUG, str(int(debug)))
    with pytest.raises(SystemExit) as end, one_line_errors('tool'):
        raise UserError('outer') from KeyError('inner')
    assert end.value.code == 'tool: error: outer'
    text = capsys.readouterr().err
    assert ('Traceback' in text and "KeyError: 'inner'" in text) == debug


def test_other_processes_say_nothing(monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(SystemExit) as end, one_line_errors('tool'):
        raise UserError('x')
    assert end.value.code == 1


def test_from_a_worker():
    with pytest.raises(SystemExit) as end, one_line_errors('tool'):
        raise UserError('Caught UserError in DataLoader worker process 0.\n'
                        'Original Traceback (most recent call last):\n'
                        'mmlowformer.errors.UserError: image x is empty\n')
    assert end.value.code == 'tool: error: image x is empty'
