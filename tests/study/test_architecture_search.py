"""What is chosen keeps its budget, also when it is measured again."""
import json
import re

import pytest

from mmlowformer.benchmark import memory
from mmlowformer.benchmark.models import Spec
from mmlowformer.benchmark.options import Settings
from mmlowformer.errors import UserError
from mmlowformer.models import LowFormer
from mmlowformer.study import architecture_search as choosing
from mmlowformer.study import sweep, tables
from mmlowformer.utils.timing import Timer

from ..benchmark.test_run import Costly, clock  # noqa: F401
from ..helpers import ROOT

MINE = dict(
    thin=dict(variant='b0', block=['local']),
    wide=dict(variant='b1', attention_ratio=1))
MILLISECONDS = dict(b0=10, b1=16, b2=40, e1=12, b1_no_mlp=14, b1_unfused=13,
                    thin=8, wide=17)


@pytest.fixture
def machine(clock, monkeypatch):  # noqa: F811
    """Networks that take known times, which may change."""
    times = dict(MILLISECONDS)

    def spec(name, family='LowFormer'):
        return Spec(f'lowformer_{name}', family, lambda: Costly(
            clock, times[name] / 1e3))

    monkeypatch.setattr(
        choosing, 'find_models', lambda patterns: [
            spec(name) for pattern in patterns for name in (
                [n for n in MILLISECONDS if n not in MINE]
                if pattern == 'lowformer_*' else
                [pattern.removeprefix('lowformer_')])])
    monkeypatch.setattr(choosing, '_spec',
                        lambda name, arch, family: spec(name, family))
    # Takes longer than these networks.
    monkeypatch.setattr(memory, '_release_free_memory', lambda: None)
    monkeypatch.setattr(choosing, 'EXTRA', 0)
    monkeypatch.setattr(choosing, 'ABLATIONS', {})
    return times


SETTINGS = Settings(shape=(32, 32), batch_size=1, mode='latency',
                    min_time=0.3, repeats=3)


def choose(path, clock, budgets, archs, count=2):  # noqa: F811
    study = sweep.opened(path, 'choose', {}, 'cpu')
    study['settings'] = dict(options=dict(
        deploy=False, channels_last=False, amp=False, cuda_graph=False,
        compile=None, dtype='fp32', backend='torch'))
    return study, choosing.choose(study, budgets, archs, count, SETTINGS,
                                  path, timer=Timer(clock))


def test_the_budget_is_kept_when_measured_again(machine, clock,  # noqa: F811
                                                tmp_path, monkeypatch):
    decided = choosing.final_measurement

    def later(*arguments):
        # The machine has become slower meanwhile.
        machine.update(b1=21)
        return decided(*arguments)

    monkeypatch.setattr(choosing, 'final_measurement', later)
    study, choices = choose(tmp_path / 'a.json', clock, [20, 5], {})
    twenty, five = choices
    assert twenty.dropped == ['b1']
    assert twenty.names == ['e1']
    assert twenty.milliseconds == pytest.approx(dict(e1=12))
    assert all(time <= 20 for time in twenty.milliseconds.values())
    assert five.names == []
    assert tables.tables_of(study)[0].rows == [
        ['20 ms', 'e1', '12.0', '78.8', '–'],
        ['5 ms', 'none', '–', '–', '–']]
    assert json.loads((tmp_path / 'a.json').read_text())['choices'] == [
        dict(budget=20, names=['e1'], milliseconds=dict(
            e1=pytest.approx(12)), dropped=['b1']),
        dict(budget=5, names=[], milliseconds={}, dropped=[])]


def test_a_prediction_has_its_error(machine, clock, tmp_path):  # noqa: F811
    study, choices = choose(tmp_path / 'a.json', clock, [1000], MINE)
    shown, held_out = tables.tables_of(study)
    mine = [row for row in shown.rows if row[1] in MINE]
    assert len(mine) == 2
    error = study['held_out']['predicted']
    assert all(row[-1].endswith(f'±{error:.0%}') for row in mine)
    # Of what was measured, not of what was predicted.
    assert {row[1]: row[2] for row in mine} == dict(thin='8.0', wide='17.0')
    assert [row[0] for row in held_out.rows] == [
        'latency model', 'line through the MACs']


def test_other_budgets_do_not_measure_all_again(machine,
                                                clock,  # noqa: F811
                                                tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    choose(path, clock, [20], {})
    study = sweep.read(path)
    assert study['complete']
    cells = len(study['cells'])
    choosing.choose(study, [20, 13], {}, 2, SETTINGS, path,
                    timer=Timer(clock))
    assert len(study['cells']) == cells + 1
    assert study['complete']
    assert [choice['budget'] for choice in study['choices']] == [20, 13]


def test_ctrl_c_before_networks_are_measured_again(
        machine, clock, tmp_path, monkeypatch):  # noqa: F811
    path = tmp_path / 'a.json'

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(choosing, 'compare_latency_models', interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose(path, clock, [20], {})
    study = sweep.read(path)
    assert (len(study['cells']), study['complete']) == (1, False)


@pytest.mark.parametrize(('content', 'message'), [
    ('[', 'cannot be read'),
    ('[]', 'has to hold names with arch dicts'),
    ('{"mine": {"variant": "b9"}}', "mine: variant of the arch dict is 'b9'"),
    ('{"mine": {"variant": "b1", "depth": 3}}', "unknown key 'depth'"),
    ('{"b1": {"variant": "b1"}}', 'b1 is the name of a known network'),
])
def test_own_networks_that_are_none(content, message, tmp_path):
    path = tmp_path / 'mine.json'
    path.write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        choosing.read_archs(str(path))


def test_random_networks_can_be_built_and_are_always_the_same():
    archs = choosing.random_archs(choosing.EXTRA)
    assert archs == choosing.random_archs(choosing.EXTRA)
    assert len({str(arch) for arch in archs.values()}) == choosing.EXTRA
    for arch in archs.values():
        LowFormer(dict(arch, depths=(0, 1, 1, 1, 1)), out_indices=0)


def test_accuracies_are_those_of_the_model_zoo():
    page = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    listed = re.findall(
        r'^\| \[`lowformer_(\w+)_in1k`\].*? \| .*? \| .*? \| (\S+) \|', page,
        re.M)
    assert {name: float(value) for name, value in listed
            if name in LowFormer.arch_settings} == choosing.ACCURACIES
