"""Times and work of layers, of a network whose times are known."""
from functools import partial

import pytest
import torch
from torch import nn

from mmlowformer import LowFormer
from mmlowformer.benchmark import candidates
from mmlowformer.benchmark.models import Spec, model_info
from mmlowformer.benchmark.options import Options, Settings
from mmlowformer.benchmark.run import BenchmarkProgress
from mmlowformer.errors import UserError
from mmlowformer.models.exported_model import ExportedNetwork
from mmlowformer.study import layer_profile as network
from mmlowformer.utils.timing import Timer

from ..benchmark.test_run import Clock
from ..models.test_lowformer import SMALL

TINY = dict(SMALL, widths=(8, 8, 8, 16, 16), depths=(0, 1, 1, 1, 1))


class Slow(nn.Conv2d):
    """A convolution that takes so many seconds."""

    def __init__(self, clock, seconds):
        super().__init__(3, 3, 1)
        self.spend = lambda: setattr(clock, 'now', clock.now + seconds)

    def forward(self, x):
        self.spend()
        return super().forward(x)


class Inner(nn.Module):

    def __init__(self, clock):
        super().__init__()
        self.first, self.second = Slow(clock, 1.), Slow(clock, 2.)
        self.spend = lambda: setattr(clock, 'now', clock.now + 4.)

    def forward(self, x):
        x = self.second(self.first(self.first(x)))
        self.spend()
        return x


def test_layers_without_those_inside():
    clock = Clock()
    model = nn.Sequential(Inner(clock), Slow(clock, 8.))
    run = partial(model, torch.zeros(1, 3, 4, 4))
    watch = network.LayerTimer(model, run, Timer(clock))
    for _ in range(2):
        watch()
    assert {name: layer.seconds for name, layer in watch.layers.items()} == {
        '0.first': [2., 2.], '0.second': [2., 2.], '0': [4., 4.],
        '1': [8., 8.], '': [0., 0.]}
    # In and out, and the weights, twice.
    assert watch.layers['0.first'].bytes == 2 * 4 * (2 * 48 + 12)
    run()
    assert len(watch.layers['1'].seconds) == 2


def test_work_of_layers_adds_up():
    model = LowFormer(SMALL).eval()
    macs = network.own_macs(model, torch.zeros(1, 3, 64, 64))
    assert sum(macs.values()) == model_info(model, (64, 64)).macs
    # Products of queries and keys belong to no layer inside of it.
    assert any(name.endswith('lowtention.branch') for name in macs)


def test_work_of_skipped_layers_goes_to_what_is_around_them():
    macs = {'stem.0.conv': 5, 'stem.1.a.b': 7, 'head': 1}
    assert network.assign_macs(macs, {}, [
        '', 'stem', 'stem.0.conv', 'stem.1']) == {
            'stem.0.conv': 5, 'stem.1': 7, '': 1}


def test_new_layers_take_the_place_of_others():
    """As where timm merges branches into one convolution."""
    macs = {'stem.0.conv_3x3': 9, 'stem.0.conv_1x1': 1, 'stem.1': 4}
    assert network.assign_macs(macs, {'stem.0.merged': 9}, [
        '', 'stem', 'stem.0', 'stem.0.merged', 'stem.1']) == {
            'stem.0.merged': 9, 'stem.1': 4}


def measured(monkeypatch, model=lambda: LowFormer(SMALL), **options):
    monkeypatch.setattr(candidates, 'PEAK_SIZE', dict(cpu=64))
    monkeypatch.setattr(network, 'COPIED', dict(cpu=64))
    settings = Settings(
        shape=(64, 64), batch_size=2, min_time=0.01, repeats=2,
        warm_up_calls=1, warm_up_time=0,
        options=Options(threads=1, **options))
    measurement = network.measurement_of(
        Spec('small', 'LowFormer', model), settings, 4)
    assert measurement.key == dict(model='small', size=64, batch_size=2)
    record = measurement.measure(BenchmarkProgress())
    assert record['complete']
    rows = record['rows']
    names = [row['name'] for row in rows]
    assert len(set(names)) == len(names)
    return record, {row['name']: row for row in rows}


def own_work(arch):
    """Of two images, by layers, as they are without a compiler."""
    counts = network.own_macs(LowFormer(arch).eval(),
                              torch.zeros(1, 3, 64, 64))
    return {name: 2 * count for name, count in counts.items()}


@pytest.mark.parametrize('deploy', [False, True])
def test_a_network_is_measured(deploy, monkeypatch):
    _, rows = measured(monkeypatch, deploy=deploy)
    assert sum(row['macs'] for row in rows.values()) == sum(
        own_work(SMALL).values())
    # Each layer once, and what no layer of it took by itself.
    assert network.WHOLE in rows


@pytest.mark.parametrize(('way', 'deploy'), [
    (dict(backend='onnxruntime'), False), *(
        pytest.param(way, deploy, marks=pytest.mark.slow)
        for way, deploy in ((dict(backend='onnxruntime'), True),
                            (dict(backend='openvino'), False),
                            (dict(backend='openvino'), True),
                            (dict(compile='default'), False)))])
def test_kernels_are_put_down_to_layers(way, deploy, monkeypatch):
    record, rows = measured(monkeypatch, lambda: LowFormer(TINY),
                            deploy=deploy, channels_last=deploy, **way)
    work = {name: row['macs'] for name, row in rows.items() if row['macs']}
    if deploy:
        # FusedMBConvs are one layer then.
        assert sum(work.values()) == sum(own_work(TINY).values())
    else:
        # No runtime joins the multiplications of two of these layers.
        assert work == own_work(TINY)
    assert rows['stem.0.conv']['kind'] == 'conv 3x3'
    assert 0 < sum(row['milliseconds'] for row in rows.values()) < (
        2 * record['watched_milliseconds'])


@pytest.mark.parametrize(('way', 'message'), [
    (dict(backend='torchscript'), 'TorchScript does not report which layers'),
    (dict(cuda_graph=True, device='cuda'), 'omit --cuda-graph'),
    (dict(compile='default', device='cuda'), 'omit --compile and --backend'),
])
def test_layers_that_cannot_be_told_apart(way, message):
    with pytest.raises(UserError, match=message):
        network.measurement_of(Spec('small', 'LowFormer', LowFormer),
                        Settings(options=Options(**way)), 4, Timer())


def test_out_of_memory_and_the_name_of_the_network(monkeypatch):
    def build():
        raise torch.OutOfMemoryError('17 GiB')

    with pytest.raises(UserError, match='small: out of memory; name smaller'):
        measured(monkeypatch, build)


def test_a_file_that_was_exported_before(monkeypatch):
    class Folder(ExportedNetwork):

        def __init__(self):
            nn.Module.__init__(self)

    with pytest.raises(UserError, match='small: an exported file does not'):
        measured(monkeypatch, Folder)
