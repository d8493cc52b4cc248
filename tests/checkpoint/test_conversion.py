"""Files of any key format become files of any other, and nothing is lost."""
import argparse
import os
import resource

import numpy as np
import pytest
import timm
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from safetensors.torch import load_file, save_file

from mmlowformer import LowFormer, __version__
from mmlowformer.checkpoint import conversion
from mmlowformer.checkpoint.conversion import convert
from mmlowformer.engine import UserError
from mmlowformer.models.classifier import Classifier
from mmlowformer.models.state_dict_keys import CLASSIFIER, own_name
from mmlowformer.registry import MODELS

from ..models.test_lowformer import VARIANTS, randomise
from .test_key_formats import authors_name

HEAD = dict(hidden_channels=(24, 40), num_classes=7)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The variants with fewer channels and blocks, to be quick.

    What is equal in two variants stays so. Stage 4 has to be as wide as to
    have MBConvs.
    """
    for arch, settings in LowFormer.arch_settings.items():
        monkeypatch.setitem(LowFormer.arch_settings, arch, dict(
            settings, widths=(8, 8, 16, settings['widths'][0], 256),
            depths=(*settings['depths'][:3], 2, 1)))


def timm_model(arch, **kwargs):
    settings = LowFormer.arch_settings[arch]
    kwargs.setdefault('num_classes', HEAD['num_classes'])
    return timm.create_model(
        f'lowformer_{arch}', width_list=settings['widths'],
        depth_list=settings['depths'], head_widths=HEAD['hidden_channels'],
        **kwargs)


def timm_state(arch):
    """A classifier of timm's with random weights; not all are float32."""
    state = randomise(timm_model(arch)).state_dict()
    state['stem.0.norm.weight'] = state['stem.0.norm.weight'].double()
    state['classifier.bias'] = state['classifier.bias'].half()
    return state


def own_backbone(state):
    own = {own_name(name): value for name, value in state.items()}
    return {name: value for name, value in own.items()
            if not name.startswith(CLASSIFIER)}


def authors_state(state, arch):
    return {authors_name(name, arch): value for name, value in state.items()}


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.fixture
def save(tmp_path):

    def save_as(content, name='source.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return save_as


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / 'target.pth')


def load(file):
    """Nothing is allowed but tensors and plain values."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        return torch.load(file, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)


def assert_same(actual, expected):
    """The same tensors, bit for bit, in the same order."""
    assert list(actual) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=0)


def assert_close(actual, expected):
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize('arch', VARIANTS)
def test_round_trip(arch, save, tmp_path):
    state = timm_state(arch)
    own, authors, timms, again = (
        str(tmp_path / name) for name in ('own', 'authors', 'timm', 'again'))
    done = convert(save(state), own)
    assert (done.weights.arch, done.weights.key_format, done.key_format) == (
        arch, "timm's key format", 'own key format')
    assert_computes_as_timm(arch, load(own)['state_dict'], state)
    convert(own, authors, arch, key_format='authors')
    convert(authors, timms, arch, key_format='timm')
    convert(authors, again, arch)
    assert_same(load(authors)['state_dict'], authors_state(state, arch))
    assert_same(load(timms), state)
    assert_same(load(again)['state_dict'], load(own)['state_dict'])


def assert_computes_as_timm(arch, own, state):
    reference = timm_model(arch).eval()
    reference.load_state_dict(state)
    backbone = LowFormer(arch).eval()
    backbone.load_state_dict(own)
    classifier = Classifier(backbone.out_channels[-1], **HEAD).eval()
    classifier.load_state_dict(
        {name.removeprefix(CLASSIFIER): value for name, value in own.items()
         if name.startswith(CLASSIFIER)})
    x = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        maps = backbone(x)
        expected = reference.forward_intermediates(x, intermediates_only=True)
        for actual, stage in zip(maps, expected[-4:], strict=True):
            assert_close(actual, stage)
        assert_close(classifier(maps[-1]), reference(x))


def test_own_file_is_a_classifier_of_mmpretrain(save, target):
    state = timm_state('b0')
    convert(save(state), target)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='mmlowformer.LowFormer', arch='b0'),
        head=dict(type='mmlowformer.LowFormerClsHead', in_channels=256,
                  **HEAD))).eval()
    load_checkpoint(model, target, strict=True)
    reference = timm_model('b0').eval()
    reference.load_state_dict(state)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_close(model(x, mode='tensor'), reference(x))


def test_own_file_says_where_it_is_from(save, target):
    convert(save(timm_state('e1')), target)
    content = load(target)
    assert content['meta'] == dict(
        arch='e1', key_format='own key format', source='source.pth',
        source_key_format="timm's key format", mmlowformer_version=__version__)
    assert {type(value) for value in content['state_dict'].values()} == {
        torch.Tensor}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_timm_loads_what_is_written_for_it(save, tmp_path, suffix):
    state = timm_state('e3')
    file = str(tmp_path / f'model{suffix}')
    convert(save(authors_state(state, 'e3')), file, key_format='timm')
    model = timm_model('e3')
    timm.models.load_checkpoint(model, file, strict=True)
    reference = timm_model('e3')
    reference.load_state_dict(state, strict=True)
    assert_same(model.state_dict(), reference.state_dict())


@pytest.mark.parametrize('key_format', ['own', 'authors', 'timm'])
def test_safetensors_in_every_layout(save, tmp_path, key_format):
    """Our names for tensors in a safetensors file, too."""
    state = timm_state('b0')
    source = str(tmp_path / 'source.safetensors')
    save_file(state, source)
    file = str(tmp_path / 'target.safetensors')
    done = convert(source, file, key_format=key_format)
    assert done.key_format.startswith(key_format)
    written = load_file(file)
    assert {own_name(name) for name in written} == set(map(own_name, state))
    convert(file, str(tmp_path / 'back.pth'), key_format='timm')
    assert_same(load(tmp_path / 'back.pth'), state)


def test_backbone_of_a_detector(save, target, tmp_path):
    state = timm_state('b0')
    own = own_backbone(state)
    detector = dict(
        state_dict={**prefixed('backbone.', own), 'neck.weight': torch.ones(1),
                    'neck.bias': torch.ones(1),
                    'bbox_head.stages.0.main.weight': torch.ones(1)},
        optimizer=dict(state={}), meta=dict(epoch=1))
    done = convert(save(detector), target)
    assert done.weights.key_format == 'own key format'
    assert done.weights.left_aside == dict(neck=2, bbox_head=1)
    assert done.weights.entries == ['optimizer', 'meta']
    assert_same(load(target)['state_dict'], own)
    model = LowFormer('b0', init_cfg=dict(type='Pretrained',
                                          checkpoint=target))
    model.init_weights()
    torch.testing.assert_close(model.stem[0].conv.weight,
                               own['stem.0.conv.weight'])
    file = str(tmp_path / 'timm.pth')
    convert(target, file, key_format='timm')
    missing, unexpected = timm_model('b0').load_state_dict(
        load(file), strict=False)
    assert not unexpected
    assert {name.split('.')[0] for name in missing} == {
        'in_conv', 'pre_classifier', 'classifier'}


@pytest.mark.parametrize('prefix', ['', 'backbone.timm_model.'])
def test_networks_of_timm_without_a_classifier(prefix, save, target):
    features = timm_model('b0', features_only=True).state_dict()
    convert(save(prefixed(prefix, features)), target)
    assert_same(load(target)['state_dict'], own_backbone(features))


def test_published_files_of_the_authors(save, target):
    state = timm_state('e3')
    authors = authors_state(state, 'e3')
    scripted = {name.replace('head.', 'head.opseq.'): value
                for name, value in authors.items()}
    for content, entries in (
            (dict(state_dict=authors, epoch=3, best_val=83.),
             ['epoch', 'best_val']),
            (prefixed('ema.module.', scripted), [])):
        done = convert(save(content), target, 'e3', key_format='timm',
                       force=True)
        assert done.weights.key_format == "authors' key format"
        assert not done.weights.left_aside
        assert done.weights.entries == entries
        assert_same(load(target), state)


def test_averaged_weights_of_a_training_with_timm(save, target):
    raw, averaged = timm_state('b0'), timm_state('b0')
    training = dict(
        epoch=3, arch='lowformer_b0', args=argparse.Namespace(lr=1e-3),
        state_dict=raw, state_dict_ema=prefixed('module.', averaged))
    done = convert(save(training), target, key_format='timm')
    assert_same(load(target), averaged)
    assert done.weights.entries == ['epoch', 'arch', 'args', 'state_dict']


@pytest.mark.usefixtures('safe_loading')
def test_averaged_weights_of_a_training_with_mmengine(save, target):
    """EMAHook swaps the two before it saves."""
    averaged, raw = (own_backbone(timm_state('b0')) for _ in range(2))
    training = dict(
        state_dict=prefixed('backbone.', averaged),
        ema_state_dict={'steps': torch.tensor(3),
                        **prefixed('module.backbone.', raw)},
        message_hub=dict(loss=HistoryBuffer([1.], [1]), best=np.float64(1)))
    convert(save(training), target)
    assert_same(load(target)['state_dict'], averaged)


def test_classifier_with_another_head(save, target):
    own = own_backbone(timm_state('b0'))
    done = convert(save({**prefixed('backbone.', own),
                         'head.layers.0.fc.weight': torch.ones(1)}), target)
    assert done.weights.left_aside == dict(head=1)
    assert_same(load(target)['state_dict'], own)


@pytest.mark.parametrize('arch', ['b3', 'e1'])
def test_arch_is_recognised_by_the_published_shapes(arch, monkeypatch):
    monkeypatch.undo()
    with torch.device('meta'):
        state = LowFormer(arch).state_dict()
    assert conversion._likely_arch(state) == arch


class RunsCode:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


def with_nan(state):
    return {name: value * float('nan') for name, value in state.items()}


@pytest.mark.parametrize(('change', 'arch', 'message'), [
    (lambda state: without(state, 'stem.0.conv.weight'), None,
     r"LowFormer-b3: \d+/\d+ tensors from .*source.pth \(timm's key format\). "
     'Missing or of another shape: stem.0.conv.weight. '
     '.*none of the published'),
    (lambda state: state, 'b0',
     'LowFormer-b0: .*Missing or of another shape: .*The file is b3: set '
     "arch='b3'"),
    # Its tensors are all there.
    (lambda state: state, 'e2',
     'LowFormer-e2: .* more are not part of it: stages.2.1.lowtention'
     ".norm.weight, .*The file is b3: set arch='b3'"),
    (lambda state: state, 'b4', "no arch 'b4'.*Allowed are: b0, b1"),
    (lambda state: {'fc.weight': torch.ones(1)}, None,
     'LowFormer-b0: 0/.*none of the published'),
    (lambda state: {**state, 'stages.4.0.weight': torch.ones(1)}, None,
     '1 more .*stages.4.0.weight. The file holds none of the published'),
    (lambda state: without(state, 'in_conv.conv.weight',
                           'in_conv.norm.weight'), 'b3',
     'classifier: 9/11 tensors from .*source.pth. Missing or of another '
     'shape: head.layers.in_conv.conv.weight, head.layers.in_conv.bn.weight. '
     'Take a file with a whole classifier, or with none'),
    (lambda state: {**state, 'classifier.weight': torch.ones(7, 41)}, 'b3',
     'classifier: 10/11 .*another shape: head.layers.classifier.weight'),
    (lambda state: {**state, 'ema.stem.0.conv.weight': torch.ones(1)}, None,
     'holds stem.0.conv.weight twice, as stem.0.conv.weight and as ema.stem'),
    (with_nan, 'b3', 'source.pth computes NaN'),
])
def test_unusable_tensors(change, arch, message, save, target, tmp_path):
    source = save(change(timm_model('b3').state_dict()))
    with pytest.raises(UserError, match=message) as error:
        convert(source, target, arch)
    assert '\n' not in str(error.value)
    assert os.listdir(tmp_path) == ['source.pth']


def test_unusable_files(save, target, tmp_path):
    (tmp_path / 'text.pth').write_text('text')
    (tmp_path / 'text.safetensors').write_text('text')
    for source, message in (
            (tmp_path / 'none.pth', 'not found: .*none.pth'),
            (tmp_path, 'not found'),
            (tmp_path / 'text.pth', 'text.pth cannot be read'),
            (tmp_path / 'text.safetensors', 'text.safetensors cannot be read'),
            ('https://example.org/b0.pth', 'no file; download it'),
            (save({'weight': torch.ones(1),
                   'extra': RunsCode(tmp_path / 'trace')}),
             'is refused: reading it would run code')):
        with pytest.raises(UserError, match=message):
            convert(str(source), target)
    assert not os.path.exists(target)
    assert not (tmp_path / 'trace').exists()


def test_hub(hub, target, tmp_path):
    state = timm_state('b0')
    save_file(state, tmp_path / 'b0.safetensors')
    hub.publish('b0', (tmp_path / 'b0.safetensors').read_bytes())
    convert('hf-hub:timm/lowformer_b0.in1k', target, key_format='timm')
    assert_same(load(target), state)
    with pytest.raises(UserError, match='by hand and name that file instead'):
        convert('hf-hub:timm/lowformer_e1.in1k', target, force=True)


def test_refused_targets(save, target, tmp_path):
    source = save(timm_state('b0'))
    os.symlink(source, tmp_path / 'link.pth')
    with open(target, 'w') as file:
        file.write('precious')
    for name, force, message in (
            (target, False, 'target.pth exists; --force replaces it'),
            (source, True, 'source.pth is the file to read'),
            (tmp_path / 'link.pth', True, 'link.pth is the file to read'),
            (tmp_path, True, 'is a folder; name a file in it'),
            (tmp_path / 'none' / 'x.pth', True, 'folder not found: .*none'),
            (tmp_path / ('x' * 300), True, 'cannot be written: File name too'),
            ('/proc/x.pth', True, '/proc/x.pth cannot be written: ')):
        with pytest.raises(UserError, match=message) as error:
            convert(source, str(name), force=force)
        assert '\n' not in str(error.value)
    with open(target) as file:
        assert file.read() == 'precious'
    assert sorted(os.listdir(tmp_path)) == ['link.pth', 'source.pth',
                                            'target.pth']
    convert(source, target, force=True)
    assert load(target)['meta']['arch'] == 'b0'


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_views_are_written_without_what_they_are_of(save, tmp_path, suffix):
    state = timm_state('b0')
    state['classifier.weight'] = torch.rand(1000, 40)[:7]
    state['pre_classifier.0.weight'] = torch.rand(24, 40).t()
    file = str(tmp_path / f'target{suffix}')
    convert(save(state), file, key_format='timm')
    written = load_file(file) if suffix == '.safetensors' else load(file)
    for name, tensor in written.items():
        assert torch.equal(tensor, state[name])
        assert tensor.is_contiguous()
    values = sum(tensor.nbytes for tensor in state.values())
    assert os.path.getsize(file) < values + 100_000


def test_safetensors_is_not_installed(save, tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda _: None)
    with pytest.raises(UserError, match='x.safetensors needs: pip install'):
        convert(save(timm_state('b0')), str(tmp_path / 'x.safetensors'))


def test_has_the_usual_permissions(save, target):
    source = save(timm_state('b0'))
    convert(source, target)
    assert os.stat(target).st_mode == os.stat(source).st_mode


@pytest.fixture
def small_disk():
    """Writing more than a megabyte fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def assert_nothing_happened(source, target, error, message):
    with open(target, 'w') as file:
        file.write('precious')
    with pytest.raises(error, match=message):
        convert(source, target, force=True)
    with open(target) as file:
        assert file.read() == 'precious'
    assert sorted(os.listdir(os.path.dirname(target))) == ['source.pth',
                                                           'target.pth']


def test_full_disk(save, target, request):
    source = save(timm_state('b0'))
    request.getfixturevalue('small_disk')
    assert_nothing_happened(source, target, UserError,
                            'target.pth cannot be written: File too large')


def add_one(state, name):
    state[name] = state[name] + 1


def of_another_dtype(state, name):
    state[name] = state[name].view(torch.double)


def interrupt(*_):
    raise KeyboardInterrupt('stopped')


@pytest.mark.parametrize(('spoil', 'name', 'error', 'message'), [
    (add_one, 'backbone.stem.0.conv.weight', UserError, 'was not written'),
    (add_one, 'head.layers.classifier.bias', UserError, 'was not written'),
    # Neither has an influence on the outputs.
    (add_one, 'backbone.stem.0.bn.num_batches_tracked', UserError,
     'was not written'),
    (of_another_dtype, 'backbone.stem.0.bn.num_batches_tracked', UserError,
     'was not written'),
    (dict.pop, 'backbone.stem.0.conv.weight', UserError,
     'Missing .*stem.0.conv.weight'),
    (interrupt, '', KeyboardInterrupt, 'stopped')])
def test_only_a_file_with_the_same_network_is_kept(
        spoil, name, error, message, save, target, monkeypatch):
    source = save(timm_state('b0'))
    write = torch.save

    def write_spoiled(content, stream):
        spoil(content['state_dict'], name)
        write(content, stream)

    monkeypatch.setattr(torch, 'save', write_spoiled)
    assert_nothing_happened(source, target, error, message)


def test_outputs_are_compared(save, target, monkeypatch):
    """Not only the tensors."""
    source = save(timm_state('b0'))
    run = conversion._run
    runs = iter([0, 1e-6])
    monkeypatch.setattr(conversion, '_run', lambda network: tuple(
        output + next(runs) if i == 3 else output
        for i, output in enumerate(run(network))))
    assert_nothing_happened(source, target, UserError, 'was not written')
