"""Weights of any key format load, or it is said why not."""
import copy
import logging
import os
import pickle
import re

import pytest
import timm
import torch
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors.torch import save_file
from timm.models.lowformer import checkpoint_filter_fn

from mmlowformer import LowFormer
from mmlowformer.models.classifier import Classifier
from mmlowformer.models.state_dict_keys import (
    CLASSIFIER,
    authors_names,
    model_names,
    own_name,
    timm_names,
)

from ..models.test_lowformer import SMALL, VARIANTS, images, randomise

# The authors' key format, restated from timm's names.
TIMM_TO_AUTHORS = (
    (r'^stem\.', 'backbone.input_stem.op_list.'),
    (r'^stages\.(\d)\.', r'backbone.stages.\1.op_list.'),
    (r'^in_conv\.', 'head.op_list.0.'),
    (r'^pre_classifier\.0\.', 'head.op_list.2.linear.'),
    (r'^pre_classifier\.1\.', 'head.op_list.2.norm.'),
    (r'^classifier\.', 'head.op_list.3.linear.'),
    (r'\.conv_proj\.conv\.', '.conv_proj.0.'),
    (r'\.conv_proj\.norm\.', '.conv_proj.1.'),
    (r'\.pwise\.', '.pwise.0.'),
    (r'\.local\.main\.', '.total.1.main.'),
    (r'\.mlp\.main\.', '.total.0.1.main.'),
)


def authors_name(name, arch):
    attention = '.total.0.main.' if arch == 'e3' else '.total.0.0.main.'
    for pattern, replacement in (*TIMM_TO_AUTHORS,
                                 (r'\.attn\.main\.', attention)):
        name = re.sub(pattern, replacement, name)
    return name


def published(arch):
    """timm's classifier with random weights, and its stage outputs."""
    model = randomise(timm.create_model(f'lowformer_{arch}')).eval()
    x = images()
    with torch.no_grad():
        outputs = model.forward_intermediates(x, intermediates_only=True)
    return model.state_dict(), x, outputs[-4:]


def assert_same_outputs(model, x, expected):
    model.eval()
    with torch.no_grad():
        for output, target in zip(model(x), expected, strict=True):
            assert (output - target).abs().max() < 1e-5 * target.abs().max()


def save(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pth')
    return str(tmp_path / 'weights.pth')


def initialize(file, **kwargs):
    model = LowFormer(init_cfg=dict(type='Pretrained', checkpoint=file),
                      **kwargs)
    model.init_weights()
    return model


@pytest.mark.parametrize('arch', VARIANTS)
def test_every_layout_gives_the_same_outputs(arch):
    state, x, expected = published(arch)
    authors = {authors_name(key, arch): value for key, value in state.items()}
    own = LowFormer(arch)
    own.load_state_dict(state)
    own = own.state_dict()
    model = LowFormer(arch)
    for content in (state, authors, own):
        for tensor in model.state_dict().values():
            tensor.zero_()
        model.load_state_dict(content)
        assert_same_outputs(model, x, expected)


def test_every_kind_of_file(tmp_path):
    state, x, expected = published('b0')
    authors = {authors_name(key, 'b0'): value for key, value in state.items()}
    own = initialize(save(tmp_path, state), arch='b0').state_dict()
    for content in (
            dict(state_dict=authors, epoch=3, best_val=1.5),
            dict(state_dict=own),
            {f'module.{key}': value for key, value in authors.items()},
            {**{f'backbone.{key}': value for key, value in own.items()},
             'neck.weight': torch.ones(1)}):
        model = initialize(save(tmp_path, content), arch='b0')
        assert_same_outputs(model, x, expected)
    model = LowFormer('b0')
    load_checkpoint(model, save(tmp_path, authors))
    assert_same_outputs(model, x, expected)


@pytest.fixture(scope='module', params=VARIANTS)
def names(request):
    """A variant, our names of a whole classifier, and timm's."""
    with torch.device('meta'):
        own = [*LowFormer(request.param).state_dict(),
               *(CLASSIFIER + name
                 for name in Classifier(1, (1, 1), 1).state_dict())]
        reference = timm.create_model(f'lowformer_{request.param}')
    return request.param, own, reference


def test_names_in_every_layout(names):
    arch, own, reference = names
    timms = list(reference.state_dict())
    authors = [authors_name(name, arch) for name in timms]
    assert list(timm_names(own).items()) == list(zip(own, timms))
    assert list(authors_names(own).items()) == list(zip(own, authors))
    scripted = [name.replace('head.', 'head.opseq.') for name in authors]
    for keys in (own, timms, authors, scripted, model_names(own).values()):
        assert [own_name(name) for name in keys] == own


def test_timm_understands_our_names_for_the_authors(names):
    _, own, reference = names
    expected = list(reference.state_dict())
    state = dict.fromkeys(authors_names(own).values())
    assert list(checkpoint_filter_fn(state, reference)) == expected


def test_names_of_a_backbone_alone(names):
    _, own, _ = names
    backbone = [name for name in own if not name.startswith(CLASSIFIER)]
    assert list(model_names(backbone).values()) == backbone
    for key_format in (timm_names, authors_names):
        assert key_format(backbone).items() < key_format(own).items()


@pytest.mark.parametrize('wrappers', [
    'module.', '_orig_mod.', 'ema.', 'ema_model.', 'model_ema.',
    'module._orig_mod.', '_orig_mod.module.', 'ema.module.',
    'ema_model.module.', 'model_ema.module._orig_mod.', 'module.ema.'])
def test_wrappers(wrappers):
    for name in ('stem.0.conv.weight', 'stages.0.0.point_conv.bn.bias',
                 f'{CLASSIFIER}in_conv.bn.weight',
                 f'{CLASSIFIER}classifier.bias'):
        key_formats = (timm_names, authors_names, model_names)
        for foreign in (name, *(names([name])[name] for names in key_formats)):
            assert own_name(wrappers + foreign) == name
    stem = 'stem.0.conv.weight'
    assert own_name(f'{wrappers}backbone.{stem}') == stem
    assert own_name(f'backbone.{wrappers}{stem}') == stem
    assert own_name(f'{wrappers}neck.{stem}') == f'{wrappers}neck.{stem}'


def test_names_of_features_only_and_mmpretrain():
    assert own_name('stages_0.0.main.spatial_conv.conv.weight') == \
        'stages.0.0.spatial_conv.conv.weight'
    assert own_name('backbone.timm_model.stem.0.norm.bias') == 'stem.0.bn.bias'


@pytest.mark.parametrize('name', [
    'neck.lateral_convs.0.conv.weight', 'neck.down_conv.norm.weight',
    'bbox_head.retina_cls.bias', 'bbox_head.head.classifier.weight',
    'decode_head.stages.0.main.0.weight', 'head.fc.weight',
    'head.layers.0.fc.weight', 'head.layers.0.cls_conv.norm.weight',
    'module.neck.main.0.weight', 'ema_neck.main.weight', 'backbone.norm3.bias',
    'backbone.timm_model.in_conv.conv.weight'])
def test_names_of_others_stay(name):
    assert own_name(name) == name


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


def test_says_how_much_was_loaded(tmp_path, log):
    file = save(tmp_path, timm.create_model('lowformer_b0').state_dict())
    model = initialize(file, arch='b0')
    count = len(model.state_dict())
    assert (f'LowFormer-b0: {count}/{count} tensors from {file} '
            "(timm's key format)") in log.text
    assert 'classifier' not in log.text


def test_fewer_stages_need_fewer_tensors(tmp_path):
    whole = LowFormer(SMALL)
    model = initialize(save(tmp_path, whole.state_dict()), arch=SMALL,
                       out_indices=(0, 1))
    x = images()
    torch.testing.assert_close(model.eval()(x)[1], whole.eval()(x)[1])


def test_other_variant_is_named(tmp_path):
    file = save(tmp_path, timm.create_model('lowformer_e2').state_dict())
    with pytest.raises(ValueError, match='LowFormer-b1: .*The file is e2: set '
                       "arch='e2'") as error:
        initialize(file, arch='b1')
    assert file in str(error.value)
    assert 'stem.0.conv.weight' in str(error.value)


@pytest.mark.parametrize(('arch', 'larger'), [
    ('e1', 'b15'), ('e2', 'b3'), ('e3', 'b3')])
def test_part_of_a_larger_variant(arch, larger):
    with torch.device('meta'):
        state = LowFormer(larger).state_dict()
        model = LowFormer(arch)
    with pytest.raises(ValueError, match='more are not part of it: .*The file '
                       f"is {larger}: set arch='{larger}'"):
        model.load_state_dict(state)


INSIDE = ('student.backbone.', 'teacher.backbone.')


def inside(state, prefixes=INSIDE):
    """The state dict of a larger model."""
    return {prefix + name: value for prefix in prefixes
            for name, value in state.items()}


@pytest.mark.parametrize('names', [model_names, timm_names])
def test_prefix_inside_a_larger_model_is_named(tmp_path, names):
    state = randomise(LowFormer(SMALL)).state_dict()
    file = save(tmp_path, inside({
        new: state[own] for own, new in names(state).items()}))
    with pytest.raises(ValueError, match='0/.*set prefix=.student.backbone.. '
                       'or .teacher.backbone.. in init_cfg') as error:
        initialize(file, arch=SMALL)
    assert file in str(error.value)
    model = LowFormer(SMALL, init_cfg=dict(
        type='Pretrained', checkpoint=file, prefix=INSIDE[1]))
    model.init_weights()
    for name, value in model.state_dict().items():
        assert value.equal(state[name]), name


def test_variant_inside_a_larger_model_is_named():
    with torch.device('meta'):
        state = inside(LowFormer('b15').state_dict(), INSIDE[1:])
        model = LowFormer('e1')
    with pytest.raises(ValueError, match="b15 inside a larger model: set arch="
                       "'b15', and prefix='teacher.backbone.'"):
        model.load_state_dict(state)


def test_incomplete_and_foreign_files(tmp_path):
    state = LowFormer(SMALL).state_dict()
    first = next(iter(state))
    incomplete = {key: value for key, value in state.items() if key != first}
    for content in (incomplete, timm.create_model('resnet18').state_dict()):
        with pytest.raises(ValueError, match='none of the published'):
            initialize(save(tmp_path, content), arch=SMALL)


def test_strict_false_of_torch_is_respected():
    source, model = LowFormer(SMALL), LowFormer(SMALL, in_channels=4)
    state = source.state_dict()
    del state['stem.0.conv.weight']
    result = model.load_state_dict(state, strict=False)
    assert result.missing_keys == ['stem.0.conv.weight']
    torch.testing.assert_close(model.stages[0].state_dict(),
                               source.stages[0].state_dict())


def test_given_state_dict_is_not_changed():
    state = LowFormer(SMALL).state_dict()
    names = list(state)
    copy.deepcopy(LowFormer(SMALL)).load_state_dict(state)
    assert list(state) == names


class RunsCode:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


def load_running_code(filename, map_location=None):
    """As the maintained forks of MMEngine do when a file is refused."""
    return torch.load(filename, map_location, weights_only=False)


@pytest.mark.parametrize('loader', [None, load_running_code])
def test_code_is_refused(tmp_path, monkeypatch, loader):
    file = save(tmp_path, dict(LowFormer(SMALL).state_dict(),
                               extra=RunsCode(tmp_path / 'trace')))
    schemes = CheckpointLoader._schemes
    if loader:
        monkeypatch.setattr(CheckpointLoader, '_schemes',
                            type(schemes)(schemes, **{'': loader}))
        monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    environ, loaders = dict(os.environ), CheckpointLoader._schemes
    with pytest.raises(pickle.UnpicklingError):
        initialize(file, arch=SMALL)
    assert not (tmp_path / 'trace').exists()
    # All is as it was for whatever else this process loads.
    assert dict(os.environ) == environ
    assert CheckpointLoader._schemes is loaders
    if loader:
        CheckpointLoader.load_checkpoint(file)
        assert (tmp_path / 'trace').exists()


def test_safetensors(tmp_path):
    file = str(tmp_path / 'model.safetensors')
    state = timm.create_model('lowformer_b0').state_dict()
    save_file(state, file)
    model = initialize(file, arch='b0')
    torch.testing.assert_close(model.stem[0].conv.weight,
                               state['stem.0.conv.weight'])


def test_hub(hub, tmp_path):
    file = tmp_path / 'model.safetensors'
    save_file(LowFormer(SMALL).state_dict(), file)
    hub.publish('b1', file.read_bytes())
    initialize('hf-hub:timm/lowformer_b1.in1k', arch=SMALL)
