"""docs/troubleshooting.md says what the doctor says."""
import re

from mmlowformer.doctor.__main__ import MARKS, format_result
from mmlowformer.doctor.checks import TASKS

from ..helpers import ROOT
from .conftest import describe, judge

PAGE = (ROOT / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8')


def test_example_is_real():
    result = judge(describe(errors={
        'mmseg.models': "ModuleNotFoundError: No module named 'ftfy'"}))[0]
    assert f'```text\n{format_result("mmseg", result["mmseg"])}\n```' in PAGE


def test_all_marks_and_tasks_are_named():
    assert set(re.findall(r'^\| `(..)` \|', PAGE, re.M)) == set(
        MARKS.values())
    section = PAGE.split('Tasks are ')[1].split(';')[0]
    assert re.findall(r'`(\w+)`', section) == list(TASKS)
