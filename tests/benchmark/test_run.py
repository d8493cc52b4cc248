"""A whole measurement, with models of known cost."""
import json
import time
from functools import partial

import pytest
import torch
from torch import nn

from mmlowformer import LowFormer
from mmlowformer.benchmark import candidates, report
from mmlowformer.benchmark.backends import onnx_session
from mmlowformer.benchmark.models import Spec, find_models
from mmlowformer.benchmark.options import Options, Settings, options_for
from mmlowformer.benchmark.record import as_csv, read
from mmlowformer.benchmark.run import BenchmarkProgress, benchmark
from mmlowformer.benchmark.terminal_report import make_console, make_table
from mmlowformer.engine import UserError
from mmlowformer.ops.packed_conv import PackedConv2d, can_pack
from mmlowformer.utils.timing import Timer

from ..helpers import ROOT
from ..models.test_lowformer import SMALL

SHAPE = (32, 64)


class Clock:

    now = 0.

    def __call__(self):
        return self.now


class Costly(nn.Module):
    """One convolution that takes so many seconds."""

    def __init__(self, clock, seconds, fits=99):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.spend = lambda: setattr(clock, 'now', clock.now + seconds)
        self.fits = fits

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        if len(x) > self.fits:
            raise torch.OutOfMemoryError('too many images')
        self.spend()
        return (self.conv(x), )


@pytest.fixture
def clock(monkeypatch):
    """A clock that also the multiplication of the peak moves, by 0.5 s."""
    clock = Clock()
    matmul = torch.matmul

    def slow(one, other):
        clock.now += 0.5
        return matmul(one[:8, :8], other[:8, :8])

    monkeypatch.setattr(torch, 'matmul', slow)
    monkeypatch.setattr(candidates, 'PEAK_SIZE', dict(cpu=64))
    return clock


def record(clock, models, **settings):
    specs = [Spec(name, 'test', lambda model=model: model)
             for name, model in models.items()]
    settings = dict(shape=SHAPE, batch_size=4, min_time=1., repeats=3,
                    **settings)
    return benchmark(specs, Settings(**settings), Timer(clock))


def test_numbers(clock):
    result = record(clock, dict(fast=Costly(clock, 0.1),
                                slow=Costly(clock, 0.4)))
    fast, slow = result['rows']
    assert fast['images_per_second'] == pytest.approx(40)
    assert slow['images_per_second'] == pytest.approx(10)
    assert fast['milliseconds']['p50'] == pytest.approx(100)
    assert fast['parameters'] == 3 * 8 * 16 + 8
    macs = 3 * 8 * 16 * (32 // 4) * (64 // 4)
    assert fast['macs'] == macs
    assert fast['macs_per_second'] == pytest.approx(40 * macs)
    # 2 x 64^3 operations in 0.5 s.
    assert result['peak']['fp32']['flops'] == pytest.approx(4 * 64**3)
    assert fast['fraction_of_peak'] == pytest.approx(
        2 * 40 * macs / (4 * 64**3))
    assert (fast['channels'], fast['strides']) == ([8], [4])
    assert fast['errors'] == [0]
    assert not fast['unsteady']


def test_latency(clock):
    result = record(clock, dict(model=Costly(clock, 0.05)), mode='latency')
    row = result['rows'][0]
    assert row['milliseconds'] == pytest.approx(
        dict(min=50, p50=50, p90=50, p99=50))
    # A third of a second in each of three turns.
    assert row['turns'] == 3 * 7


class RecordedProgress(BenchmarkProgress):

    def __init__(self):
        self.messages, self.steps, self.announced = [], 0, 0

    def message(self, text):
        self.messages.append(text)

    def start_phase(self, text, steps):
        self.announced += steps

    def step(self, text=''):
        self.steps += 1


def test_progress(clock):
    said = RecordedProgress()
    specs = [Spec(name, 'test', lambda: Costly(clock, 0.1)) for name in 'ab']
    benchmark(specs, Settings(shape=SHAPE, batch_size=1, min_time=1.,
                              repeats=3), Timer(clock), said)
    # Two to build; then three turns of two models and of the multiplication.
    assert said.steps == said.announced == 2 + 3 * 3
    assert said.messages == []


def test_out_of_memory_halves_the_batch_for_all(clock):
    said = RecordedProgress()
    models = dict(small=Costly(clock, 0.1), big=Costly(clock, 0.1, fits=1))
    specs = [Spec(name, 'test', lambda model=model: model)
             for name, model in models.items()]
    result = benchmark(
        specs, Settings(shape=SHAPE, batch_size=4, min_time=1., repeats=3),
        Timer(clock), said)
    assert [row['batch_size'] for row in result['rows']] == [1, 1]
    assert result['settings']['batch_size'] == 1
    assert said.messages == [
        'out of memory: all models again with a batch size of 2',
        'out of memory: all models again with a batch size of 1']
    assert 'batch size 1 (out of memory with 4)' in report.describe(result)


def test_out_of_memory_with_one_image(clock):
    with pytest.raises(UserError, match='out of memory with a single image'):
        record(clock, dict(model=Costly(clock, 0.1, fits=0)))


def test_one_model_fails_the_others_run(clock):
    class Broken(nn.Module):

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            raise ValueError('no such shape\nand more')

    result = record(clock, dict(broken=Broken(), good=Costly(clock, 0.1)))
    broken, good = result['rows']
    assert broken['failure'] == 'ValueError: no such shape'
    assert good['failure'] is None
    text = report.markdown(report.table_header(result),
                           report.table_rows(result))
    assert 'failed: ValueError: no such shape' in text
    assert text.count('\n') == 4


def test_wrong_outputs_are_not_timed(clock):
    class Wrong(Costly):

        def switch_to_deploy(self):
            self.conv.weight.data.mul_(1.1)

    result = record(clock, dict(wrong=Wrong(clock, 0.1)),
                    options=Options(deploy=True))
    row = result['rows'][0]
    assert 'outputs differ from eager float32' in row['failure']
    assert 'images_per_second' not in row


def test_unsteady(clock):
    model = Costly(clock, 0.1)
    costs = iter([0.1] * 20)
    model.spend = lambda: setattr(
        clock, 'now', clock.now + next(costs, 0.1 + 0.05 * (clock.now % 1)))
    row = record(clock, dict(model=model))['rows'][0]
    assert row['unsteady'] == (row['spread'] > 0.05)


def test_options_are_applied_in_order():
    spec = Spec('small', 'LowFormer', lambda: LowFormer(SMALL))
    result = benchmark(
        [spec], Settings(
            shape=(64, 96), batch_size=1, min_time=0.02, repeats=2,
            warm_up_calls=1, warm_up_time=0,
            options=Options(deploy=True, channels_last=True, dtype='bf16')))
    row = result['rows'][0]
    assert row['failure'] is None
    assert row['steps'] == ['build', 'deploy', 'channels_last', 'bf16']
    assert len(row['errors']) == 4
    assert 1e-5 < max(row['errors']) < 0.3
    # One for each output.
    assert report.table_rows(result)[0][-2].count('/') == 3
    assert row['strides'] == [4, 8, 16, 32]


def test_options_of_a_single_model():
    build = partial(LowFormer, SMALL)
    specs = [Spec('plain', 'LowFormer', build, options='eager'),
             Spec('low', 'LowFormer', build, options='channels_last,bf16'),
             Spec('common', 'LowFormer', build)]
    result = benchmark(
        specs, Settings(
            shape=(64, 64), batch_size=1, min_time=0.02, repeats=1,
            warm_up_calls=1, warm_up_time=0, options=Options(deploy=True)))
    assert [row['steps'] for row in result['rows']] == [
        ['build'], ['build', 'channels_last', 'bf16'], ['build', 'deploy']]
    assert result['peak'].keys() == {'fp32', 'bf16'}


@pytest.mark.parametrize('option', [
    'torchscript', 'onnxruntime', 'openvino',
    pytest.param('channels_last,compile', marks=pytest.mark.slow)])
def test_exported_and_compiled(option):
    """Every way of running a deployed network gives its outputs."""
    if option == 'onnxruntime':
        pytest.importorskip(option, reason='not made for this Python')
    spec = Spec('small', 'LowFormer', partial(LowFormer, SMALL),
                options=f'deploy,{option}')
    row, = benchmark([spec], Settings(
        shape=(33, 64), batch_size=2, min_time=0.02, repeats=1,
        warm_up_calls=1, warm_up_time=0))['rows']
    assert row['failure'] is None
    assert max(row['errors']) < 1e-5
    assert row['compile_seconds'] > 0
    assert row['steps'][:2] == ['build', 'deploy']


def test_a_full_model():
    spec, = find_models(
        [str(ROOT / 'configs/fpn_lowformer_b0_shapes.py') + '@deploy'],
        full_model=True)
    settings = dict(shape=(64, 64), batch_size=1, min_time=0.02, repeats=1,
                    warm_up_calls=1, warm_up_time=0)
    row, = benchmark([spec], Settings(**settings))['rows']
    assert row['failure'] is None
    assert row['kind'] == 'full model'
    assert row['steps'] == ['build', 'deploy (full model)']
    assert 0 < max(row['errors']) <= 1e-5
    spec.options = 'deploy,openvino'
    row, = benchmark([spec], Settings(**settings))['rows']
    assert 'is not exported' in row['failure']


def test_seconds_of_the_processor():
    """Those in which it waits do not count."""
    class Idle(nn.Conv2d):
        def forward(self, x):
            time.sleep(0.05)
            return super().forward(x)

    spec = Spec('idle', 'mine', partial(Idle, 3, 2, 1))
    record = benchmark([spec], Settings(
        shape=(8, 8), batch_size=1, min_time=0.001, repeats=1,
        warm_up_calls=1, warm_up_time=0, cpu_time=True))
    assert record['rows'][0]['milliseconds']['p50'] < 40
    assert 'processor time' in report.describe(record)


def test_outputs_that_are_not_finite(clock):
    class Large(Costly):

        def forward(self, x):
            return [1e6 * output for output in super().forward(x)]

    result = record(clock, dict(large=Large(clock, 0.1)),
                    options=Options(dtype='fp16'))
    assert result['rows'][0]['failure'] == (
        'UserError: outputs are not finite in fp16')


def test_onnx_runtime_without_the_device():
    onnxruntime = pytest.importorskip('onnxruntime')
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this one knows it')
    with pytest.raises(UserError, match='pip install onnxruntime-gpu'):
        onnx_session(b'', Options(device='cuda'))


def test_unknown_option():
    with pytest.raises(UserError, match="'fast' is none of eager, deploy"):
        options_for(Options(), 'deploy,fast')
    assert options_for(Options(threads=2), 'compile=max-autotune') == Options(
        threads=2, compile='max-autotune')


def test_training(clock):
    result = record(clock, dict(model=Costly(clock, 0.2)), mode='train')
    row = result['rows'][0]
    assert row['images_per_second'] == pytest.approx(20)
    assert len(report.table_header(result)) == len(
        report.table_rows(result)[0])


def test_training_updates_the_weights():
    model = LowFormer(SMALL)
    before = model.stem[0].conv.weight.clone()
    benchmark([Spec('small', 'LowFormer', lambda: model)],
            Settings(shape=(32, 32), batch_size=2, mode='train',
                     min_time=0.02, repeats=1, warm_up_calls=1,
                     warm_up_time=0))
    assert not torch.equal(before, model.stem[0].conv.weight)


def test_comparison(clock):
    one = record(clock, dict(a=Costly(clock, 0.1), b=Costly(clock, 0.1)))
    other = record(clock, dict(a=Costly(clock, 0.05), c=Costly(clock, 1)),
                   options=Options(channels_last=True))
    rows, differing = report.compare(one, other)
    assert rows == [['a', '40.00', '80.00', '2.000']]
    assert differing == ['settings.options.channels_last: False and True']
    assert report.compare(one, one)[1] == []


@pytest.mark.parametrize('convolution', [
    nn.Conv2d, pytest.param(
        lambda *args, **kwargs: PackedConv2d(nn.Conv2d(*args, **kwargs)),
        marks=pytest.mark.skipif(not can_pack(), reason='x86 only'))])
def test_profile(convolution):
    """Operators with their multiply-accumulates, the dearest first."""
    class Two(nn.Module):

        def __init__(self):
            super().__init__()
            self.wide = convolution(3, 64, 3, padding=1)
            self.deep = convolution(64, 64, 5, padding=2, groups=64)
            self.grouped = convolution(64, 64, 1, groups=2)

        def forward(self, x):
            return self.grouped(self.deep(self.wide(x))).relu_()

    result = benchmark([Spec('two', 'test', Two)], Settings(
        shape=(64, 64), batch_size=2, min_time=0.02, repeats=1,
        warm_up_calls=1, warm_up_time=0, profiled_calls=3))
    shares = {share['operator']: share
              for share in result['rows'][0]['profile']}
    assert shares.keys() >= {'conv2d 3x3', 'conv2d 5x5 depthwise',
                             'conv2d 1x1 in groups', 'relu_'}
    assert shares['conv2d 3x3']['macs'] == 2 * 3 * 64 * 9 * 64 * 64
    assert shares['conv2d 5x5 depthwise']['macs'] == 2 * 64 * 25 * 64 * 64
    assert shares['conv2d 1x1 in groups']['macs'] == 2 * 64 * 32 * 64 * 64
    assert shares['relu_']['macs'] == 0
    times = [share['milliseconds'] for share in result['rows'][0]['profile']]
    assert times == sorted(times, reverse=True)
    assert min(times) > 0
    rows = report.profile_rows(result)
    assert len(report.tables(result)) == 2
    assert {row[0] for row in rows} == {'two'}
    assert sum(float(row[4].rstrip('%')) for row in rows) == pytest.approx(
        100, abs=3)


def test_environment_variables_are_settings(clock, monkeypatch):
    one = record(clock, dict(a=Costly(clock, 0.1)))
    monkeypatch.setenv('MALLOC_TRIM_THRESHOLD_', '4000000000')
    other = record(clock, dict(a=Costly(clock, 0.1)))
    assert report.compare(one, other)[1] == [
        'variables.MALLOC_TRIM_THRESHOLD_: None and 4000000000']
    assert 'MALLOC_TRIM_THRESHOLD_=4000000000' in report.describe(other)


def test_ratio_to_the_first_of_the_same_model(clock):
    result = record(clock, {
        'timm:a@eager': Costly(clock, 0.2), 'b': Costly(clock, 1),
        'a@deploy': Costly(clock, 0.1)})
    column = report.table_header(result).index('ratio')
    assert [row[column] for row in report.table_rows(result)] == [
        '1.00', '1.00', '2.00']


def test_long_names_break_behind_punctuation(clock, capsys):
    name = 'retinanet_lowformer_b1_coco@deploy,compile,bf16'
    result = record(clock, {name: Costly(clock, 0.1)})
    header, rows = report.narrow(*report.add_ratio_column(
        result, report.table_header(result), report.table_rows(result)))
    make_console(wide=False).print(make_table(header, rows, wide=False))
    words = [line.split()[0] for line in
             capsys.readouterr().out.splitlines()[1:]]
    assert len(words) > 1
    assert ''.join(words) == name
    assert all(word[-1] in '_@,' for word in words[:-1])


def test_what_cannot_be_counted_has_no_number(clock, tmp_path):
    result = record(clock, dict(exported=Costly(clock, 0.1)))
    result['rows'][0].update(parameters=0, macs=0, macs_per_second=0,
                             fraction_of_peak=0)
    cells = dict(zip(report.table_header(result),
                     report.table_rows(result)[0]))
    assert {cells[name] for name in (
        'parameters (M)', 'GMACs', 'GMACs/s', 'of peak')} == {'–'}
    report.plot(result, str(tmp_path / 'plot.png'))


def test_files(clock, tmp_path):
    result = record(clock, dict(a=Costly(clock, 0.1), b=Costly(clock, 0.2)))
    lines = as_csv(result).splitlines()
    assert len(lines) == 3
    assert 'milliseconds.p99' in lines[0].split(',')
    report.plot(result, str(tmp_path / 'plot.png'))
    assert (tmp_path / 'plot.png').stat().st_size > 10_000
    file = tmp_path / 'a.json'
    file.write_text(json.dumps(result))
    assert read(str(file)) == json.loads(json.dumps(result))
    file.write_text('{}')
    with pytest.raises(UserError, match='a.json is not a measurement'):
        read(str(file))
