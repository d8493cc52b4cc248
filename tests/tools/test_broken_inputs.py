"""What a user can get wrong ends in a line that names it, in all tools."""
import http.server
import json
import shutil
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from mmlowformer import engine

from ..helpers import (
    ROOT,
    TINY_CLASSIFIER,
    TINY_DETECTOR,
    TINY_SEGMENTOR,
    run_tool,
)

CONFIG = TINY_DETECTOR + """
train_cfg = dict(max_epochs=1, val_interval=1)
env_cfg = dict(dist_cfg=dict(backend='gloo'))
"""
IMAGE = 'train2017/000000.jpg'
ANNOTATIONS = 'annotations/instances_train2017.json'


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves files, but of the one called short.pth only a half."""

    def do_GET(self):
        if not self.path.endswith('short.pth'):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header('Content-Length', '100000')
        self.end_headers()
        self.wfile.write(b'x' * 50000)

    def log_message(self, *_):
        pass


@pytest.fixture(scope='module')
def server(folder):
    with http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0),
            lambda *args: Server(*args, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture(scope='module')
def folder(tmp_path_factory, shapes):
    """A folder with a config, its data and a checkpoint of a training."""
    folder = tmp_path_factory.mktemp('broken')
    shutil.copytree(shapes / 'coco', folder / 'data')
    for name in TASKS:
        shutil.copytree(shapes / name, folder / name)
    (folder / 'tiny.py').write_text(CONFIG + f"""
data_root = '{folder}/data/'
train_dataloader.update(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
""")
    result = run_tool('train.py', 'tiny.py', '--work-dir', 'trained',
                      cwd=folder)
    assert result.returncode == 0, result.stdout
    shutil.copy(folder / 'trained' / 'epoch_1.pth', folder / 'good.pth')
    return folder


# What is written before a tool runs. All take a folder.


def config(text):
    """A config that builds upon the good one."""
    def write(folder, good):
        base = f"_base_ = {str(good / 'tiny.py')!r}\n"
        content = text.encode() if isinstance(text, str) else text
        (folder / 'config.py').write_bytes(base.encode() + content)
    return write


class Attribute:
    """What torch refuses in its own words, with the advice to let it run."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def checkpoint(change):
    """The good checkpoint after a change, or what a change returns."""
    def write(folder, good):
        content = torch.load(good / 'good.pth')
        returned = change(content)
        torch.save(content if returned is None else returned,
                   folder / 'bad.pth')
    return write


def without(*path):
    """What leaves an entry out."""
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]
    return change


def data(change):
    """The data after a change."""
    def write(folder, good):
        shutil.copytree(good / 'data', folder / 'data')
        change(folder / 'data')
    return write


def annotations(change):
    """The data after a change of the training's annotations."""
    def write(root):
        content = json.loads((root / ANNOTATIONS).read_text())
        returned = change(content)
        (root / ANNOTATIONS).write_text(
            json.dumps(content if returned is None else returned))
    return data(write)


def image(content, name=IMAGE):
    """The data with another image, of bytes or an array."""
    def write(root):
        if isinstance(content, bytes):
            (root / name).write_bytes(content)
        else:
            cv2.imwrite(str(root / name), content)
    return data(write)


def file(name, content=b''):
    """A file of some bytes."""
    return lambda folder, good: (folder / name).write_bytes(content)


# On the command line: {good} is the folder with what is intact, {tmp} the one
# of this case, {server} a URL of the first.
ON = ('--cfg-options', )
BAD = (*ON, 'load_from={tmp}/bad.pth')
RESUME = ('--resume', '{tmp}/bad.pth')
GOOD = '{good}/good.pth'
DATA = (*ON, 'data_root={tmp}/data/')
INIT = 'model.backbone.init_cfg'
PRETRAINED = (*ON, f'{INIT}.type=Pretrained')

TRAINING = {
    # The config.
    'name': (config('a = b\n'), (), "line 2: NameError: name 'b' is not"),
    'import': (config('import nothing_there\na = nothing_there.b\n'), (),
               'config.py cannot be read'),
    'custom-import': (
        config("custom_imports = dict(imports=['nothing_there'])\n"), (),
        "No module named 'nothing_there'"),
    'encoding': (config('a = "ä"\n'.encode('latin-1')), (),
                 'UnicodeDecodeError'),
    'syntax': (config('a = (\n'), (), 'config.py cannot be read'),
    'scope': (config("default_scope = 'mmnothing'\n"), (),
              'mmnothing, which is not installed'),
    'scope-number': (config('default_scope = 5\n'), (),
                     'default_scope has to be a text'),
    'scope-dots': (config("default_scope = 'no.thing'\n"), (),
                   'no.thing, which is not installed'),
    'data-root-number': (config('data_root = 5\n'), (),
                         'data_root has to be a folder, not 5'),
    'dataset-text': (config("train_dataloader = dict(dataset='x')\n"), (),
                     'x'),
    'hooks-number': (config('custom_hooks = 5\n'), (),
                     'custom_hooks has to be a list, not 5'),
    'hook-number': (config('custom_hooks = [5]\n'), (), 'hook'),
    'hook-type': (config("custom_hooks = [dict(type='EMAHok')]\n"), (),
                  'Did you mean EMAHook?'),
    'hook-priority': (
        config("custom_hooks = [dict(type='EMAHook', priority='x')]\n"), (),
        'the config cannot be used: KeyError: X'),
    'schedulers-number': (config('param_scheduler = 5\n'), (), 'scheduler'),
    'visualizer': (config("visualizer = dict(type='Nothing')\n"), (),
                   'visualizer'),
    'evaluator-number': (config('val_evaluator = 5\n'), (), 'evaluator'),
    'sampler': (config("train_dataloader = dict(sampler=dict(type='X'))\n"),
                (), 'train_dataloader.sampler'),
    'collate': (config("train_dataloader = dict(collate_fn=dict(type='X'))\n"
                       ), (), 'the config cannot be used'),
    'deleted': (config('model = None\n'), (), 'has no model'),
    'no-optimizer': (config('optim_wrapper = None\n'), (),
                     'no optim_wrapper, which it needs to train'),
    'no-evaluator': (config('val_evaluator = None\n'), (),
                     'no val_evaluator, which it needs to validate'),
    'model-type': (config('model = dict(type="RetinaNett")\n'), (),
                   'Did you mean RetinaNet?'),
    'no-type': (config('model = dict(neck=dict(_delete_=True, a=1))\n'), (),
                'model.neck cannot be built: it has no type'),
    # Options.
    'no-pair': (None, (*ON, 'lr'), 2),
    'brackets': (None, (*ON, 'model.backbone.out_indices=[1,2'), 2),
    'lr-fast': (None, (*ON, 'optim_wrapper.optimizer.lr=fast'),
                "optimizer.lr has to be a number, at least 0, not 'fast'"),
    'lr-nan': (None, (*ON, 'optim_wrapper.optimizer.lr=nan'),
               'optimizer.lr has to be a number'),
    'batch-0': (None, (*ON, 'train_dataloader.batch_size=0'),
                'train_dataloader.batch_size has to be an integer, at least'),
    'batch-half': (None, (*ON, 'train_dataloader.batch_size=1.5'),
                   'batch_size has to be an integer'),
    'epochs': (None, (*ON, 'train_cfg.max_epochs=many'),
               "train_cfg.max_epochs has to be an integer, at least 1, not"),
    'workers': (None, (*ON, 'train_dataloader.num_workers=-1'),
                'train_dataloader.num_workers has to be an integer'),
    'seed': (None, ('--seed', '-1'), 'randomness.seed has to be an integer'),
    'loader-is-text': (None, (*ON, 'train_dataloader=x'),
                       "train_dataloader has to be a dict, not 'x'"),
    'optimizer': (None, (*ON, 'optim_wrapper.optimizer.type=AdmW'),
                  'Did you mean AdamW?'),
    'optimizer-option': (None, (*ON, 'optim_wrapper.optimizer.weigt_decay=0'),
                         'Did you mean weight_decay?'),
    'accumulation': (None, (*ON, 'optim_wrapper.accumulative_count=2'),
                     'Did you mean accumulative_counts?'),
    'top': (None, (*ON, 'optim_wraper.optimizer.lr=1'),
            'Did you mean optim_wrapper?'),
    'hook': (None, (*ON, 'default_hooks.checkpont.interval=1'),
             'Did you mean default_hooks.checkpoint?'),
    'hook-option': (None, (*ON, 'default_hooks.checkpoint.intervall=1'),
                    'Did you mean interval?'),
    'loop-option': (None, (*ON, 'train_cfg.max_epoch=1'),
                    'train_cfg (EpochBasedTrainLoop) cannot be built'),
    'loader-option': (None, (*ON, 'train_dataloader.batch_sise=4'),
                      'Did you mean train_dataloader.batch_size?'),
    'backbone-option': (None, (*ON, 'model.backbone.frozen_stage=1'),
                        'model.backbone (mmlowformer.LowFormer) cannot be '
                        'built: '),
    'model-option': (None, (*ON, 'model.bakbone.arch=b1'),
                     'Did you mean backbone?'),
    'dataset-option': (None, (*ON, 'train_dataloader.dataset.anno_file=x'),
                       'Did you mean ann_file?'),
    'transform-option': (
        None, (*ON, 'train_dataloader.dataset.pipeline.2.scales=(8,8)'),
        'Did you mean scale?'),
    'index': (None, (*ON, 'train_pipeline.9.scale=(8,8)'),
              'train_pipeline is a list of 5, counted from 0'),
    'variable': (None, (*ON, 'max_epochs=3'), 'value of its variable'),
    'arch': (None, (*ON, 'model.backbone.arch=b9'),
             "model.backbone: LowFormer has no arch 'b9'"),
    'scheduler': (None, (*ON, 'param_scheduler.0.type=LinearLr'),
                  'Did you mean LinearLR?'),
    'scheduler-value': (None, (*ON, 'param_scheduler.0.start_factor=5'),
                        'param_scheduler.0 (LinearLR) cannot be built'),
    'neck': (None, (*ON, 'model.backbone.out_indices=(2,3)'),
             'the backbone outputs 2 feature maps of 16, 32'),
    'neck-channels': (None, (*ON, 'model.neck.in_channels=[8,16,16,64]'),
                      'set model.neck.in_channels=[8,16,16,32]'),
    'neck-levels': (None, (*ON, 'model.neck.num_outs=1'),
                    'model.neck (FPN) cannot be built'),
    'metric': (None, (*ON, 'val_evaluator.metric=mAP'),
               'val_evaluator (CocoMetric) cannot be built'),
    'evaluator-file': (None, (*ON, 'val_evaluator.ann_file=none.json'),
                       'none.json'),
    # Folders.
    'work-dir-is-file': (file('run'), (), 'run is a file'),
    'work-dir-below-file': (file('x'), ('--work-dir', '{tmp}/x/y'),
                            'x is a file'),
    'work-dir-in-proc': (None, ('--work-dir', '/proc/1/x'),
                         'work dir /proc/1/x cannot be written'),
    'no-data': (None, (*ON, 'data_root={tmp}/none'), 'data not found'),
    # Weights.
    'refused': (None, (*ON, 'load_from=http://127.0.0.1:9/x.pth'),
                'x.pth could not be fetched: Connection refused'),
    '404': (None, (*ON, 'load_from={server}/none.pth'),
            'none.pth could not be fetched: 404'),
    'short': (None, (*ON, 'load_from={server}/short.pth'),
              'the connection ended after 50000 of 100000 bytes'),
    'no-checkpoint-there': (None, (*ON, 'load_from={server}/tiny.py'),
                            'It is a copy of http'),
    'host': (None, (*ON, 'load_from=http://nothing.invalid/x.pth'),
             'x.pth could not be fetched'),
    'port': (None, (*ON, 'load_from=http://127.0.0.1:x/x.pth'),
             'x.pth could not be fetched'),
    'scheme': (None, (*ON, 'load_from=s4://bucket/x.pth'),
               'checkpoint s4://bucket/x.pth cannot be loaded'),
    'open-mmlab': (None, (*ON, 'load_from=open-mmlab://nothing'),
                   'checkpoint open-mmlab://nothing cannot be loaded'),
    'file-url': (None, (*ON, 'load_from=file:///none.pth'),
                 'checkpoint not found: /none.pth'),
    'file-two-slashes': (None, (*ON, 'load_from=file://none.pth'),
                         'three slashes'),
    'init-404': (None, (*PRETRAINED, f'{INIT}.checkpoint={{server}}/a.pth'),
                 'a.pth could not be fetched: 404'),
    'load-number': (None, (*ON, 'load_from=5'), 'load_from has to be a text'),
    'init-nothing': (None, PRETRAINED, f'{INIT} has the type Pretrained, but'),
    'init-prefix': (
        None, (*PRETRAINED, f'{INIT}.checkpoint={{good}}/good.pth',
               f'{INIT}.prefix=encoder'),
        "encoder', but no tensor"),
    'init-misfit': (
        None, (*PRETRAINED, f'{INIT}.checkpoint={{good}}/good.pth',
               f'{INIT}.prefix=neck'),
        'the config cannot be used: LowFormer'),
    'init-type': (None, (*ON, f'{INIT}.type=Pretraind'),
                  'Did you mean Pretrained?'),
    'key-number': (checkpoint(lambda c: {1: torch.ones(1)}), BAD,
                   'the names of tensors have to be texts'),
    'key-number-inside': (
        checkpoint(lambda c: c['state_dict'].update({1: torch.ones(1)})), BAD,
        'the names of tensors have to be texts'),
    'empty-checkpoint': (file('bad.pth'), BAD, 'bad.pth cannot be read'),
    'list-checkpoint': (checkpoint(lambda c: [1]), BAD, 'holds no state dict'),
    'code': (checkpoint(lambda c: c.update(a=print)), BAD,
             'bad.pth is refused: reading it would run code'),
    'code-without-a-name': (
        checkpoint(lambda c: c.update(a=Attribute())), BAD,
        "run code (the file asks for the attribute '__init__' of"),
    # Going on.
    'meta-number': (checkpoint(lambda c: c.update(meta=5)), RESUME,
                    'meta is a int, not a dict'),
    'meta-empty': (checkpoint(lambda c: c.update(meta={})), RESUME,
                   'meta.epoch is missing'),
    'hub-text': (checkpoint(lambda c: c.update(message_hub='x')), RESUME,
                 'message_hub is a str, not a dict'),
    'hub-part': (checkpoint(without('message_hub', 'log_scalars')),
                 RESUME, 'message_hub.log_scalars is missing'),
    'optimizer-empty': (checkpoint(lambda c: c.update(optimizer={})), RESUME,
                        'optimizer.state is missing'),
    'optimizer-groups': (
        checkpoint(lambda c: c['optimizer'].update(param_groups=[])), RESUME,
        'training cannot resume from checkpoint'),
    'schedulers': (checkpoint(lambda c: c.update(param_schedulers=5)), RESUME,
                   'param_schedulers is no list'),
    'seed-text': (checkpoint(lambda c: c['meta'].update(seed='x')), RESUME,
                  'training cannot resume from checkpoint'),
    'resume-url': (None, ('--resume', '{server}/good.pth'),
                   '--resume takes a file'),
    # Data.
    'image-empty': (image(b''), DATA, '1 x image that cannot be read'),
    'image-garbage': (image(b'x' * 100), DATA,
                      f'{IMAGE} cannot be decoded'),
    'image-truncated': (image(b'\xff\xd8\xff\xe0' + b'0' * 10), DATA,
                        f'{IMAGE} cannot be decoded'),
    'image-of-another-size': (image(np.zeros((1, 4000, 3), np.uint8)), DATA,
                              '64x64, the file has 4000x1'),
    'image-missing': (data(lambda root: (root / IMAGE).unlink()), DATA,
                      '1 x image that is not in its folder'),
    'images-are-file': (
        data(lambda root: (shutil.rmtree(root / 'train2017'),
                           (root / 'train2017').write_bytes(b''))),
        DATA, 'is a file, it must be a folder'),
    'annotations-empty': (
        data(lambda root: (root / ANNOTATIONS).write_bytes(b'')), DATA,
        'is not a COCO annotation file'),
    'annotations-folder': (
        data(lambda root: ((root / ANNOTATIONS).unlink(),
                           (root / ANNOTATIONS).mkdir())), DATA,
        'is not a regular file'),
    'annotations-list': (annotations(lambda content: [1]), DATA,
                         'is not a COCO annotation file'),
    'annotations-no-box': (
        annotations(without('annotations', 0, 'bbox')),
        DATA, '1 x box that is not four numbers'),
    'annotations-no-image': (
        annotations(without('annotations', 0, 'image_id')),
        DATA, '1 x annotation of an image that is not in the'),
    'classes-number': (
        None, (*ON, 'train_dataloader.dataset.metainfo.classes=5'),
        'metainfo.classes must be a tuple of names, not 5'),
    'dataset-type': (None, (*ON, 'train_dataloader.dataset.type=CocoDatset'),
                     'Did you mean CocoDataset?'),
}


@pytest.fixture
def broken(folder, tmp_path, server, monkeypatch, safe_loading):
    """Runs a tool on what is broken, which must not succeed."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))

    def run(tool, make, arguments):
        if make is not None:
            make(tmp_path, folder)
        result = run_tool(tool, *(str(argument).format(
            tmp=tmp_path, good=folder, server=server)
            for argument in arguments), cwd=tmp_path)
        assert result.returncode, 'nothing was found wrong'
        return result

    return run


def config_of(make):
    own = make is not None and make.__qualname__.startswith('config.')
    return '{tmp}/config.py' if own else '{good}/tiny.py'


def one_line(result, message):
    if isinstance(message, int):
        assert result.returncode == message
        return
    print(result.stderr)
    assert ': error: ' in result.stderr
    assert message in result.stderr
    assert 'weights_only' not in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(('make', 'arguments', 'message'), TRAINING.values(),
                         ids=TRAINING.keys())
def test_training(broken, make, arguments, message):
    one_line(broken('train.py', make, [
        config_of(make), '--work-dir', '{tmp}/run', *arguments]), message)


VAL_IMAGE = 'val2017/000000.jpg'
TESTING = {
    'url': (None, ('http://127.0.0.1:9/x.pth', ), 'Connection refused'),
    '404': (None, ('{server}/none.pth', ), 'could not be fetched: 404'),
    'file-url': (None, ('file:///none.pth', ), 'not found: /none.pth'),
    'folder': (None, ('{good}', ), 'holds neither a checkpoint'),
    'keys': (checkpoint(lambda c: {1: torch.ones(1)}), ('{tmp}/bad.pth', ),
             'the names of tensors have to be texts'),
    'out-is-folder': (
        lambda folder, good: (folder / 'm.json').mkdir(),
        (GOOD, '--out', '{tmp}/m.json'), 'm.json is a folder'),
    'out-below-file': (file('x'), (GOOD, '--out', '{tmp}/x/m.json'),
                       'x is a file'),
    'out-is-there': (file('m.json'), (GOOD, '--out', '{tmp}/m.json'),
                     'm.json exists already'),
    'show-dir-is-full': (
        lambda tmp, _: shutil.copytree(ROOT / 'requirements', tmp / 'full'),
        (GOOD, '--show-dir', '{tmp}/full'), 'full exists already and is'),
    'show-dir-is-file': (file('x'), (GOOD, '--show-dir', '{tmp}/x'),
                         '--show-dir'),
    'no-loop': (config('test_cfg = None\n'), (GOOD, ), 'has no test_cfg'),
    'no-data': (config('test_dataloader = None\n'), (GOOD, ),
                'has no test_dataloader'),
    'batch': (None, (GOOD, *ON, 'test_dataloader.batch_size=-1'),
              'test_dataloader.batch_size has to be an integer'),
    'tta': (config('tta_model = None\n'), (GOOD, '--tta'), '--tta needs'),
    'tta-type': (None, (GOOD, '--tta', *ON, 'tta_model.type=DetTTA'),
                 'Did you mean DetTTAModel?'),
    'image': (image(b'x', VAL_IMAGE), (GOOD, *DATA),
              f'{VAL_IMAGE} cannot be decoded'),
    'neck': (None, (GOOD, *ON, 'model.backbone.out_indices=(1,2,3)'),
             'outputs 3 feature maps of 16, 16, 32'),
}


@pytest.mark.parametrize(('make', 'arguments', 'message'), TESTING.values(),
                         ids=TESTING.keys())
def test_testing(broken, make, arguments, message):
    one_line(broken('test.py', make, [
        config_of(make), *arguments, '--work-dir', '{tmp}/run']), message)


# The other two tasks, by the folder of their data.
TASKS = dict(ade=TINY_SEGMENTOR, folders=TINY_CLASSIFIER)


def task(name, change):
    """A config and data of another task, after a change."""
    def write(folder, good):
        (folder / 'config.py').write_text(TASKS[name])
        shutil.copytree(good / name, folder / 'data')
        change(folder / 'data')
    return write


def overwrite(pattern, content=b''):
    """Write into the first file whose name is like that."""
    def change(root):
        sorted(root.glob(pattern))[0].write_bytes(content)
    return change


IMAGES = 'images/training/*.jpg'
MASKS = 'annotations/training/*.png'
DATA_OF_TASKS = {
    'empty-image': ('ade', overwrite(IMAGES),
                    '000000.jpg cannot be read: it is empty (0 bytes)'),
    'empty-mask': ('ade', overwrite(MASKS),
                   '000000.png cannot be read: it is empty (0 bytes)'),
    'mask-is-text': ('ade', overwrite(MASKS, b'text'),
                     '000000.png cannot be read: damaged or not an image'),
    'image-is-text': ('ade', overwrite(IMAGES, b'text'),
                      '000000.jpg cannot be read: damaged or not an image'),
    'no-mask': ('ade', lambda root: sorted(root.glob(MASKS))[0].unlink(),
                'mask not found'),
    'no-images': ('ade', lambda root: shutil.rmtree(root / 'images'),
                  'data not found'),
    'empty-image-in-folder': ('folders', overwrite('train/*/*.jpg'),
                              'jpg is empty (0 bytes)'),
    'text-in-folder': ('folders', overwrite('train/*/*.jpg', b'text'),
                       'jpg cannot be decoded'),
    'no-folders': ('folders', lambda root: (shutil.rmtree(root / 'train'),
                                            (root / 'train').mkdir()),
                   'holds no folders'),
    'empty-folders': ('folders', lambda root: [
        path.unlink() for path in root.glob('train/*/*')],
        'Found 0 files in subfolders'),
    'train-is-file': ('folders', lambda root: (
        shutil.rmtree(root / 'train'), (root / 'train').write_bytes(b'')),
        'is a file, it must be a folder'),
}


@pytest.mark.parametrize(('name', 'change', 'message'),
                         DATA_OF_TASKS.values(), ids=DATA_OF_TASKS.keys())
def test_data_of_other_tasks(broken, name, change, message):
    one_line(broken('train.py', task(name, change), [
        '{tmp}/config.py', '--work-dir', '{tmp}/run', *DATA]), message)


OTHERS = {
    'convert-nothing': ('convert_checkpoint.py', None, (
        '{tmp}/none.pth', '{tmp}/x.pth'), 'not found: '),
    'convert-url': ('convert_checkpoint.py', None, (
        '{server}/none.pth', '{tmp}/x.pth'), 'could not be fetched: 404'),
    'convert-keys': ('convert_checkpoint.py', checkpoint(
        lambda c: {1: torch.ones(1)}), ('{tmp}/bad.pth', '{tmp}/x.pth'),
        'the names of tensors have to be texts'),
    'convert-other': ('convert_checkpoint.py', None, (
        GOOD, '{tmp}/x.pth'), 'error'),
    'convert-to-file': ('convert_checkpoint.py', file('x'), (
        GOOD, '{tmp}/x/y.pth'), 'error'),
    'convert-arch': ('convert_checkpoint.py', None, (
        GOOD, '{tmp}/x.pth', '--arch', 'b9'), "no arch 'b9'"),
    'precision-url': ('precision.py', None, (
        '{good}/tiny.py', 'http://127.0.0.1:9/x.pth'), 'Connection refused'),
    'precision-image': ('precision.py', image(b'x', VAL_IMAGE), (
        '{good}/tiny.py', GOOD, '--work-dir', '{tmp}/run', *DATA),
        f'{VAL_IMAGE} cannot be decoded'),
    'benchmark-name': ('benchmark.py', None, ('lowformer_b9', ), 'b9'),
    'benchmark-config': ('benchmark.py', config('a = b\n'), (
        '{tmp}/config.py', ), "name 'b' is not defined"),
    'benchmark-compare': ('benchmark.py', file('a.json'), (
        '--compare', '{tmp}/a.json', '{tmp}/a.json'), 'a.json'),
    'benchmark-callable': ('benchmark.py', None, ('nothing_there:build', ),
                           'nothing_there'),
    'curves-nothing': ('analyze_log.py', None, ('{tmp}', ), 'error'),
    'curves-file': ('analyze_log.py', file('x'), ('{tmp}/x', ), 'error'),
    'shapes-file': ('make_shapes.py', file('x'), ('{tmp}/x', ), 'error'),
    'shapes-size': ('make_shapes.py', None, ('{tmp}/x', '--size', '0'),
                    'error'),
    'shapes-count': ('make_shapes.py', None, ('{tmp}/x', '--train', '-1'),
                     'error'),
    'shapes-seed': ('make_shapes.py', None, ('{tmp}/x', '--seed', '-1'),
                    'error'),
}


@pytest.mark.parametrize(('tool', 'make', 'arguments', 'message'),
                         OTHERS.values(), ids=OTHERS.keys())
def test_other_tools(broken, tool, make, arguments, message):
    one_line(broken(tool, make, arguments), message)


def test_enough():
    assert sum(map(len, (TRAINING, TESTING, OTHERS, DATA_OF_TASKS))) >= 60


def test_urls_that_work(folder, server, tmp_path, monkeypatch, log):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    good = str(folder / 'good.pth')
    cfg = Config(dict(load_from=f'{server}/good.pth', model=dict(
        init_cfg=[dict(type='Pretrained', checkpoint=f'file://{good}')],
        neck=dict(init_cfg=dict(type='Pretrained', prefix='neck.',
                                checkpoint=f'{server}/good.pth')))))
    engine.fetch_weights(cfg)
    cached, = (tmp_path / 'hub' / 'checkpoints').rglob('*.pth')
    assert cfg.load_from == str(cached)
    assert cfg.model.init_cfg[0].checkpoint == good
    assert cfg.model.neck.init_cfg.checkpoint == str(cached)
    assert cached.read_bytes() == (folder / 'good.pth').read_bytes()
    assert list(cached.parent.iterdir()) == [cached]
    assert f'good.pth: fetched before, taken from {cached}' in log.text


HOOK = """
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module(force=True)
class HookWithABug(Hook):
    def before_train_iter(self, *_, **__):
        raise KeyError('slip')
"""


def test_bug_keeps_its_traceback(broken, tmp_path, monkeypatch):
    (tmp_path / 'hook_with_a_bug.py').write_text(HOOK)
    monkeypatch.syspath_prepend(tmp_path)
    make = config("custom_imports = dict(imports=['hook_with_a_bug'])\n"
                  "custom_hooks = [dict(type='HookWithABug')]\n")
    with pytest.raises(KeyError, match='slip'):
        broken('train.py', make, [
            '{tmp}/config.py', '--work-dir', '{tmp}/run'])


def test_debug(broken):
    result = broken('train.py', None, [
        '{good}/tiny.py', '--debug', '--work-dir', '{tmp}/run', *ON,
        'model.bakbone.arch=b1'])
    one_line(result, 'Did you mean backbone?')
    assert "TypeError: RetinaNet.__init__() got" in result.stdout


AS_A_PROGRAM = """
import runpy, sys
del sys.argv[0]
sys.path.insert(0, {folder!r})
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_as_a_program(folder, run_forked):
    """What tests above see within a process, from outside."""
    result = run_forked(
        AS_A_PROGRAM.format(folder=str(ROOT / 'tools')),
        *map(str, (ROOT / 'tools/train.py', folder / 'tiny.py', *ON,
                   'model.bakbone.arch=b1')))
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr
    assert result.stderr.splitlines()[-1].startswith('train.py: error: model')


def test_two_trainings_at_once(broken, folder, tmp_path):
    arguments = [folder / 'tiny.py', '--work-dir', tmp_path / 'run']
    with subprocess.Popen(
            [sys.executable, ROOT / 'tools' / 'train.py', *arguments, *ON,
             'train_cfg.max_epochs=1000'], stdout=subprocess.DEVNULL) as first:
        try:
            while not (tmp_path / 'run' / 'epoch_1.pth').exists():
                assert first.poll() is None
                time.sleep(0.1)
            for more in ((), ('--resume', )):
                one_line(broken('train.py', None, [*arguments, *more]),
                         f'another training is running in {tmp_path}/run '
                         f'(process {first.pid} on ')
        finally:
            first.kill()
    # What is killed leaves no lock, and can be gone on with.
    assert run_tool('train.py', *arguments, '--resume',
                    cwd=tmp_path).returncode == 0
