"""tools/benchmark.py as users run it."""
import itertools
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch

from mmlowformer import LowFormer
from mmlowformer.benchmark import paper_claims as claims
from mmlowformer.benchmark.record import SCHEMA
from mmlowformer.models.ablations import ABLATIONS
from mmlowformer.utils import timing

from ..helpers import ROOT, run_program

BENCHMARK = ROOT / 'tools' / 'benchmark.py'
QUICK = ('--shape', 32, 32, '--min-time', 0.05, '--repeats', 2, '--batch-size',
         1, '--device', 'cpu')


def test_measures_and_compares(tmp_path):
    files = [argument for kind in ('json', 'csv', 'markdown', 'plot')
             for argument in (f'--{kind}', f'out.{kind}')]
    files[-1] = 'out.png'
    result = run_program(
        BENCHMARK, 'lowformer_b0', 'timm:resnet18', *QUICK, '--deploy',
        '--channels-last', *files, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'timm:resnet18' in result.stdout
    record = json.loads((tmp_path / 'out.json').read_text())
    assert record['rows'][0]['images_per_second'] > 0
    assert record['environment']['packages']['torch'] == version('torch')
    assert {path.name for path in tmp_path.iterdir()} == {
        'out.json', 'out.csv', 'out.markdown', 'out.png'}
    result = run_program(BENCHMARK, '--compare', 'out.json', 'out.json',
                         cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert '1.000' in result.stdout
    assert 'A, images/s' in result.stdout
    assert '|' not in result.stdout
    assert 'differs' not in result.stdout


@pytest.mark.slow
def test_paper_preset_and_file_names(tmp_path):
    """Each shape and batch size gets files; modules here can be named."""
    (tmp_path / 'mine.py').write_text(
        'from torch import nn\n\n\ndef build():\n'
        '    return nn.Conv2d(3, 2, 16, 16)\n')
    result = run_program(
        BENCHMARK, 'mine:build', '--preset', 'paper', '--batch-size', 1, 2,
        '--min-time', 0.05, '--repeats', 2, '--device', 'cpu', '--json',
        'out.json', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    records = {path.name: json.loads(path.read_text())
               for path in tmp_path.glob('*.json')}
    assert records.keys() == {
        f'out_{shape}_batch{size}.json'
        for shape in ('224x224', '512x512') for size in (1, 2)}
    record = records['out_512x512_batch2.json']
    assert record['rows'][0]['steps'] == ['build', 'torchscript']
    assert record['settings']['shape'] == [512, 512]
    assert record['settings']['batch_size'] == 2


@pytest.mark.slow
def test_claims(run_here, tmp_path, monkeypatch):
    """Claim beside result, in files as on the screen."""
    monkeypatch.setattr(claims, 'CLAIMS', (
        claims.Claim('lowformer_b0', 'peer:fat_b0', 'latency', 0.5, 'GPU'), ))
    result = run_here(BENCHMARK, '--preset', 'claims', '--shape', 32, 32,
                      '--min-time', 0.05, '--repeats', 1, '--device', 'cpu',
                      '--json', 'out.json', '--markdown', 'out.md',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert re.search(r'b0 / fat_b0 +latency 32 +GPU +0.50 +\d', result.stdout)
    claim, = json.loads((tmp_path / 'out.json').read_text())['claims']
    assert claim['paper'] > 0
    assert (f'| b0 / fat_b0 | latency 32 | GPU | 0.50 | {claim["paper"]:.2f} '
            f'| {claim["fastest"]:.2f} |') in (tmp_path / 'out.md').read_text()
    record = json.loads((tmp_path / 'out_latency_224x224.json').read_text())
    assert [row['steps'] for row in record['rows']] == [
        ['build', 'torchscript'], ['build', 'deploy', 'channels_last'],
        ['build', 'torchscript'], ['build', 'deploy (own)', 'channels_last']]


def test_a_list_builds_nothing(run_here, tmp_path, monkeypatch):
    timm = pytest.importorskip('timm')
    monkeypatch.setattr(timm, 'create_model', None)
    monkeypatch.setattr(LowFormer, '__init__', None)
    result = run_here(BENCHMARK, '--list', 'timm:*', 'lowformer_*',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count('timm:') == len(timm.list_models())
    assert 'lowformer_b3' in result.stdout


def test_list(run_here, tmp_path):
    result = run_here(BENCHMARK, '--list', cwd=tmp_path)
    assert result.stdout.count('feature pyramid') == 8 + len(ABLATIONS)
    assert 'lowformer_b1_unfused' in result.stdout
    assert 'peer:fat_b3' in result.stdout


@pytest.mark.parametrize(('arguments', 'message'), [
    (('lowformer_b9', ), 'LowFormer has no model'),
    (('--device', 'cuda'), '--device cuda: torch finds no GPU'),
    (('--amp', ), '--amp needs --dtype fp16 or bf16'),
    (('--amp', '--dtype', 'bf16', '--backend', 'onnxruntime'),
     'amp and cuda_graph are for torch itself'),
    (('--dtype', 'bf16', '--backend', 'onnxruntime'), 'in bf16'),
    (('lowformer_b0@openvino,compile', ), 'openvino compiles by itself'),
    (('--cpu-time', '--device', 'cpu'), '--cpu-time adds up threads'),
    (('--fused', ), '--fused needs --mode train'),
    (('--resume', ), '--resume needs --json'),
    (('--mode', 'train', '--deploy'), 'omit --deploy'),
    (('--preset', 'claims', '--mode', 'latency'), '--preset claims sets'),
    (('--preset', 'claims', 'lowformer_b0'), '--preset claims sets'),
    (('--batch-size', 'many'), '--batch-size many'),
    (('--json', 'none/a.json'), 'there is no such folder'),
    (('--compare', 'a.json', 'b.json'), 'a.json cannot be read'),
])
def test_bad_input(arguments, message, error_here, tmp_path):
    if 'cuda' in arguments and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    assert message in error_here(BENCHMARK, *arguments, cwd=tmp_path)


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run the tool in this process, in a folder with a module."""
    (tmp_path / 'of_this_folder.py').write_text(
        'from torch import nn\n\n\ndef build():\n'
        '    return nn.Conv2d(3, 2, 16, 16)\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(BENCHMARK), *map(
            str, arguments)])
        status = 0
        try:
            runpy.run_path(str(BENCHMARK), run_name='__main__')
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return call


NAME = 'of_this_folder:build'
HERE = (NAME, f'{NAME}@channels_last', *QUICK)


def test_fits_into_80_columns(tool):
    status, out = tool(*HERE)
    assert status == 0
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    header = next(line for line in lines if line.startswith('model'))
    assert 'vs first' in header
    first = next(line for line in lines if line.startswith(f'{NAME} '))
    assert first.split()[3] == '1.00'


def test_wide_has_every_column(tool):
    lines = tool(*HERE, '--wide')[1].splitlines()
    header = next(line for line in lines if line.startswith('model'))
    assert all(name in header for name in (
        'p99 (ms)', 'of peak', 'ratio', 'vs first', 'error'))


def test_ctrl_c_keeps_the_complete_rounds(tool, monkeypatch, tmp_path):
    steps, step = itertools.count(1), timing._interleave_once

    def interrupted(*arguments):
        if next(steps) == 3:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(timing, '_interleave_once', interrupted)
    status, out = tool(*HERE, '--repeats', 9, '--json', 'part.json')
    assert status == 130
    assert 'INCOMPLETE, 2 of 9 rounds' in out
    record = json.loads((tmp_path / 'part.json').read_text())
    assert record['complete'] is False
    assert [row['turns'] for row in record['rows']] == [2, 2]
    assert 'INCOMPLETE' in tool('--compare', 'part.json', 'part.json')[1]


BLOCKING = """
import os
import time
from torch import nn


class Blocking(nn.Conv2d):
    calls = 0

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        # Two calls are a turn.
        self.calls += os.path.exists('a.json')
        if self.calls == 4 and not os.path.exists('go'):
            with open('blocked', 'w') as file:
                file.write(str(os.getpid()))
            time.sleep(600)
        return super().forward(x)


def build():
    return Blocking(3, 2, 16, 16)
"""


@pytest.mark.slow
@pytest.mark.usefixtures('fork_server')
@pytest.mark.parametrize(('number', 'options'), [
    (signal.SIGKILL, ()), (signal.SIGTERM, ('--isolate', ))])
def test_killed_and_resumed(tool, tmp_path, number, options):
    (tmp_path / 'blocking.py').write_text(BLOCKING)
    arguments = ['lowformer_b0', 'blocking:build', *map(str, QUICK),
                 '--min-time', '1e-6', '--repeats', '30', '--threads', '1',
                 '--json', 'a.json', '--csv', 'a.csv', *options]
    with subprocess.Popen(
            [sys.executable, BENCHMARK, *arguments], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while (process.poll() is None
               and not (tmp_path / 'blocked').exists()):
            time.sleep(0.05)
        process.send_signal(number)
        said = ' '.join(process.communicate(timeout=60)[0].split())
    rounds = json.loads((tmp_path / 'a.json').read_text())['rounds']
    assert 0 < rounds < 30
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert f'INCOMPLETE, {rounds} of 30 rounds' in said
        assert 'a.json has the complete rounds' in said
        assert '--resume' in said
        assert 'Traceback' not in said
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / 'blocked').read_text()), 0)
    assert 'repeats: 30 instead of 2' in tool(
        *arguments, '--repeats', 2, '--resume')[0]
    (tmp_path / 'go').touch()
    status, out = tool(*arguments, '--resume')
    assert status == 0
    assert 'INCOMPLETE' not in out
    record = json.loads((tmp_path / 'a.json').read_text())
    assert record['complete']
    assert [row['turns'] for row in record['rows']] == [30, 30]
    assert (tmp_path / 'a.csv').read_text().count('\n') == 3


def test_groups(tool, tmp_path):
    status, out = tool(NAME, f'{NAME}@eager', f'{NAME}@channels_last',
                       *QUICK, '--max-memory', 1e-6, '--json', 'a.json')
    assert status == 0
    record = json.loads((tmp_path / 'a.json').read_text())
    assert [row['name'] for row in record['rows']] == [
        NAME, f'{NAME}@eager', NAME, f'{NAME}@channels_last']
    assert '2 groups of models' in ' '.join(out.split())


@pytest.mark.parametrize('arguments', [
    ('--resume', '--json', 'new.json', '--csv', 'old.csv'),
    ('--json', 'old.json'), ('--csv', 'old.csv'), ('--plot', 'old.png'),
    ('--json', 'old.json', '--batch-size', 1, 2)])
def test_earlier_results_stay(arguments, tool, tmp_path):
    files = [tmp_path / name for name in (
        'old.json', 'old.csv', 'old.png', 'old_batch2.json')]
    for file in files:
        file.write_text('old')
    status, _ = tool(NAME, *QUICK, *arguments)
    assert 'exists already' in status
    assert all(file.read_text() == 'old' for file in files)


@pytest.mark.parametrize('text', [
    '[' * 100_000, '{"schema": %d}', '{"schema": %d, "rows": [null]}',
    '{"schema": %d, "rows": null, "settings": 3, "environment": {}}',
    '{"schema": %d, "settings": {}, "environment": {}, "rows": [{"name": "a",'
    ' "failure": null, "images_per_second": 0}]}'])
def test_broken_measurements_are_told_in_a_line(text, tool, tmp_path):
    file = tmp_path / 'a.json'
    file.write_text(text.replace('%d', str(SCHEMA)))
    status, _ = tool('--compare', file, file)
    assert 'cannot be' in status
    assert '\n' not in status
    assert len(status) < 400
