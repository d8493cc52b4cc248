"""The config in a checkpoint is read, and nothing of it is executed."""
import pytest

from mmlowformer import get_config
from mmlowformer.checkpoint.embedded_config import embedded_config
from mmlowformer.errors import UserError


def content(text):
    return dict(meta=dict(cfg=text))


@pytest.mark.parametrize('name', [
    'retinanet_lowformer_b2_coco', 'fpn_lowformer_b1_ade20k',
    'lowformer_b0_in1k', 'retinanet_lowformer_b0_shapes'])
def test_what_a_training_leaves(name):
    cfg = get_config(name)
    read = embedded_config(content(cfg.pretty_text), 'a.pth')
    # Prediction needs no pretrained weights.
    assert not read.model.backbone.pop('init_cfg', None)
    cfg.model.backbone.pop('init_cfg', None)
    assert read.model.to_dict() == cfg.model.to_dict()
    assert (read.test_dataloader.dataset.pipeline
            == cfg.test_dataloader.dataset.pipeline)
    assert read.default_scope == cfg.default_scope


@pytest.mark.parametrize('text', [
    'model = dict(a=open("owned", "w"))', 'model = __import__("os")',
    'model = dict(**vars())', 'model = [x for x in ()]', 'model = dict(',
    'import os', 'model = dict(f"{exit()}")', 'model = dict([("a", 1)])',
    'model = {}.update(a=1)', 'open("owned", "w")',
    'model = ' + '[' * 50000, 'model = ' + 'dict(a=' * 900 + ')' * 900,
    'model = {[]: 1}', 'test_dataloader = 5', 'test_dataloader = {"a": 1}',
    'test_dataloader = dict(dataset=dict(pipeline=5))'])
def test_code_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='--config'):
        embedded_config(content(text), 'a.pth')
    assert not (tmp_path / 'owned').exists()


def test_what_is_not_needed_is_not_looked_at():
    cfg = embedded_config(content(
        'model = dict(type="FPN")\nrandom = some.thing(1)'), 'a.pth')
    assert cfg.model.type == 'FPN'


@pytest.mark.parametrize('text', [
    'custom_imports = dict(imports=["evil"])\nmodel = dict(type="X")',
    'model = dict(type="subprocess.Popen", args="id")',
    'model = dict(type="RetinaNet", neck=dict(type="evil.FPN"))'])
def test_foreign_modules_are_not_imported(text):
    with pytest.raises(UserError, match='--trust-config'):
        embedded_config(content(text), 'a.pth')


@pytest.mark.parametrize('meta', [None, 3, {}, {'cfg': ''}, {'cfg': 5}])
def test_no_config(meta):
    with pytest.raises(UserError, match='carries no config'):
        embedded_config(dict(meta=meta), 'a.pth')


def test_whole_names_are_shortened():
    """Configs in Python's new style are dumped with them."""
    cfg = embedded_config(content(
        'model = dict(type="mmdet.models.detectors.RetinaNet", neck=dict('
        'type="torch.nn.modules.activation.ReLU"))'), 'a.pth')
    assert cfg.model.type == 'mmdet.RetinaNet'
    assert cfg.model.neck.type == 'ReLU'


@pytest.mark.parametrize(('hooks', 'threshold'), [
    ('dict(visualization=dict(type="X", score_thr=0.5))', 0.5),
    ('dict(visualization=dict(type="X"))', None),
    ('dict(visualization=dict(score_thr="evil"))', None),
    ('dict(visualization=dict(score_thr=nan))', None),
    ('evil()', None), ('5', None)])
def test_the_score_threshold_is_kept(hooks, threshold):
    cfg = embedded_config(content(
        f'model = dict(type="mmdet.RetinaNet")\ndefault_hooks = {hooks}'),
        'a.pth')
    assert cfg.get('default_hooks') == (threshold and dict(
        visualization=dict(score_thr=threshold)))
