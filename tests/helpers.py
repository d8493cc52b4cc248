"""Running tools, and tiny configs and checkpoints to run them on."""
import contextlib
import io
import os
import runpy
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.utils import ManagerMixin
from PIL import Image

from mmlowformer import get_config

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / 'tools'
TRAIN, TEST, PREDICT = (TOOLS / f'{name}.py' for name in
                        ('train', 'test', 'predict'))
# Whether this environment has the maintained forks of OpenMMLab.
FORKS = any(distribution.name == 'onedl-mmcv'
            for distribution in metadata.distributions())
# Below what an untrained head is sure of, for boxes to appear.
ANY_BOX = dict(model=dict(test_cfg=dict(score_thr=0., max_per_img=10)))
# A LowFormer that trains in milliseconds.
TINY = dict(
    widths=(8, 8, 16, 16, 32), depths=(0, 1, 1, 1, 1), stem_expand_ratio=1,
    downsample_expand_ratio=2, block=('norm_lowtention', 'norm_mlp'))
# Texts of configs for the data of the fixture "shapes".
TINY_DETECTOR = f"""
_base_ = {str(ROOT / 'configs' / 'retinanet_lowformer_b0_shapes.py')!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{TINY})),
    neck=dict(in_channels=[8, 16, 16, 32], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1,
                   norm_cfg=dict(num_groups=4)))
train_dataloader = dict(batch_size=2)
"""
TINY_SEGMENTOR = f"""
_base_ = {str(ROOT / 'configs' / 'fpn_lowformer_b0_shapes.py')!r}
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(arch=dict(_delete_=True, **{TINY})),
    neck=dict(in_channels=[8, 16, 16, 32], out_channels=16),
    decode_head=dict(in_channels=[16, 16, 16, 16], channels=16))
train_dataloader = dict(batch_size=2)
"""
TINY_CLASSIFIER = f"""
_base_ = {str(ROOT / 'configs' / 'lowformer_b0_shapes.py')!r}
model = dict(backbone=dict(arch=dict(_delete_=True, **{TINY})),
             head=dict(in_channels=32))
train_dataloader = dict(batch_size=2)
"""


def untrained(folder, name, **changes):
    """A checkpoint as a training leaves it, of a model that knows nothing."""
    cfg = get_config(name)
    cfg.merge_from_dict(changes)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    file = folder / f'{name}.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(
        cfg=cfg.pretty_text, dataset_meta=dict(classes=cfg.get('classes')))),
        file)
    return file


def fake_python(folder, script):
    """A program "python" that runs a script of the shell instead."""
    path = folder / 'python'
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path


def run_python(*arguments, cwd, **kwargs):
    """Run Python in a process of its own, which takes 5 s to import torch."""
    kwargs = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE) | kwargs
    return subprocess.run([sys.executable, *map(str, arguments)], text=True,
                          cwd=cwd, timeout=600, **kwargs)


def run_program(*arguments, cwd, **kwargs):
    """Run Python in a process of its own, both streams being stdout."""
    return run_python(*arguments, cwd=cwd, stderr=subprocess.STDOUT, **kwargs)


def run_tool(tool, *arguments, cwd):
    """Run a tool in this process, which has imported the libraries.

    The output and the exit status are those of a process of its own;
    ``stderr`` is the error's message alone. At least one test of each tool
    has such a process.
    """
    screen = io.TextIOWrapper(io.BytesIO(), encoding='utf-8', newline='',
                              write_through=True)
    status = None
    with (pytest.MonkeyPatch.context() as patch, restored_process(),
          contextlib.redirect_stdout(screen),
          contextlib.redirect_stderr(screen)):
        patch.chdir(cwd)
        patch.setattr(sys, 'argv', [str(TOOLS / tool), *map(str, arguments)])
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as end:
            status = end.code
    shown, error = screen.buffer.getvalue().decode(), ''
    if isinstance(status, str):
        shown, error, status = f'{shown}{status}\n', status, 1
    return subprocess.CompletedProcess(arguments, status or 0, shown, error)


@contextlib.contextmanager
def restored_process():
    """Afterwards, nothing is left of what a tool changes in its process."""
    environ = dict(os.environ)
    allowed = torch.serialization.get_safe_globals()
    forget_runs()
    try:
        with pytest.MonkeyPatch.context() as patch, restored_signals():
            patch.setattr(CheckpointLoader, '_schemes',
                          CheckpointLoader._schemes)
            patch.setattr(sys, 'path', [*sys.path])
            patch.setattr(Image, 'MAX_IMAGE_PIXELS', Image.MAX_IMAGE_PIXELS)
            yield
    finally:
        # Log files go with their test's folder.
        forget_runs()
        os.environ.clear()
        os.environ.update(environ)
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)


@contextlib.contextmanager
def restored_signals():
    """What ends a tool in this process must not end the next one."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    # nohup has it ignored.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def forget_runs(kind=ManagerMixin):
    """Drop loggers and the like of earlier runs in this process.

    MMEngine names them by the second, and a run of the same second would
    write into the folder of the one before.
    """
    for child in kind.__subclasses__():
        for instance in child._instance_dict.values():
            for handler in getattr(instance, 'handlers', ()):
                handler.close()
        child._instance_dict.clear()
        forget_runs(child)


def write_custom_data(folder, shapes):
    """Boxes, masks and class folders, where configs of custom data look."""
    shutil.copytree(shapes / 'ade/images/training', folder / 'images')
    shutil.copytree(shapes / 'ade/annotations/training', folder / 'masks')
    (folder / 'images/circle').mkdir()
    (folder / 'images/square').mkdir()
    (folder / 'masks/classes.txt').write_text('ground\ncircle\n')
    for name in ('train', 'val'):
        (folder / f'{name}.txt').write_text('000000.jpg\n' * 40)
        shutil.copy(shapes / 'coco/annotations/instances_train2017.json',
                    folder / f'{name}.json')
