import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from mmlowformer import LowFormer, engine
from mmlowformer.engine import UserError

from ..models.test_lowformer import SMALL

pytestmark = pytest.mark.usefixtures('safe_loading')

RUNNER_CHECKPOINT = dict(
    state_dict={'weight': torch.ones(2, 3), 'bias': torch.ones(2)},
    optimizer=dict(state={}, param_groups=[dict(lr=0.1, params=[0, 1])]),
    message_hub=dict(
        log_scalars={'train/loss': HistoryBuffer([1., 2.], [1, 1])},
        runtime_info=dict(best_score=np.float64(0.5), epoch=np.int64(2)),
        resumed_keys={}),
    meta=dict(epoch=1, iter=2, seed=0, dataset_meta=dict(
        classes=('cat', ), palette=np.zeros((1, 3), np.uint8))))


class RunsCode:

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def save(tmp_path):

    def save_as(content, name='epoch_1.pth', **kwargs):
        torch.save(content, tmp_path / name, **kwargs)
        return tmp_path / name

    return save_as


@pytest.mark.parametrize('zipped', [True, False])
def test_reads_what_runner_writes(save, zipped):
    file = save(RUNNER_CHECKPOINT, _use_new_zipfile_serialization=zipped)
    engine.check_resumable(file)
    content = torch.load(file)
    buffer = content['message_hub']['log_scalars']['train/loss']
    assert buffer.mean() == 1.5
    assert buffer.statistics('max') == 2
    assert content['meta']['dataset_meta']['palette'].shape == (1, 3)


ATTACKS = {
    'system': RunsCode(os.system, ('touch {}', )),
    'eval': RunsCode(eval, ("open('{}', 'w')", )),
    'getattr of a module': RunsCode(getattr, (os, 'system')),
    'getattr of a class': RunsCode(
        getattr, (HistoryBuffer, '__init__')),
    'getattr of a builtin': RunsCode(getattr, (dict, '__class__')),
}


@pytest.mark.parametrize('attack', ATTACKS)
@pytest.mark.parametrize('zipped', [True, False])
def test_refuses_code(tmp_path, save, attack, zipped):
    trace = tmp_path / 'trace'
    function, arguments = ATTACKS[attack].__reduce__()
    arguments = tuple(a.format(trace) if isinstance(a, str) else a
                      for a in arguments)
    if os in arguments:
        # A module cannot be pickled; its import can.
        arguments = (RunsCode(__import__, ('os', )), arguments[1])
    content = dict(RUNNER_CHECKPOINT, extra=RunsCode(function, arguments))
    file = save(content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match='epoch_1.pth is refused') as error:
        engine.check_checkpoint(file)
    assert 'run code' in str(error.value)
    # Not even if a caller insists.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=False)
    assert not trace.exists()


def test_the_attack_would_work_without_protection(tmp_path, save,
                                                  monkeypatch):
    trace = tmp_path / 'trace'
    file = save(RunsCode(os.system, (f'touch {trace}', )))
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    with zipfile.ZipFile(file) as archive:
        name = next(n for n in archive.namelist() if n.endswith('data.pkl'))
        pickle.loads(archive.read(name))
    assert trace.exists()


def test_drops_a_config_that_resuming_would_execute(save):
    meta = dict(RUNNER_CHECKPOINT['meta'], config='import os')
    file = save(dict(RUNNER_CHECKPOINT, meta=meta))
    for read in (engine.check_checkpoint, _load_checkpoint):
        assert 'config' not in read(str(file))['meta']


def test_missing(tmp_path):
    with pytest.raises(UserError, match='not found: .*none.pth'):
        engine.check_checkpoint(tmp_path / 'none.pth')


@pytest.mark.parametrize('keep', [0, 10, 500, -100])
def test_truncated(save, keep):
    file = save(RUNNER_CHECKPOINT)
    content = file.read_bytes()
    file.write_bytes(content[:keep])
    with pytest.raises(UserError, match='epoch_1.pth cannot be read'):
        engine.check_checkpoint(file)
    assert file.read_bytes() == content[:keep]


@pytest.mark.parametrize('text', ['text\n', 'hello', '<html>', '{"a": 1}'])
def test_text(tmp_path, text):
    file = tmp_path / 'epoch_1.pth'
    file.write_text(text)
    with pytest.raises(UserError, match='epoch_1.pth cannot be read') as error:
        engine.check_checkpoint(file)
    assert 'run code' not in str(error.value)


@pytest.mark.parametrize('content', [[1, 2], {}, {'state_dict': {}},
                                     {'a': 1}, torch.ones(1)])
def test_no_state_dict(save, content):
    with pytest.raises(UserError, match='holds no state dict'):
        engine.check_checkpoint(save(content))


def test_url_is_left_to_mmengine():
    assert engine.check_checkpoint('https://example.org/a.pth') is None
    with pytest.raises(UserError, match='--resume takes a file'):
        engine.check_resumable('https://example.org/a.pth')


def test_weights_cannot_be_resumed(save):
    file = save(dict(state_dict=RUNNER_CHECKPOINT['state_dict']))
    with pytest.raises(UserError, match=f'load_from={file}'):
        engine.check_resumable(file)


def test_fits(save):
    model = nn.Linear(3, 2)
    engine.check_fits(model, save(RUNNER_CHECKPOINT))
    wrapped = {f'module.{key}': value
               for key, value in RUNNER_CHECKPOINT['state_dict'].items()}
    engine.check_fits(model, save(wrapped))


def test_does_not_fit(save):
    file = save(RUNNER_CHECKPOINT)
    wider = nn.Linear(4, 2)
    with pytest.raises(UserError, match=r'1 of its 2 .*\(2, 3\), not \(2, 4'):
        engine.check_fits(wider, file)
    engine.check_fits(wider, file, partial=True)
    with pytest.raises(UserError, match='0 of its 3'):
        engine.check_fits(
            nn.Sequential(nn.Linear(3, 2), nn.PReLU()), file, partial=True)


def classifier(arch):
    with torch.device('meta'):
        return nn.ModuleDict(dict(backbone=LowFormer(arch)))


@pytest.mark.parametrize(('arch', 'larger'), [
    ('e1', 'b15'), ('e2', 'b3'), ('e3', 'b3')])
def test_part_of_a_larger_variant(arch, larger):
    """All tensors of an E variant are in the B variant of its widths."""
    state = classifier(larger).state_dict()
    for partial in (False, True):
        with pytest.raises(UserError, match='is not part of the model'):
            engine.fitting_state_dict(
                classifier(arch), dict(state_dict=state), 'a.pth', partial)


def test_backbone_inside_a_larger_model(save):
    state = {f'teacher.backbone.{name}': value
             for name, value in LowFormer('b0').state_dict().items()}
    with pytest.raises(UserError, match="prefix='teacher.backbone.'") as error:
        engine.fitting_state_dict(classifier('b0'), state, 'a.pth', True)
    assert 'init_cfg' in str(error.value)
    file = save(state)
    with pytest.raises(UserError, match="set prefix='teacher.backbone.'"):
        engine.check_pretrained(pretrained('b0', file))
    cfg = Config(dict(model=pretrained('b0', file)))
    init_cfg = cfg.model.parts[0].backbone.init_cfg
    init_cfg.prefix = 'student'
    with pytest.raises(UserError, match='begin with teacher.backbone.'):
        engine.fetch_weights(cfg)
    init_cfg.prefix = 'teacher.backbone.'
    engine.fetch_weights(cfg)


def test_network_and_its_average():
    model = classifier('b0')
    state = model.state_dict()
    twice = {**state, **{f'ema.{key}': value for key, value in state.items()}}
    with pytest.raises(UserError, match='a.pth holds backbone.stem.* twice'):
        engine.fitting_state_dict(model, twice, 'a.pth', False)


def test_latest_passes_over_what_a_crash_left(tmp_path, save):
    assert engine.latest_checkpoint(tmp_path) is None
    older = save(RUNNER_CHECKPOINT, 'epoch_9.pth')
    newer = save(RUNNER_CHECKPOINT, 'epoch_10.pth')
    os.utime(older, (1, 1))
    assert engine.saved_checkpoints(tmp_path) == [newer, older]
    assert engine.latest_checkpoint(tmp_path) == newer
    newer.write_bytes(newer.read_bytes()[:100])
    assert engine.latest_checkpoint(tmp_path) == older


def pretrained(arch, checkpoint):
    """A detector's config with the weights a level down."""
    backbone = dict(type='mmlowformer.LowFormer', arch=arch, init_cfg=dict(
        type='Pretrained', checkpoint=str(checkpoint)))
    return ConfigDict(type='Detector', parts=[dict(backbone=backbone)])


def test_pretrained_weights(save):
    file = save(LowFormer('e1').state_dict())
    engine.check_pretrained(pretrained('e1', file))
    with pytest.raises(UserError, match="The file is e1: set arch='e1'"):
        engine.check_pretrained(pretrained('b15', file))


def test_pretrained_weights_that_are_missing(tmp_path):
    with pytest.raises(UserError, match='not found: .*none.pth'):
        engine.check_pretrained(pretrained('b1', tmp_path / 'none.pth'))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(save, value):
    model = LowFormer(SMALL)
    model.stages[1][0].point_conv.conv.weight.data[0, 0] = value
    file = save(dict(state_dict=model.state_dict()))
    with pytest.raises(UserError, match=r'epoch_1.pth: stages.1.0.point_conv.'
                       'conv.weight holds NaN or infinity'):
        engine.check_fits(model, file)
    engine.check_fits(model, file, allow_nan=True)


def test_wrapped_twice(save):
    model = nn.Linear(3, 2)
    state = {f'module.module.{name}': value
             for name, value in model.state_dict().items()}
    assert engine.fitting_state_dict(
        model, state, 'a.pth', partial=True).keys() == \
        model.state_dict().keys()


@pytest.mark.parametrize('key', ['ema_state_dict', 'model'])
def test_names_the_entry_that_has_the_tensors(save, key):
    file = save({key: {'weight': torch.ones(2)}, 'epoch': 1})
    with pytest.raises(UserError, match=f"its tensors are in '{key}'"):
        engine.check_checkpoint(file)


def test_what_was_allowed_stays_allowed(save):
    """Loading with the forks of MMEngine takes types off torch's list."""
    before = torch.serialization.get_safe_globals()
    file = save(RUNNER_CHECKPOINT)
    torch.serialization.clear_safe_globals()
    engine.check_resumable(file)
    assert not torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([ConfigDict])
    engine.check_resumable(file)
    assert torch.serialization.get_safe_globals() == [ConfigDict]
    torch.serialization.add_safe_globals(before)
    _load_checkpoint(str(file))
