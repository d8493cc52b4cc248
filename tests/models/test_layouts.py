"""Weights of any layout load, or it is said why not."""
import copy
import logging
import os
import pickle
import re

import huggingface_hub
import pytest
import timm
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from safetensors.torch import save_file

from mmlowformer import LowFormer
from mmlowformer.models.layouts import own_name

from .test_lowformer import SMALL, VARIANTS, images, randomise

# The authors' key layout, restated from timm's names.
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


@pytest.fixture(scope='module', params=VARIANTS)
def published(request):
    """timm's classifier with random weights, and its stage outputs."""
    torch.manual_seed(0)
    model = randomise(timm.create_model(f'lowformer_{request.param}')).eval()
    x = images()
    with torch.no_grad():
        outputs = model.forward_intermediates(x, intermediates_only=True)
    return request.param, model.state_dict(), x, outputs[-4:]


def assert_same_outputs(model, x, expected):
    model.eval()
    with torch.no_grad():
        for output, target in zip(model(x), expected, strict=True):
            assert (output - target).abs().max() < 1e-5 * target.abs().max()


def save(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pth')
    return str(tmp_path / 'weights.pth')


def initialise(file, **kwargs):
    model = LowFormer(init_cfg=dict(type='Pretrained', checkpoint=file),
                      **kwargs)
    model.init_weights()
    return model


def test_every_layout_gives_the_same_outputs(published, tmp_path):
    arch, state, x, expected = published
    authors = {authors_name(key, arch): value for key, value in state.items()}
    own = LowFormer(arch)
    own.load_state_dict(state)
    layouts = dict(
        timm=state, authors=dict(state_dict=authors, epoch=3, best_val=1.5),
        own=own.state_dict(),
        parallel={f'module.{key}': value for key, value in authors.items()},
        detector={**{f'backbone.{key}': value
                     for key, value in own.state_dict().items()},
                  'neck.weight': torch.ones(1)})
    for content in layouts.values():
        model = initialise(save(tmp_path, content), arch=arch)
        assert_same_outputs(model, x, expected)
    model = LowFormer(arch)
    load_checkpoint(model, save(tmp_path, layouts['authors']))
    assert_same_outputs(model, x, expected)


@pytest.mark.parametrize('arch', VARIANTS)
def test_renaming_is_idempotent(arch):
    with torch.device('meta'):
        own = LowFormer(arch).state_dict()
        other = timm.create_model(f'lowformer_{arch}').state_dict()
    assert all(own_name(name) == name for name in own)
    for name in (*other, *(authors_name(name, arch) for name in other)):
        assert own_name(own_name(name)) == own_name(name)


def test_names_of_features_only_and_mmpretrain():
    assert own_name('stages_0.0.main.spatial_conv.conv.weight') == \
        'stages.0.0.spatial_conv.conv.weight'
    assert own_name('backbone.timm_model.stem.0.norm.bias') == 'stem.0.bn.bias'


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


def test_says_how_much_was_loaded(tmp_path, log):
    file = save(tmp_path, timm.create_model('lowformer_b0').state_dict())
    model = initialise(file, arch='b0')
    count = len(model.state_dict())
    line = f"LowFormer-b0: {count}/{count} tensors from {file} (timm's layout)"
    assert line in log.text
    assert 'classifier' not in log.text


def test_fewer_stages_need_fewer_tensors(tmp_path):
    whole = LowFormer(SMALL)
    model = initialise(save(tmp_path, whole.state_dict()), arch=SMALL,
                       out_indices=(0, 1))
    x = images()
    torch.testing.assert_close(model.eval()(x)[1], whole.eval()(x)[1])


def test_other_variant_is_named(tmp_path):
    file = save(tmp_path, timm.create_model('lowformer_e2').state_dict())
    with pytest.raises(ValueError, match='LowFormer-b1: .*The file is e2: set '
                       "arch='e2'") as error:
        initialise(file, arch='b1')
    assert file in str(error.value)
    assert 'stem.0.conv.weight' in str(error.value)


def test_incomplete_and_foreign_files(tmp_path):
    state = LowFormer(SMALL).state_dict()
    first = next(iter(state))
    incomplete = {key: value for key, value in state.items() if key != first}
    for content in (incomplete, timm.create_model('resnet18').state_dict()):
        with pytest.raises(ValueError, match='none of the published'):
            initialise(save(tmp_path, content), arch=SMALL)


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


def test_code_is_refused(tmp_path):
    file = save(tmp_path, dict(LowFormer(SMALL).state_dict(),
                               extra=RunsCode(tmp_path / 'trace')))
    with pytest.raises(pickle.UnpicklingError):
        initialise(file, arch=SMALL)
    assert not (tmp_path / 'trace').exists()


def test_safetensors(tmp_path):
    file = str(tmp_path / 'model.safetensors')
    state = timm.create_model('lowformer_b0').state_dict()
    save_file(state, file)
    model = initialise(file, arch='b0')
    torch.testing.assert_close(model.stem[0].conv.weight,
                               state['stem.0.conv.weight'])


def test_hub(tmp_path, monkeypatch):
    file = str(tmp_path / 'model.safetensors')
    save_file(LowFormer(SMALL).state_dict(), file)
    asked = []
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download',
                        lambda *names: (asked.append(names), file)[1])
    initialise('hf-hub:timm/lowformer_b1.in1k', arch=SMALL)
    assert asked == [('timm/lowformer_b1.in1k', 'model.safetensors')]


def test_hub_out_of_reach(monkeypatch):
    def fail(*_):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fail)
    with pytest.raises(RuntimeError, match='model.safetensors of https://hugg'
                       'ingface.co/timm/lowformer_b1.in1k by hand'):
        initialise('hf-hub:timm/lowformer_b1.in1k')
