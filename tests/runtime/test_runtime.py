"""Exported models in an environment without torch, mmcv and mmengine."""
import json
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import nms

from mmlowformer import Predictor, runtime
from mmlowformer.errors import UserError
from mmlowformer.export.preprocessing import prepare_steps
from mmlowformer.predict.pipeline import Pipeline
from mmlowformer.runtime import ExportedPredictor, box_decoding
from mmlowformer.runtime.__main__ import main
from mmlowformer.runtime.postprocess import resize_maps
from mmlowformer.runtime.preprocess import prepare
from mmlowformer.utils.images import read

from ..helpers import ROOT

# Imports nothing but itself, numpy, OpenCV, Pillow and ONNX Runtime.
ALONE = """
import json, sys

from importlib.machinery import PathFinder

ALLOWED = {'numpy', 'cv2', 'PIL', 'onnxruntime', 'mmlowformer'}
KNOWN = set(sys.stdlib_module_names) | ALLOWED

class Only(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.split('.')[0]
        if top in KNOWN or top.startswith('_'):
            return super().find_spec(name, path, target)

sys.meta_path[:] = [*sys.meta_path[:2], Only]
from mmlowformer.runtime import ExportedPredictor
for name in ('torch', 'mmcv', 'mmengine', 'mmdet', 'torchvision'):
    assert name not in sys.modules, name
found = ExportedPredictor(sys.argv[1])(sys.argv[2:])
print(json.dumps([one.json(masks=False) for one in found]))
assert found[0].draw().size
assert 'torch' not in sys.modules
"""


@pytest.mark.parametrize('task', ['detection', 'classification',
                                  'segmentation'])
def test_predicts_without_torch(task, run_python, exported, tiny,
                                photos):
    result = run_python('-c', ALONE, exported(task), *photos,
                        env={'PYTHONPATH': str(ROOT)})
    assert result.returncode == 0, result.stderr
    expected = Predictor(tiny(task), score_thr=0., device='cpu')(photos)
    for ours, theirs in zip(json.loads(result.stdout), expected, strict=True):
        if task == 'segmentation':
            assert {one['category_name']: one['share'] for one in
                    ours} == pytest.approx(theirs.class_fractions, abs=1e-3)
            continue
        records = theirs.json()
        if task == 'classification':
            ours, records = (item[0]['predictions'] for item in
                             (ours, records))
        assert len(ours) == len(records)
        for one, other in zip(ours, records):
            assert one['score'] == pytest.approx(other['score'], abs=1e-4)


def test_names_say_what_they_need(run_python):
    result = run_python('-c', 'import sys; sys.modules["torch"] = None\n'
                        'import mmlowformer.runtime\n'
                        'mmlowformer.LowFormer')
    assert 'mmlowformer.LowFormer needs torch' in result.stderr
    assert 'mmlowformer.runtime works' in result.stderr


def test_the_old_name_of_the_predictor():
    with pytest.warns(FutureWarning,
                      match='runtime.Predictor is called ExportedPredictor'):
        assert runtime.Predictor is ExportedPredictor


def test_command_line(exported, photos, capsys, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_text('no image')
    assert main([str(exported('classification')), photos[0],
                 str(broken)]) == 1
    shown = capsys.readouterr()
    record, = map(json.loads, shown.out.splitlines())
    assert record['file_name'] == photos[0]
    found, = record['found']
    assert len(found['predictions']) == 4
    assert 'ONNX Runtime' in shown.err
    assert f'Skipped: image {broken} cannot be decoded' in shown.err


def test_threshold_of_boxes(exported, photos):
    folder = exported('detection')
    found = ExportedPredictor(folder)(photos[0])
    middle = float(np.median(found.scores))
    fewer = ExportedPredictor(folder, score_thr=middle)(photos[0])
    assert 0 < len(fewer.scores) < len(found.scores)
    assert fewer.scores.min() >= middle
    assert len(fewer.names) == len(fewer.boxes) == len(fewer.scores)


PIPELINES = dict(
    keep_ratio=('mmdet', [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(133, 80), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs')]),
    stretched=('mmdet', [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(133, 80)),
        dict(type='PackDetInputs', meta_keys=())]),
    factor=('mmseg', [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale_factor=0.7, keep_ratio=True),
        dict(type='PackSegInputs')]),
    multiple=('mmseg', [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(204, 51), keep_ratio=True),
        dict(type='ResizeToMultiple', size_divisor=32),
        dict(type='PackSegInputs')]),
    pillow=('mmpretrain', [
        dict(type='LoadImageFromFile', imdecode_backend='pillow'),
        dict(type='ResizeEdge', scale=75, edge='short', backend='pillow',
             interpolation='bicubic'),
        dict(type='CenterCrop', crop_size=64),
        dict(type='PackInputs')]))


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('size', [(90, 60), (60, 91), (77, 77)])
def test_images_are_prepared_as_by_the_host(name, size, tmp_path):
    """To the last bit, EXIF's turns included."""
    scope, transforms = PIPELINES[name]
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / 'image.jpg'
    Image.fromarray(cv2.GaussianBlur(noise, (5, 5), 0)).save(file, exif=exif)
    expected = Pipeline(transforms, scope)(str(file)).data['inputs'].numpy()
    first, *steps = prepare_steps(transforms)
    prepared = prepare(read(file, first['library']), steps)
    np.testing.assert_array_equal(prepared.image.transpose(2, 0, 1), expected)


def test_transforms_that_are_lost_are_named():
    transforms = PIPELINES['keep_ratio'][1]
    with pytest.raises(UserError, match='RandomFlip'):
        prepare_steps([*transforms, dict(type='RandomFlip')])
    with pytest.raises(UserError, match="color_type='grayscale'"):
        prepare_steps([dict(transforms[0], color_type='grayscale')])


def test_a_fixed_size_is_filled_up():
    image = np.full((40, 100, 3), 200, np.uint8)
    prepared = prepare(image, [], (64, 64), (1., 2., 3.))
    assert prepared.image.shape == (64, 64, 3)
    assert prepared.size == (26, 64)
    assert prepared.image[30, 30].tolist() == [1, 2, 3]
    assert prepared.scale == (0.64, 0.65)


@pytest.mark.parametrize('align_corners', [False, True])
def test_maps_are_resized_as_by_torch(align_corners):
    maps = np.random.default_rng(0).random((3, 11, 7), np.float32)
    for size in ((22, 14), (5, 30), (11, 7), (1, 1)):
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(maps)[None], size, mode='bilinear',
            align_corners=align_corners)[0]
        np.testing.assert_allclose(
            resize_maps(maps, size, align_corners), expected, atol=1e-6)


def test_suppression_is_that_of_torchvision():
    generator = np.random.default_rng(0)
    corner = generator.random((300, 2), np.float32) * 100
    boxes = np.concatenate((corner, corner + 20), 1)
    scores = generator.random(300, np.float32)
    labels = generator.integers(0, 3, 300)
    apart = boxes + labels[:, None].astype(np.float32) * 1000
    expected = nms(*map(torch.from_numpy, (apart, scores)), 0.5).numpy()
    np.testing.assert_array_equal(
        box_decoding.nms(boxes, scores, labels, 0.5, 1000), expected)
    np.testing.assert_array_equal(
        box_decoding.nms(boxes, scores, labels, 0.5, 5), expected[:5])


def spoil(folder, **changes):
    file = folder / 'model.json'
    file.write_text(json.dumps(dict(json.loads(file.read_text()), **changes)))


@pytest.mark.parametrize(('damage', 'words'), [
    (lambda folder: (folder / 'model.json').unlink(), 'no exported model'),
    (lambda folder: (folder / 'model.json').write_text('{'), 'is damaged'),
    (lambda folder: spoil(folder, schema=99), 'is of schema 99'),
    (lambda folder: spoil(folder, more=1), 'is damaged'),
    (lambda folder: (folder / 'model.onnx').unlink(), 'is missing'),
    (lambda folder: (folder / 'model.onnx').write_bytes(b'x'),
     'sha256'),
    (lambda folder: spoil(folder, format='tarot'), "format is 'tarot'")])
def test_damaged_folders(exported, tmp_path, damage, words):
    for file in exported('classification').iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(UserError, match=words):
        ExportedPredictor(tmp_path)


def test_the_folder_above_is_a_hint(exported):
    folder = exported('classification')
    with pytest.raises(UserError, match=f'did you mean {folder}'):
        ExportedPredictor(folder.parent)


def test_images_that_are_too_small(exported):
    with pytest.raises(UserError, match='at least 33 on each side'):
        ExportedPredictor(exported('segmentation'))(
            np.zeros((20, 90, 3), np.uint8))


def test_python_of_this_test_has_torch():
    """Or the tests above would prove nothing."""
    assert 'torch' in sys.modules
