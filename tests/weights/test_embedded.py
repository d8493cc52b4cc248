"""The config in a checkpoint is read, and nothing of it is executed."""
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmlowformer import Predictor, get_config
from mmlowformer.errors import UserError
from mmlowformer.weights.embedded import embedded_config, registered_only


def content(text):
    return dict(meta=dict(cfg=text))


@pytest.mark.parametrize('name', [
    'retinanet_lowformer_b2_coco', 'fpn_lowformer_b1_ade20k',
    'lowformer_b0_in1k', 'retinanet_lowformer_b0_shapes'])
def test_what_a_training_leaves(name):
    cfg = get_config(name)
    read = embedded_config(content(cfg.pretty_text), 'a.pth')
    assert read.model.to_dict() == cfg.model.to_dict()
    assert read.test_dataloader.to_dict() == cfg.test_dataloader.to_dict()
    assert read.default_scope == cfg.default_scope


@pytest.mark.parametrize('text', [
    'model = dict(a=open("owned", "w"))', 'model = __import__("os")',
    'model = dict(**vars())', 'model = [x for x in ()]', 'model = dict(',
    'import os', 'model = dict(f"{exit()}")', 'model = dict([("a", 1)])',
    'model = {}.update(a=1)', 'open("owned", "w")'])
def test_code_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='not executed.*--config'):
        embedded_config(content(text), 'a.pth')
    assert not (tmp_path / 'owned').exists()


def test_what_is_not_needed_is_not_looked_at():
    cfg = embedded_config(content(
        'model = dict(type="X")\nrandom = some.thing(1)'), 'a.pth')
    assert cfg.model.type == 'X'


@pytest.mark.parametrize('text', [
    'custom_imports = dict(imports=["evil"])\nmodel = dict(type="X")',
    'model = dict(type="subprocess.Popen", args="id")',
    'model = dict(type="RetinaNet", neck=dict(type="evil.FPN"))'])
def test_foreign_modules_are_not_imported(text):
    with pytest.raises(UserError, match='--config, if you trust it'):
        embedded_config(content(text), 'a.pth')


@pytest.mark.parametrize('meta', [None, 3, {}, {'cfg': ''}, {'cfg': 5}])
def test_no_config(meta):
    with pytest.raises(UserError, match='carries no config'):
        embedded_config(dict(meta=meta), 'a.pth')


@pytest.mark.parametrize('kind', [
    'torch.hub.load', 'os', 'torch.os.system', 'mmengine.fileio.load',
    'mmengine.runner.runner.os.system', 'subprocess.Popen'])
def test_only_classes_of_the_libraries_are_built(kind):
    with registered_only(), DefaultScope.overwrite_default_scope('mmdet'), \
            pytest.raises(RuntimeError, match='Failed to get'):
        MODELS.build(dict(type=kind))


def test_whole_names_are_built():
    """As configs in Python's new style are dumped."""
    with registered_only():
        built = MODELS.build(dict(type='torch.nn.ReLU'))
    assert isinstance(built, torch.nn.ReLU)


def test_a_predictor_runs_no_code(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1)), meta=dict(
        cfg='default_scope = "mmdet"\n'
        'test_dataloader = dict(dataset=dict(pipeline=['
        'dict(type="LoadImageFromFile")]))\n'
        f'model = dict(type="torch.save", obj=1, f="{tmp_path}/owned")')),
        file)
    with pytest.raises(UserError, match='cannot be built.*torch.save'):
        Predictor(file)
    assert not (tmp_path / 'owned').exists()
