"""tools/benchmark_scale.py, on data that are small enough."""
import json
import os
import runpy
import subprocess
import sys
import time

import pytest

from mmlowformer.benchmark import scale
from mmlowformer.benchmark.scale import growth, processes

from ..helpers import ROOT, restored_process

TOOL = ROOT / 'tools/benchmark_scale.py'
PAGES = runpy.run_path(str(ROOT / 'docs/measurement_pages.py'))
SIZES = (1000, 10_000, 100_000)
START = 5.


def rows(*values, key='seconds', sizes=SIZES):
    return [dict(size=size, **{key: value})
            for size, value in zip(sizes, values)]


@pytest.mark.parametrize('power', [0.5, 1, 2])
def test_exponents(power):
    values = [START + 1e-3 * size**power for size in SIZES]
    assert growth.exponent(SIZES, values) == pytest.approx(power)
    values = [1e-3 * size**power for size in SIZES[:2]]
    assert growth.exponent(SIZES[:2], values) == pytest.approx(power)


def test_linear_growth_of_any_sizes():
    sizes = (12, 340, 11_111)
    assert growth.exponent(sizes, [START + 2 * size for size in sizes]) == \
        pytest.approx(1)


def test_laws_and_noise():
    linear = rows(6, 15, 105)
    assert growth.growth(linear, 'seconds') == 'n^1.00'
    assert growth.each_further(linear, 'seconds', 1e6) == '1e+03'
    # Starts differ by more.
    assert growth.growth(rows(5, 5.1, 6), 'seconds') == growth.UNKNOWN
    constant = rows(800, 801, 803, key='mebibytes')
    assert growth.growth(constant, 'mebibytes') == 'constant'
    assert growth.each_further(constant, 'mebibytes', 2**20) == '< 93'
    quadratic = rows(800, 810, 1810, key='mebibytes')
    assert growth.growth(quadratic, 'mebibytes') == 'n^2.00'
    assert growth.growth(linear[:2], 'seconds') == growth.UNKNOWN


def test_the_time_of_larger_sizes():
    measured = [dict(row, case='a', side='tool', mebibytes=1)
                for row in rows(6, 15, 105)]
    record = dict(rows=measured)
    assert scale.estimate(record, dict(a=SIZES[-1])) == dict(a=126)
    # 1,005 s with 1,000,000 items, 105 s with a tenth of them.
    more = scale.estimate(record, dict(a=10 * SIZES[-1]))['a']
    assert more == pytest.approx(126 + 1005 + 105, rel=0.01)


def run_here_too(command, folder):
    """Run a measured command in this process."""
    program, *arguments = map(str, command)
    with pytest.MonkeyPatch.context() as patch, restored_process():
        patch.chdir(folder)
        patch.setattr(sys, 'argv', [program, *arguments])
        if program == '-c':
            patch.setattr(sys, 'argv', arguments)
            exec(arguments[0], {})
        else:
            with pytest.raises(SystemExit) if program.endswith(
                    'predict.py') and '--track' not in arguments else \
                    restored_process() as end:
                runpy.run_path(program, run_name='__main__')
            assert not end or not end.value.code
    return dict(seconds=1., mebibytes=2.)


def test_each_case(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr(scale.Processes, 'measure',
                        lambda _, *arguments: run_here_too(*arguments))
    file = tmp_path / 'scale.json'
    small = ('--quick', 10**9, '--json', file)
    result = run_here(TOOL, *small, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    record = json.loads(file.read_text())
    measured = {(row['case'], row['side']) for row in record['rows']}
    assert measured > {(name, side) for name in scale.CASES
                       for side in scale.SIDES}
    table = scale.tables(record)[0].splitlines()[2:]
    assert len(table) == len(scale.CASES)
    for case, line in zip(scale.CASES.values(), table):
        assert line.startswith(f'| {case.title} | 12 {case.unit}s | 1.0 | 2 ')
    assert list(tmp_path.iterdir()) == [file]
    page = PAGES['_page'](file)
    assert all(text in page for text in scale.tables(record))
    assert '| packages.torch | ' in page


def test_the_rest_is_measured_later(run_here, error_here, tmp_path,
                                    monkeypatch):
    good = dict(seconds=1., mebibytes=2.)
    # One of four runs fails; the rest is one run.
    results = iter([good, dict(failure='status -9: Killed'), *[good] * 3])
    monkeypatch.setattr(scale.Processes, 'measure',
                        lambda *_: next(results))
    options = ('--cases', 'inputs', 'split_folders', '--quick', 10**5)
    said = error_here(TOOL, *options, cwd=tmp_path)
    assert 'failed: status -9: Killed' in said
    assert 'exists already' in error_here(TOOL, *options, cwd=tmp_path)
    said = error_here(TOOL, *options[:-1], 5, '--resume', cwd=tmp_path)
    assert '--quick 100000' in said
    result = run_here(TOOL, *options, '--resume', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert not list(results)


def test_too_little_space(error_here, tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda _: type(
        'Usage', (), dict(free=2**29)))
    said = error_here(TOOL, '--quick', cwd=tmp_path)
    assert 'needs 1' in said
    assert '0.5 GiB are free' in said
    assert 'TMPDIR' in said


def test_commands_are_measured(tmp_path):
    with scale.Processes() as running:
        small = running.measure(['-c', 'pass'], tmp_path)
        large = running.measure(
            ['-c', 'text = b"x" * 200 * 2**20\nfor _ in range(10**7): pass'],
            tmp_path)
        failed = running.measure(['-c', 'raise ValueError("odd")'], tmp_path)
    # This process has imported torch; its size does not count.
    assert small['mebibytes'] < 60
    assert 195 < large['mebibytes'] - small['mebibytes'] < 210
    assert large['seconds'] > small['seconds'] > 0
    assert failed == dict(failure='status 1: ValueError: odd')


def test_no_process_is_left(tmp_path):
    file = tmp_path / 'number'
    program = f"""
import os, time
open({str(file)!r}, 'w').write(str(os.getpid()))
time.sleep(60)
"""

    def interrupted(process, *_, communicate=subprocess.Popen.communicate):
        while not file.exists() or not file.read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.subprocess.Popen, 'communicate', interrupted)
        with pytest.raises(KeyboardInterrupt), scale.Processes() as running:
            running.measure(['-c', program], tmp_path)
    for _ in range(500):
        try:
            os.kill(int(file.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        pytest.fail('the process is still running')
