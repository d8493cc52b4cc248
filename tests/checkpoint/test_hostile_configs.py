"""Configs of strangers, in checkpoints and exports, that would run code."""
import ast
import inspect
import json
import pickle
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, DefaultScope

from mmlowformer import Predictor, get_config
from mmlowformer.checkpoint.allowed_types import TYPES
from mmlowformer.checkpoint.embedded_config import (
    allowed_pipeline,
    embedded_config,
)
from mmlowformer.engine import UserError
from mmlowformer.runtime.model_spec import sha256

from ..helpers import run_tool
from .test_checkpoints import RunsCode

LIBRARIES = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg')
CONFIGS = dict(
    detector='retinanet_lowformer_b0_shapes',
    segmentor='fpn_lowformer_b0_shapes', classifier='lowformer_b0_shapes',
    retriever='lowformer_b1_retrieval', many='bytetrack_lowformer_b0_shapes',
    tracker='track_lowformer_tiny_shapes')
# In the texts below they are a call that leaves a file, a package that does
# so when it is imported, and files that do so when they are run or unpickled.
CODE, PACKAGE, MODULE, PICKLE = 'CODE', 'evil', 'MODULE', 'PICKLE'
MOTION = dict(type='CameraMotionCompensation', warp_mode=CODE, num_iters=1,
              stop_eps=0.1)
STEPS = 'test_dataloader.dataset.pipeline'
REFUSED = [
    ('detector', 'model.test_cfg.nms.type', CODE),
    ('detector', 'model.test_cfg.nms.type', "torch.os.system('CODE')"),
    ('detector', 'model.test_cfg.nms.type', 'os.system'),
    ('detector', 'model.test_cfg.nms', dict(type=b'exit()')),
    ('detector', 'model.bbox_head.bbox_coder', MOTION),
    ('detector', 'model.bbox_head.bbox_coder.type', 'subprocess.Popen'),
    ('detector', 'model.backbone', dict(type='mmpretrain.TIMMBackbone',
                                        model_name='x', pretrained=True)),
    ('detector', 'model.backbone', dict(type='mmdet.ResNet', depth=18)),
    ('detector', 'model.backbone.type', f'{PACKAGE}.LowFormer'),
    ('detector', 'model.backbone.arch', '../../PICKLE'),
    ('detector', 'model.backbone._scope_', PACKAGE),
    ('detector', 'model._scope_', PACKAGE),
    ('detector', 'default_scope', PACKAGE),
    ('detector', 'default_scope', 'os'),
    ('detector', 'model', dict(
        type='KnowledgeDistillationSingleStageDetector',
        teacher_config=MODULE)),
    ('detector', 'model', dict(type='LAD', teacher_ckpt=PICKLE)),
    ('detector', 'model', dict(type='torch.save', obj=1, f=CODE)),
    ('detector', 'model', dict(type='torch.load', f=PICKLE)),
    ('detector', 'model', dict(type='mmengine.fileio.load', file=PICKLE)),
    ('detector', 'model', dict(type='mmengine.Config.fromfile',
                               filename=MODULE)),
    ('detector', 'model', dict(type='builtins.exec', source=CODE)),
    ('detector', 'model.type', 'mmlowformer.ExportedModel'),
    ('detector', 'model.type', ['RetinaNet']),
    ('detector', 'model.neck.type', f'{PACKAGE}.FPN'),
    ('detector', 'model.neck.norm_cfg', dict(type='evil.BN')),
    ('detector', 'model.bbox_head.loss_cls', dict(
        type='mmdet.EQLV2Loss', path=PICKLE)),
    ('detector', 'model.data_preprocessor.type', 'torch.nn.Module.apply'),
    ('detector', 'model.train_cfg', dict(assigner=dict(
        type='MaxIoUAssigner', iou_calculator=dict(type='evil.X')))),
    ('detector', STEPS, [dict(type='LoadImageFromFile',
                              color_type=CODE)]),
    ('detector', STEPS, [dict(type='LoadProposals')]),
    ('detector', STEPS, [dict(type='evil.Load')]),
    ('detector', STEPS, [dict(type='Albu', transforms=[dict(type=CODE)])]),
    ('detector', STEPS, [dict(type='LoadImageFromFile', file_client_args=dict(
        backend='petrel', sys_path='evil'))]),
    ('segmentor', 'model.decode_head.loss_decode.class_weight', PICKLE),
    ('segmentor', 'model.decode_head.type', 'mmseg.BaseCascadeDecodeHead'),
    ('segmentor', 'model', dict(type='mmseg.MultimodalEncoderDecoder')),
    ('segmentor', STEPS, [dict(type='LoadBiomedicalImageFromFile')]),
    ('classifier', STEPS, [
        dict(type='LoadImageFromFile'),
        dict(type='torchvision/ConvertImageDtype', dtype=CODE)]),
    ('classifier', STEPS, [
        dict(type='LoadImageFromFile'),
        dict(type='mmpretrain.torchvision/Resize', size=CODE)]),
    ('classifier', 'model', dict(type='HuggingFaceClassifier',
                                 model_name=PICKLE, pretrained=True)),
    ('classifier', 'model', dict(type='TimmClassifier', model_name='x')),
    ('classifier', 'model.head', dict(type='VQAGenerationHead',
                                      vocab=PICKLE)),
    ('classifier', 'model.head.topk', CODE),
    ('retriever', 'model.similarity_fn', CODE),
    ('retriever', 'model.image_encoder', [PICKLE]),
    ('many', 'model.tracker.motion', MOTION),
    ('many', 'model.tracker', dict(type='StrongSORTTracker', cmc=MOTION)),
    ('many', 'model.detector.test_cfg.nms.type', CODE),
    ('many', 'model.detector._scope_', PACKAGE),
    ('tracker', 'model.head.type', 'evil.Head'),
    ('tracker', 'model.box_cell', CODE),
]
# What is replaced or left out instead: weights, paths, and data.
LEFT_OUT = [
    ('detector', 'model.init_cfg', dict(type='Pretrained',
                                        checkpoint=PICKLE)),
    ('detector', 'model.backbone.init_cfg', dict(type='evil.Init')),
    ('detector', 'custom_imports', dict(imports=[PACKAGE])),
    ('detector', 'test_dataloader.dataset.type', 'evil.DataSet'),
    ('detector', 'test_dataloader.dataset.metainfo', PICKLE),
    ('detector', 'test_dataloader.dataset.ann_file', PICKLE),
    ('detector', 'test_dataloader.collate_fn', dict(type='evil.Collate')),
    ('detector', STEPS + '.0.backend_args', dict(
        backend='petrel', sys_path=PACKAGE)),
    ('segmentor', 'model.pretrained', PICKLE),
    ('retriever', 'model.prototype', PICKLE),
    ('retriever', 'model.prototype', dict(dataset=dict(type='evil.Data'))),
    ('detector', 'test_evaluator', dict(type='evil.Metric')),
    ('detector', 'visualizer', dict(type='evil.Visualizer')),
]


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Makes checkpoints out of which nothing may come to life."""
    canary = tmp_path / 'canary'
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    for file in (tmp_path / 'evil' / '__init__.py', tmp_path / 'module.py'):
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    (tmp_path / 'weights.pkl').write_bytes(pickle.dumps(
        RunsCode(exec, (code, ))))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = dict(CODE=code, MODULE=str(tmp_path / 'module.py'),
                 PICKLE=str(tmp_path / 'weights.pkl'))

    def written(value):
        if isinstance(value, dict):
            return {key: written(item) for key, item in value.items()}
        if isinstance(value, list):
            return [written(item) for item in value]
        for word, text in words.items():
            value = (value.replace(word, text) if isinstance(value, str) else
                     value)
        return value

    def make(task, path, value):
        cfg = get_config(CONFIGS[task])
        cfg.merge_from_dict({path: None})
        *above, last = path.split('.')
        node = cfg
        for name in above:
            node = node[int(name) if name.isdigit() else name]
        node[last] = written(value)
        file = tmp_path / 'hostile.pth'
        with DefaultScope.overwrite_default_scope('mmdet'):
            state = dict(a=torch.zeros(1))
        torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)),
                   file)
        return file

    yield make
    sys.modules.pop('evil', None)
    assert not canary.exists()


def named(cases):
    return [pytest.param(*case, id=f'{index}-{case[0]}-{case[1]}')
            for index, case in enumerate(cases)]


@pytest.mark.parametrize(('task', 'path', 'value'), named(REFUSED))
def test_refused(hostile, task, path, value):
    with pytest.raises(UserError, match='--trust-config') as error:
        Predictor(hostile(task, path, value), device='cpu')
    assert '\n' not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(('task', 'path', 'value'), named(LEFT_OUT))
def test_left_out(hostile, task, path, value):
    """Its weights do not fit, which is seen when the network is built."""
    with pytest.raises(UserError, match='hostile.pth|num_classes') as error:
        Predictor(hostile(task, path, value), device='cpu')
    assert '--trust-config' not in str(error.value)


@pytest.mark.usefixtures('safe_loading')
@pytest.mark.parametrize('tool', ['predict.py', 'serve.py', 'export.py'])
def test_tools(hostile, tmp_path, tool):
    file = hostile('detector', 'model.bbox_head.bbox_coder', MOTION)
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    options = {'predict.py': [photo], 'serve.py': [],
               'export.py': ['--format', 'onnx']}[tool]
    assert '--trust-config' in run_tool(
        tool, file, *options, cwd=tmp_path).stderr


def test_what_is_trusted_runs(tmp_path, hostile):
    """Or the files above would show nothing."""
    file = hostile('detector', 'model.bbox_head.bbox_coder', MOTION)
    with pytest.raises(UserError):
        Predictor(file, device='cpu', trust_config=True)
    assert (tmp_path / 'canary').exists()
    (tmp_path / 'canary').unlink()


STEP = dict(type='LoadImageFromFile')


@pytest.mark.parametrize('steps', [
    [STEP, dict(type='torchvision/ConvertImageDtype', dtype=CODE)],
    [STEP, dict(type='evil.X')], [dict(STEP, color_type=CODE)],
    [dict(STEP, _scope_='evil')], [STEP, dict(type='Albu')], 5, {}, 'x',
    [5], [[STEP, CODE]]])
def test_pipelines_of_exports(steps):
    with pytest.raises(UserError):
        allowed_pipeline(repr(steps), 'folder')


def test_an_export_is_judged_before_it_is_opened(hostile, tmp_path):
    folder = tmp_path / 'export'
    folder.mkdir()
    (folder / 'model.onnx').write_bytes(b'')
    steps = [STEP, dict(type='evil.X')]
    (folder / 'model.json').write_text(json.dumps(dict(
        task='detection', model='x', format='onnx', files=['model.onnx'],
        precision='float32', classes=['a'], palette=[[1, 2, 3]],
        input=dict(name='images', layout='NCHW', dtype='float32',
                   range=[0, 255], channel_order='RGB',
                   shape=['batch', 3, 'height', 'width'], least_size=32,
                   mean=[0., 0., 0.], std=[1., 1., 1.]),
        padding=dict(divisor=32, value=0, by='model'), prepare=[],
        outputs=[], host=dict(scope='mmdet', pipeline=repr(steps),
                              score_thr=0.3),
        sha256={'model.onnx': sha256(folder / 'model.onnx')},
        verification=dict(verdict='verified'), schema=1)))
    with pytest.raises(UserError):
        Predictor(folder)


# Where the libraries evaluate, import, run, or unpickle.
DANGEROUS = {
    'eval', 'exec', '__import__', 'import_module',
    'import_modules_from_strings', 'get_object_from_string',
    'Config.fromfile', 'Config.fromstring', 'pickle.load', 'pickle.loads',
    'torch.load', 'mmengine.load', 'fileio.load', 'load', 'np.load',
    'yaml.load', 'os.system', 'os.popen', 'subprocess.Popen',
    'subprocess.run', 'subprocess.call', 'subprocess.check_call',
    'subprocess.check_output'}
# Of classes that a config may name the test sees it by itself. Of all else
# somebody has to look, and to say here why a stranger's config does not reach
# it; that it does not is shown by the case that is named, or read.
NEVER_CALLED = 'called by tools, inferencers or hooks, which are not built'
OWN_DATA = 'reads what the same process has written'
CONSTANT = 'with names that are constants of the library'
BY_DATA_SET = 'of data sets, metrics and visualizers, which are not built'
LOOKED_AT = {
    'batched_nms': 'model.test_cfg.nms.type',
    '_str_to_torch_dtype': 'pipeline',
    'get_class_weight': 'model.decode_head.loss_decode.class_weight',
    'ImageToImageRetriever': 'model.prototype',
    'Registry': 'default_scope and model._scope_',
    'get_object_from_string': 'model.neck.type',
    'load_url': 'model.init_cfg', '_legacy_zip_load': 'model.init_cfg',
    '_safe_torch_load': 'model.init_cfg',
    'load_from_local': 'model.init_cfg', 'load_from_ceph': 'model.init_cfg',
    'load_from_pavi': 'model.init_cfg',
    'load_from_openmmlab': 'model.init_cfg',
    'get_torchvision_models': 'model.init_cfg',
    'build_openset_label_embedding': 'model, of a type that is not listed',
    **dict.fromkeys((
        'Config', 'LazyObject', 'BaseInferencer', 'ModelHub', 'RSInferencer',
        'FlexibleRunner', 'Runner', 'init_detector', 'init_track_model',
        'init_model', 'get_config', 'get_model', 'get_test_pipeline_cfg',
        '_get_config_module', 'ram_inference', 'RFSearchHook', 'SwAVHook',
        'ImageToTextRetrievalInferencer', 'TextToImageRetrievalInferencer',
        'collect_env', 'convert_video', 'call_command', '_minimal_ext_cmd',
        '_check_executable', '_check_py_package',
        'import_modules_from_strings', 'hub.py', '_get_cfg_metainfo'),
        NEVER_CALLED),
    **dict.fromkeys(('_tensor_to_object', 'tensor2obj', 'collect_results_cpu',
                     'collect_tracking_results_cpu', 'load_state_dict'),
                    OWN_DATA),
    **dict.fromkeys(('ext_loader.py', 'load_ext', 'get_classes',
                     'get_palette'), CONSTANT),
    **dict.fromkeys(('datafrombytes', 'PickleHandler', 'YamlHandler',
                     'BaseDataset', 'CityscapesMetric', 'DVCLiveVisBackend'),
                    BY_DATA_SET),
}


@cache
def dangerous_owners():
    """Classes, or functions, with such a call, and where it is."""
    owners = {}
    for library in LIBRARIES:
        root = Path(find_spec(library).origin).parent
        for file in sorted(root.rglob('*.py')):
            if '.mim' not in file.parts:
                module = ast.parse(file.read_text(encoding='utf-8'))
                for part in module.body:
                    name = getattr(part, 'name', file.name)
                    if any(is_dangerous(node) for node in ast.walk(part)):
                        owners.setdefault(name, []).append(
                            f'{file.relative_to(root.parent)}: {name}')
    return owners


def is_dangerous(node):
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    return (called.removeprefix('importlib.') in DANGEROUS
            or called.removeprefix('mmengine.') in DANGEROUS)


def listed_classes():
    """All classes that a listed type may be, in any library, with bases."""
    found = {}
    for scope in ('mmdet', 'mmseg', 'mmpretrain', 'mmlowformer'):
        with DefaultScope.overwrite_default_scope(scope):
            for parent in (MODELS, TRANSFORMS, TASK_UTILS):
                with parent.switch_scope_and_registry(scope) as registry:
                    for name in TYPES:
                        kind = registry.get(name)
                        if inspect.isclass(kind):
                            found |= {base.__name__: name
                                      for base in kind.__mro__}
    return found


def test_no_listed_class_evaluates():
    """A new version of a library that brings such a call fails here."""
    owners, listed = dangerous_owners(), listed_classes()
    assert len(owners) > 50  # Or nothing was looked at.
    assert {'RetinaHead', 'LoadImageFromFile', 'Module'} < set(listed)
    reached = {place for name, places in owners.items()
               if name in listed and name not in LOOKED_AT for place in places}
    assert not reached


def test_all_functions_that_evaluate_were_looked_at():
    new = [place for name, places in dangerous_owners().items()
           for place in places
           if name not in LOOKED_AT and not is_class_to_build(name, place)]
    assert not new, 'may a config reach these? See LOOKED_AT'


def is_class_to_build(name, place):
    """Such are built only if they are listed."""
    return name[:1].isupper() and any(
        folder in place for folder in ('/models/', '/datasets/',
                                       '/evaluation/', '/visualization/'))


@pytest.mark.parametrize('text', ['x' * 10**6, '\x1b[31m', '\u202e', '\n'])
def test_messages_are_short_and_plain(text):
    config = f'model = dict(type={text!r})'
    with pytest.raises(UserError) as error:
        embedded_config(dict(meta=dict(cfg=config)), 'a.pth')
    message = str(error.value)
    assert len(message) < 500
    assert message.isprintable()


@pytest.mark.parametrize(('path', 'value'), [
    ('model.bbox_head.bbox_coder.target_means', [[1], 0., 0., 0.]),
    ('model.test_cfg.nms.iou_threshold', None),
    ('model.test_cfg.max_per_img', [3]), ('model.neck', 3),
    ('model.bbox_head.num_classes', -1), ('model.backbone', [])])
def test_odd_values(detector, tmp_path, path, value):
    """They fail when something is built or predicted, with a line."""
    content = torch.load(detector, weights_only=True)
    cfg = get_config(CONFIGS['detector'])
    cfg.merge_from_dict({path: None})
    cfg.merge_from_dict({path: value})
    content['meta']['cfg'] = cfg.pretty_text
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(UserError):
        Predictor(tmp_path / 'a.pth', score_thr=0., device='cpu')(
            np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize('info', [
    dict(classes=['a'] * 4, palette=[['x', 1, 2]] * 4),
    dict(classes=['a'] * 4, palette=[5] * 4),
    dict(classes=['a'] * 4, palette='random'),
    dict(classes='file.txt')])
def test_odd_facts(detector, tmp_path, info):
    content = torch.load(detector, weights_only=True)
    content['meta']['dataset_meta'] = info
    torch.save(content, tmp_path / 'a.pth')
    predictor = Predictor(tmp_path / 'a.pth', score_thr=0., device='cpu')
    predictor(np.zeros((64, 64, 3), np.uint8)).draw()


def test_images_are_predicted_as_before(detector):
    """What our own trainings leave is on the list."""
    result = Predictor(detector, device='cpu')(
        np.zeros((64, 64, 3), np.uint8))
    assert result.boxes.shape[1] == 4
