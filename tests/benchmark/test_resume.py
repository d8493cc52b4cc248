"""Measurements in groups, and those that are interrupted and continued."""
import json

import pytest
import torch

from mmlowformer.benchmark import candidates, report
from mmlowformer.benchmark.models import Spec
from mmlowformer.benchmark.options import Settings
from mmlowformer.benchmark.record import as_json, read
from mmlowformer.benchmark.run import benchmark
from mmlowformer.engine import UserError
from mmlowformer.utils.timing import Timer

from .test_run import Costly, RecordedProgress, clock  # noqa: F401

MEGABYTE = 2**20


class Interrupting(RecordedProgress):
    """Ctrl-C when a step is told, which follows it."""

    def __init__(self, step=-1):
        super().__init__()
        self.interrupted = step

    def step(self, text=''):
        super().step(text)
        if self.steps == self.interrupted:
            raise KeyboardInterrupt


@pytest.fixture
def measure(clock, tmp_path):  # noqa: F811
    """Measure models of known costs in seconds, with a file."""
    def run(costs, progress=None, path=tmp_path / 'a.json', max_memory=None,
            build=None, **settings):
        specs = [Spec(name, 'test', build or (
            lambda cost=cost: Costly(clock, cost)))
            for name, cost in costs.items()]
        return benchmark(
            specs, Settings(**dict(shape=(32, 64), batch_size=4, min_time=1.,
                                   repeats=3) | settings),
            Timer(clock), progress, path=path, max_memory=max_memory)
    return run


@pytest.fixture
def _large(monkeypatch):
    """Each model takes 100 MB."""
    monkeypatch.setattr(candidates.PeakMemory, 'read',
                        lambda self: dict(rss=100 * MEGABYTE))


def rates(record):
    return {row['name']: row['images_per_second'] for row in record['rows']}


def names(record, group):
    return [row['name'] for row in record['rows'] if row['group'] == group]


def test_a_round_is_saved_when_it_ends(measure, tmp_path):
    saved = []

    class Watching(RecordedProgress):
        def step(self, text=''):
            super().step(text)
            if (tmp_path / 'a.json').exists():
                saved.append(read(tmp_path / 'a.json'))

    complete = measure(dict(a=0.1, b=0.2), Watching())
    assert [record['rounds'] for record in saved] == [1] * 3 + [2] * 3
    assert {record['complete'] for record in saved} == {False}
    assert [len(row['seconds']) for row in saved[-1]['rows']] == [2, 2]
    assert read(tmp_path / 'a.json') == json.loads(as_json(complete))
    assert not any('seconds' in row for row in complete['rows'])
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


# Two are built; a round are two models and the peak.
@pytest.mark.parametrize(('step', 'rounds'), [(2 + 4, 1), (2 + 8, 2)])
def test_continued(measure, step, rounds):
    part = measure(dict(a=0.1, b=0.2), Interrupting(step))
    assert (part['complete'], part['rounds']) == (False, rounds)
    said = RecordedProgress()
    # The machine is slower now.
    record = measure(dict(a=0.4, b=0.8), said)
    assert said.steps == said.announced == 2 + 3 * (3 - rounds)
    assert record['complete']
    assert [row['turns'] for row in record['rows']] == [3, 3]
    # Of the larger part of the rounds.
    assert rates(record) == pytest.approx(
        dict(a=40, b=20) if rounds == 2 else dict(a=10, b=5))
    # Nothing is left to do.
    said = RecordedProgress()
    assert rates(measure(dict(a=9, b=9), said)) == pytest.approx(
        rates(record))
    assert said.steps == 0


@pytest.mark.parametrize('step', [1, 2, 4])
def test_interrupted_before_the_first_round(measure, tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        measure(dict(a=0.1, b=0.2), Interrupting(step))
    assert not (tmp_path / 'a.json').exists()


def test_interrupted_again_before_a_round(measure, tmp_path):
    measure(dict(a=0.1, b=0.2), Interrupting(2 + 4))
    before = (tmp_path / 'a.json').read_text()
    with pytest.raises(KeyboardInterrupt):
        measure(dict(a=0.1, b=0.2), Interrupting(2))
    assert (tmp_path / 'a.json').read_text() == before


@pytest.mark.parametrize(('changes', 'words'), [
    (dict(repeats=9), 'repeats: 3 instead of 9'),
    (dict(batch_size=2), 'batch_size: 4 instead of 2'),
    (dict(mode='latency'), 'mode: throughput instead of latency'),
    (dict(costs=dict(a=0.1, c=0.2)), 'models: a b instead of a c')])
def test_other_settings_are_refused(measure, changes, words):
    measure(dict(a=0.1, b=0.2), Interrupting(2 + 4))
    with pytest.raises(UserError, match=words) as error:
        measure(**(dict(costs=dict(a=0.1, b=0.2)) | changes))
    assert 'a.json' in str(error.value)
    assert '--json' in str(error.value)
    assert '\n' not in str(error.value)


def test_another_machine_is_refused(measure, monkeypatch):
    measure(dict(a=0.1), Interrupting(1 + 3))
    monkeypatch.setattr('mmlowformer.benchmark.environment.cpu_name',
                        lambda: 'another')
    with pytest.raises(UserError, match='device: .* instead of another'):
        measure(dict(a=0.1))


@pytest.mark.parametrize('damage', [
    lambda record: record['rows'][0].pop('seconds'),
    lambda record: record['rows'].clear(), lambda record: record.pop('peak'),
    lambda record: record['rows'][0].update(seconds='much'),
    lambda record: record['rows'][0].update(name='c'),
    lambda record: record.update(rounds='all')])
def test_damaged_files(measure, damage, tmp_path):
    measure(dict(a=0.1, b=0.2), Interrupting(2 + 4))
    record = read(tmp_path / 'a.json')
    damage(record)
    (tmp_path / 'a.json').write_text(json.dumps(record))
    with pytest.raises(UserError, match='a.json is damaged, delete it'):
        measure(dict(a=0.1, b=0.2))


def test_half_the_batch_is_continued(measure, clock, tmp_path):  # noqa: F811
    def build():
        return Costly(clock, 0.1, fits=2)

    part = measure(dict(a=0.1), Interrupting(2 + 3), build=build)
    assert (part['requested_batch_size'], part['rounds']) == (4, 1)
    record = measure(dict(a=0.1), build=build)
    assert record['complete']
    assert record['settings']['batch_size'] == 2
    assert record['rows'][0]['batch_size'] == 2


@pytest.mark.usefixtures('_large')
def test_groups_share_the_first_model(measure, clock):  # noqa: F811
    """Ratios do not depend on how fast the machine is in each group."""
    slower = iter([1, 1, 2, 2, 4, 4])
    costs = dict(a=0.1, b=0.2, c=0.3, d=0.4)
    order = iter('ab' 'ac' 'ad')

    def build():
        return Costly(clock, costs[next(order)] * next(slower))

    said = RecordedProgress()
    record = measure(costs, said, build=build, max_memory=250 * MEGABYTE)
    assert [names(record, group) for group in (1, 2, 3)] == [
        ['a', 'b'], ['a', 'c'], ['a', 'd']]
    assert report.relative_rates(record) == pytest.approx(
        [1, 1 / 2, 1, 1 / 3, 1, 1 / 4])
    header, rows = report.add_ratio_column(
        record, report.table_header(record), report.table_rows(record))
    assert [row[header.index('vs first')] for row in rows] == [
        '1.00', '0.50', '1.00', '0.33', '1.00', '0.25']
    assert '3 groups of models' in report.describe(record)
    assert 'ratios are to a in the same group' in report.describe(record)
    assert 'together with a' in said.messages[0]


@pytest.mark.usefixtures('_large')
@pytest.mark.parametrize(('step', 'groups'), [
    # While the second group is built, and in its second round.
    (2 + 9 + 1, ['ab']), (4 + 9 + 2 + 4, ['ab', 'ac'])])
def test_groups_are_continued(measure, step, groups):
    costs = dict(a=0.1, b=0.2, c=0.3, d=0.4)
    part = measure(costs, Interrupting(step), max_memory=250 * MEGABYTE)
    assert [''.join(names(part, number + 1))
            for number in range(len(groups))] == groups
    assert len(part['rows']) == 2 * len(groups)
    assert 'INCOMPLETE' in report.describe(part)
    # More memory does not matter to a group that has begun.
    record = measure(costs, max_memory=1000 * MEGABYTE)
    assert record['complete']
    assert {row['turns'] for row in record['rows']} == {3}
    assert rates(record) == pytest.approx(dict(a=40, b=20, c=40 / 3, d=10))


def test_models_that_fit_are_measured_together(measure):
    record = measure(dict(a=0.1, b=0.2, c=0.3), max_memory=1e12)
    assert names(record, 1) == ['a', 'b', 'c']
    assert 'group' not in report.describe(record)


def test_memory_that_runs_out_ends_a_group(measure, clock):  # noqa: F811
    built = []

    def build():
        built.append(1)
        if len(built) == 3:
            raise torch.OutOfMemoryError('beside the others')
        return Costly(clock, 0.1)

    record = measure(dict(a=1, b=1, c=1), build=build, max_memory=1e12)
    assert [names(record, 1), names(record, 2)] == [['a', 'b'], ['a', 'c']]
    assert record['settings']['batch_size'] == 4


def test_a_group_without_its_reference(measure):
    """It has no ratios."""
    record = measure(dict(a=0.1, b=0.2))
    record['rows'] += [
        dict(record['rows'][0], group=2, failure='it died'),
        dict(record['rows'][1], group=2)]
    assert report.relative_rates(record)[2:] == [None, None]
    assert report.table_rows(record)[3][
        report.table_header(record).index('ratio')] == '–'


def test_an_error_in_a_turn_ends_only_this_model(measure, clock):  # noqa: F811
    class Failing(Costly):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 9:
                raise ValueError('not any more')
            return super().forward(x)

    models = iter([Failing(clock, 0.3), Costly(clock, 0.1)])
    record = measure(dict(a=1, b=1), build=lambda: next(models))
    bad, good = record['rows']
    assert bad['failure'] == 'ValueError: not any more'
    assert good['turns'] == 3
    assert record['complete']
