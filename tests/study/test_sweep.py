"""A series of measurements is kept, gone on with, and never overwritten."""
import json

import pytest

from mmlowformer.benchmark.models import Spec
from mmlowformer.benchmark.options import Settings
from mmlowformer.benchmark.run import BenchmarkProgress
from mmlowformer.errors import UserError
from mmlowformer.study import sweep
from mmlowformer.study.sweep import Measurement

SETTINGS = dict(repeats=3, sizes=(1, 2))


class Measured:
    """Cells that note when they are measured."""

    def __init__(self):
        self.order = []

    def cell(self, name, complete=True, error=None):
        def measure(progress):
            self.order.append(name)
            if error:
                raise error
            return dict(complete=complete, rows=[dict(name=name)])

        return Measurement(dict(name=name), measure)


@pytest.fixture
def measured():
    return Measured()


def opened(path, **more):
    return sweep.opened(path, 'layers', dict(SETTINGS, **more), 'cpu')


def names(study):
    return [cell['key']['name'] for cell in study['cells']]


def test_goes_on_after_ctrl_c(tmp_path, measured):
    path = tmp_path / 'new' / 'a.json'
    study = sweep.run(opened(path), [
        measured.cell('a'), measured.cell('b', error=KeyboardInterrupt),
        measured.cell('c')], path)
    assert (names(study), study['complete']) == (['a'], False)
    assert names(sweep.read(path)) == ['a']
    study = sweep.run(opened(path), list(map(measured.cell, 'abc')), path)
    assert (names(study), study['complete']) == (['a', 'b', 'c'], True)
    assert measured.order == ['a', 'b', 'b', 'c']
    assert sweep.read(path) == json.loads(json.dumps(study))


def test_what_was_interrupted_between_turns_is_not_kept(tmp_path, measured):
    path = tmp_path / 'a.json'
    study = sweep.run(opened(path), [
        measured.cell('a'), measured.cell('b', complete=False)], path)
    assert (names(study), study['complete']) == (['a'], False)


def test_a_complete_study_is_not_measured_again(tmp_path, measured):
    path = tmp_path / 'a.json'
    sweep.run(opened(path), [measured.cell('a')], path)
    content = path.read_bytes()
    study = sweep.run(opened(path), [measured.cell('a')], path)
    assert study['complete']
    assert measured.order == ['a']
    assert path.read_bytes() == content


def test_less_than_before_is_complete(tmp_path, measured):
    path = tmp_path / 'a.json'
    sweep.run(opened(path), [
        measured.cell('a'), measured.cell('b', error=KeyboardInterrupt)], path)
    assert not sweep.read(path)['complete']
    assert sweep.run(opened(path), [measured.cell('a')], path)['complete']
    assert sweep.read(path)['complete']
    assert measured.order == ['a', 'b']


def test_other_settings_do_not_overwrite(tmp_path, measured):
    path = tmp_path / 'a.json'
    sweep.run(opened(path), [measured.cell('a')], path)
    content = path.read_bytes()
    with pytest.raises(UserError, match='other settings.*3 instead of 4'):
        opened(path, repeats=4)
    with pytest.raises(UserError, match='another kind, layers'):
        sweep.opened(path, 'network', SETTINGS, 'cpu')
    assert path.read_bytes() == content


def test_another_machine_does_not_go_on(tmp_path, measured, monkeypatch):
    path = tmp_path / 'a.json'
    sweep.run(opened(path), [measured.cell('a')], path)
    monkeypatch.setattr('mmlowformer.benchmark.environment.cpu_name',
                        lambda: 'another')
    with pytest.raises(UserError, match='instead of another'):
        opened(path)


@pytest.mark.parametrize('content', ['', '[]', '{"schema": 1}'])
def test_a_file_that_is_no_study(content, tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(content)
    with pytest.raises(UserError, match='a.json'):
        opened(path)
    assert path.read_text() == content


def test_old_names_are_read(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(
        opened(path, designs=['MLP']),
        cells=[dict(key={}, rows=[dict(design='MLP')])])))
    known = sweep.read(path)
    assert known['settings']['block_types'] == ['MLP']
    assert known['cells'][0]['rows'] == [dict(block_type='MLP')]


def test_out_of_memory_is_noted(monkeypatch):
    def measure(*arguments):
        raise UserError('out of memory with a single image')

    monkeypatch.setattr(sweep, 'benchmark', measure)
    record = sweep.measure_or_note(
        [Spec('large', 'test', None)], Settings(), None, BenchmarkProgress())
    assert record['complete']
    assert record['rows'] == [
        dict(name='large', failure='out of memory with a single image')]
