"""What trackers of many objects need."""
from mmlowformer.config.requirements import NEEDS
from mmlowformer.doctor.checks import TRACKERS
from mmlowformer.utils.imports import pinned

from .conftest import describe, judge

PINS = dict(pinned(name).split('==') for name in TRACKERS)


def test_all_is_there():
    found, problems = judge(describe(['mot'], PINS))
    assert found['many objects'].status == 'ok'
    assert not problems


def test_a_line_installs_what_is_missing():
    found, problems = judge(describe(['mot'], dict(PINS, lap=None)))
    assert found['many objects'].remedy == (
        'pip install lap==0.5.13 "numpy<2.4"')
    assert 'many objects' in problems


def test_only_asked_for():
    assert 'many objects' not in judge(describe())[0]


def test_all_needs_are_looked_at():
    assert set(TRACKERS) == {
        name for names in NEEDS.values() for name in names}
