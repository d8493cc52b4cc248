"""tools/study.py as users run it."""
import functools
import json
import operator

import pytest

from mmlowformer.benchmark import candidates
from mmlowformer.errors import printable
from mmlowformer.study import sweep

from ..helpers import ROOT

STUDY = ROOT / 'tools' / 'study.py'
QUICK = ('--min-time', 0.02, '--repeats', 1, '--threads', 1, '--device', 'cpu')
GRID = ('layers', '--channels', 16, 32, '--sizes', 4, '--batch-size', 1,
        '--block-types', 'conv 1x1', 'fused MBConv', 'MBConv', 'GELU')
MODULE = ('from torch import nn\n\n\ndef build():\n'
          '    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU())\n')


@pytest.fixture(autouse=True)
def _small_matrices(monkeypatch):
    """The peak is not what is tested here."""
    monkeypatch.setattr(candidates, 'PEAK_SIZE', dict(cpu=64))


def read(path):
    return json.loads(path.read_text())


def test_layers(run_here, tmp_path, monkeypatch):
    result = run_here(STUDY, *GRID, *QUICK, '--deploy', '--out', 'a',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        'a.json', 'a.csv', 'a.md', 'a_time.png', 'a_rates.png',
        'a_fusing.png'}
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert '4x4, batch size 1: ' in result.stdout
    study = read(tmp_path / 'a.json')
    assert study['complete']
    assert study['settings']['options']['deploy']
    row = study['cells'][1]['rows'][0]
    assert row['block_type'] == 'conv 1x1'
    assert row['macs'] == 100 * 32 * 32 * 4 * 4
    assert row['gmacs_per_second'] == pytest.approx(
        1e-6 * row['macs'] / row['milliseconds'], rel=1e-6)
    assert row['steps'] == ['build', 'deploy (own)']
    assert len((tmp_path / 'a.csv').read_text().splitlines()) == 1 + 2 * 4
    # Complete: shown again, not measured again.
    monkeypatch.setattr(sweep, 'benchmark', None)
    content = (tmp_path / 'a.json').read_bytes()
    assert run_here(STUDY, *GRID, *QUICK, '--deploy', '--out', 'a',
                    cwd=tmp_path).returncode == 0
    assert (tmp_path / 'a.json').read_bytes() == content
    (tmp_path / 'a.md').unlink()
    assert run_here(STUDY, 'show', 'a.json', cwd=tmp_path).returncode == 0
    assert 'GMAC/s, batch size 1' in (tmp_path / 'a.md').read_text()


@pytest.mark.parametrize('name', ['a.csv', 'a.md', 'a_time.png'])
def test_foreign_files_stay(error_here, tmp_path, name):
    (tmp_path / name).write_text('mine')
    assert f'{name} exists already' in error_here(
        STUDY, *GRID, *QUICK, '--out', 'a', cwd=tmp_path)
    assert (tmp_path / name).read_text() == 'mine'


# What stands in a file of a study, as far as it is shown.
KNOWN = dict(
    schema=1, study='network', complete=True,
    settings=dict(
        batch_size=1, mode='throughput', models=['m'], sizes=[64], calls=2,
        options=dict(deploy=False, channels_last=False, dtype='fp32',
                     amp=False, compile=None, cuda_graph=False,
                     backend='torch', device='cpu', threads=1)),
    environment=dict(device='a', cpu_capability='AVX2', threads=1,
                     packages=dict(torch='2'),
                     variables=dict(OMP_NUM_THREADS='1')),
    cells=[dict(
        key=dict(model='m', size=64, batch_size=1), milliseconds=0.1,
        spread=0., watched_milliseconds=0.1, peak_macs_per_second=1e9,
        bytes_per_second=1e9, rows=[dict(
            name='0', kind='conv 4x4', macs=9, bytes=9,
            milliseconds=0.1)])])
WRONG = {
    'complete': ..., 'settings': None, 'settings.options': -1,
    'settings.options.dtype': ..., 'environment': [1],
    'environment.packages': 'x', 'environment.variables': True, 'cells': {},
    'cells.0': float('inf'), 'cells.0.key': [], 'cells.0.key.model': {},
    'cells.0.milliseconds': 'x', 'cells.0.watched_milliseconds': 10**400,
    'cells.0.rows': 9, 'cells.0.rows.0': None, 'cells.0.rows.0.name': ...,
    'cells.0.rows.0.kind': [[1]], 'cells.0.rows.0.macs': [],
    'cells.0.rows.0.milliseconds': '1', 'study': 'x', 'schema': '1'}


def changed(place, value):
    """The study with another value, or without any."""
    study = json.loads(json.dumps(KNOWN))
    *above, last = (int(key) if key.isdigit() else key
                    for key in place.split('.'))
    at = functools.reduce(operator.getitem, above, study)
    at[last] = value
    if value is ...:
        del at[last]
    return study


@pytest.mark.parametrize(('place', 'value'), WRONG.items(), ids=WRONG.keys())
def test_a_damaged_file(error_here, tmp_path, place, value):
    (tmp_path / 'a.json').write_text(json.dumps(changed(place, value)))
    said = error_here(STUDY, 'show', 'a.json', cwd=tmp_path)
    assert 'study.py: error: a.json' in said.splitlines()[-1]


@pytest.mark.parametrize('name', ['[/x]', '$x^$', 'a\x1b[2J'])
def test_names_are_shown_as_they_are(run_here, tmp_path, name):
    study = changed('cells.0.rows.0.name', name)
    study['environment']['variables']['OMP_NUM_THREADS'] = name
    (tmp_path / 'a.json').write_text(json.dumps(study))
    result = run_here(STUDY, 'show', 'a.json', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert f'OMP_NUM_THREADS={printable(name)}' in result.stdout.replace(
        '\n', '')
    assert '\x1b' not in result.stdout


def test_a_damaged_file_is_not_gone_on_with(error_here, tmp_path):
    study = changed('environment', None)
    (tmp_path / 'a.json').write_text(json.dumps(dict(study, study='layers')))
    assert 'a.json is damaged' in error_here(
        STUDY, *GRID, *QUICK, '--out', 'a', cwd=tmp_path)


def test_ctrl_c_and_the_same_command_again(run_here, error_here, tmp_path,
                                           monkeypatch):
    measure, calls = sweep.benchmark, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(sweep, 'benchmark', interrupted)
    result = run_here(STUDY, *GRID, *QUICK, '--out', 'a', cwd=tmp_path)
    assert result.returncode == 130
    assert 'INCOMPLETE' in result.stdout
    assert 'the same command' in result.stdout
    kept = read(tmp_path / 'a.json')
    assert len(kept['cells']) == 1
    message = error_here(STUDY, *GRID, *QUICK, '--deploy', '--out', 'a',
                         cwd=tmp_path)
    assert 'a.json was measured with other settings (options.deploy' in message
    result = run_here(STUDY, *GRID, *QUICK, '--out', 'a', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert len(calls) == 3
    study = read(tmp_path / 'a.json')
    assert study['complete']
    assert study['cells'][0] == kept['cells'][0]


def test_network_and_resolution(run_here, tmp_path):
    (tmp_path / 'of_this_study.py').write_text(MODULE)
    result = run_here(STUDY, 'network', 'of_this_study:build', '--sizes', 64,
                      '--calls', 2, *QUICK, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'conv 4x4' in result.stdout
    study = read(tmp_path / 'study_network.json')
    assert study['cells'][0]['rows'][0]['macs'] == 3 * 16 * 8 * 16 * 16
    assert (tmp_path / 'study_network_of_this_study_build_gap.png').exists()
    result = run_here(STUDY, 'resolution', 'of_this_study:build', '--sizes',
                      32, 64, *QUICK, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert [cell['key'] for cell in
            read(tmp_path / 'study_resolution.json')['cells']] == [
                dict(size=32), dict(size=64)]
    assert (tmp_path / 'study_resolution.png').exists()


@pytest.mark.slow
def test_choose(run_here, tmp_path):
    (tmp_path / 'mine.json').write_text(
        '{"mine": {"variant": "b0", "block": ["local"]}}')
    result = run_here(STUDY, 'choose', '--budget-ms', 0.001, 10000, '--shape',
                      32, 32, '--archs', 'mine.json', *QUICK, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    study = sweep.read(tmp_path / 'study_choose.json')
    small, large = study['choices']
    assert small['names'] == []
    assert large['names'][:2] == ['b3', 'e3']
    assert large['names'][-1] == 'mine'
    assert len(study['held_out']['rows']) == 18


@pytest.mark.parametrize(('arguments', 'message'), [
    (('layers', '--block-types', 'conv'),
     "--block-types: invalid choice: 'conv' (choose from "),
    (('layers', '--channels', 512, '--sizes', 224), 'nothing is left'),
    (('layers', '--cpu-time', '--device', 'cpu'), '--cpu-time adds up'),
    (('network', 'lowformer_b9'), 'LowFormer has no model'),
    (('network', 'lowformer_b0', '--backend', 'torchscript'),
     'TorchScript does not report which layers'),
    (('resolution', '--sizes', 8), '--sizes: has to be at least 32'),
    (('choose', '--budget-ms', 0), '--budget-ms: has to be positive'),
    (('choose', '--budget-ms', 9, '--archs', 'no.json'), 'cannot be read'),
    (('show', 'no.json'), 'no.json cannot be read'),
])
def test_bad_input(arguments, message, error_here, tmp_path):
    assert message in error_here(STUDY, *arguments, cwd=tmp_path)
