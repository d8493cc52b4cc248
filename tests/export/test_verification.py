"""What is wrong is not called verified: the verifier, put to the test."""
import json
import shutil

import numpy as np
import onnx
import pytest
import torch.nn.functional as F

from mmlowformer.errors import UserError
from mmlowformer.export import exporter as exporting
from mmlowformer.export import wrappers
from mmlowformer.export.comparison import (
    compare_boxes,
    compare_outputs,
)
from mmlowformer.export.verification import Verifier, sizes_for
from mmlowformer.predict.trained_model import load_model
from mmlowformer.runtime import ExportedPredictor
from mmlowformer.runtime.model_spec import sha256
from mmlowformer.utils.tensors import relative_error

from .exports import make_export, write_copies

MEAN = np.float32(123.675)


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the exported segmentor, to be damaged."""
    folder = exported('segmentation')
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    description = json.loads((tmp_path / 'model.json').read_text())
    (tmp_path / 'model.json').write_text(json.dumps(description))
    return tmp_path


def missed(folder, checkpoint, photos):
    file = folder / 'model.json'
    description = json.loads(file.read_text())
    description['sha256']['model.onnx'] = sha256(folder / 'model.onnx')
    file.write_text(json.dumps(description))
    rows = Verifier(folder, load_model(checkpoint), (64, 64)).rows(photos)
    return {row.check for row in rows if not row.passed}


def change(folder, choose, values):
    """Change the first constant that is chosen."""
    model = onnx.load(str(folder / 'model.onnx'))
    for constant in model.graph.initializer:
        array = onnx.numpy_helper.to_array(constant)
        if choose(array):
            constant.CopyFrom(onnx.numpy_helper.from_array(
                values(array.copy()), constant.name))
            break
    else:
        raise AssertionError('there is no such constant')
    onnx.save(model, str(folder / 'model.onnx'))


def test_as_it_is(copied, tiny, photos):
    assert not missed(copied, tiny('segmentation'), photos)


def test_a_wrong_mean(copied, tiny, photos):
    change(copied, lambda array: array.size == 3 and MEAN in array,
           lambda array: array + np.float32(0.1))
    assert 'logits' in missed(copied, tiny('segmentation'), photos)


def test_swapped_channels(copied, tiny, photos):
    file = copied / 'model.json'
    file.write_text(file.read_text().replace('"RGB"', '"BGR"'))
    assert 'logits' in missed(copied, tiny('segmentation'), photos)


def test_one_weight(copied, tiny, photos):
    def alter(array):
        array.flat[0] += 0.01
        return array

    change(copied, lambda array: array.shape[1:] == (3, 3, 3), alter)
    assert 'logits' in missed(copied, tiny('segmentation'), photos)


def test_another_resize(copied, tiny, photos):
    file = copied / 'model.json'
    description = json.loads(file.read_text())
    description['prepare'].append(dict(
        step='resize', library='opencv', interpolation='bilinear', width=96,
        height=96, keep_ratio=False))
    file.write_text(json.dumps(description))
    assert 'prepared images' in missed(copied, tiny('segmentation'), photos)


@pytest.mark.slow
def test_a_size_baked_in(monkeypatch, tiny, photos, tmp_path):
    """Right at the example's size, and wrong at all others, silently."""
    def bake_in(model):
        replace_upsamples(model)
        # Of the maps that belong to 64x64 pixels.
        model.decode_head.register_forward_hook(
            lambda head, inputs, maps: F.interpolate(maps, (16, 16)))

    replace_upsamples = wrappers.replace_upsamples
    monkeypatch.setattr(wrappers, 'replace_upsamples', bake_in)
    _, result = make_export(tiny('segmentation'), tmp_path / 'pt2', 'pt2',
                             images=photos)
    assert result.verdict == 'failed'
    wrong = {row.where for row in result.rows
             if row.check == 'logits' and not row.passed}
    right = {row.where for row in result.rows
             if row.check == 'logits' and row.passed}
    # An odd size may be padded to that of the example.
    assert right >= {'1 x 64x64', '3 x 64x64'}
    assert wrong >= {'1 x 64x96', '3 x 64x96'}
    assert result.reason.startswith('logits on ')
    assert (tmp_path / 'pt2/model.pt2.unverified').is_file()
    assert not (tmp_path / 'pt2/model.pt2').exists()
    verification = json.loads(
        (tmp_path / 'pt2/model.json').read_text())['verification']
    assert verification['verdict'] == 'failed'
    with pytest.raises(UserError, match='did not pass its verification'):
        ExportedPredictor(tmp_path / 'pt2')


def test_sizes():
    sizes = sizes_for((512, 512))
    assert sizes[0] == (512, 512)
    assert len(sizes) == 3
    assert all(side % 2 for side in sizes[2])


def boxes(**changes):
    return dict(dict(
        boxes=np.array([[0, 0, 9, 9], [5, 5, 7, 9]], np.float32),
        scores=np.array([0.9, 0.8], np.float32), labels=np.array([0, 1])),
        **changes)


def failing(ours, theirs):
    return {name for name, error, limit in compare_boxes(ours, theirs)
            if error > limit}


def test_boxes_are_compared_one_to_one():
    turned = {name: values[::-1] for name, values in boxes().items()}
    assert not failing(turned, boxes())
    assert failing(boxes(labels=np.array([0, 2])), boxes()) == {'labels'}
    one = {name: values[:1] for name, values in boxes().items()}
    assert failing(one, boxes()) == {'labels'}
    assert failing(boxes(boxes=boxes()['boxes'] + 0.01), boxes()) == {'boxes'}
    assert failing(boxes(scores=boxes()['scores'] - 0.01), boxes()) == {
        'scores'}
    none = {name: values[:0] for name, values in boxes().items()}
    assert not failing(none, none)


@pytest.mark.parametrize(('side', 'allowed'), [(100, 0.001), (1024, 0.004)])
def test_boxes_of_large_images(side, allowed):
    """As of maps, four times the error is allowed."""
    last = np.array([[0, 0, 9, 9], [5, 5, side, 9]], np.float32)
    for share, fails in ((0.8, set()), (1.2, {'boxes'})):
        moved = last - np.float32(share * allowed)
        assert failing(boxes(boxes=moved), boxes(boxes=last)) == fails


def test_what_is_no_number_is_no_match():
    ones = np.ones((2, 3), np.float32)
    assert relative_error(ones, ones) == 0
    assert relative_error(ones * np.nan, ones) == np.inf
    assert relative_error(ones[:1], ones) == np.inf
    (_, _, limit), = compare_outputs(dict(a=ones), dict(a=ones), (513, 64))
    assert limit == 2e-5


@pytest.mark.parametrize('end', [KeyboardInterrupt, OSError, None])
def test_without_a_verdict_there_is_nothing_to_use(
        end, monkeypatch, tiny, photos, exported, tmp_path):
    """SIGKILL would leave what exists while an export is verified."""
    write_copies(monkeypatch, exported('classification'))
    seen = []

    def look(exporter, folder, source):
        seen.append(folder.name)
        copied = shutil.copytree(folder, tmp_path / 'killed')
        with pytest.raises(UserError, match='did not pass its verification'):
            ExportedPredictor(copied)
        assert not (tmp_path / 'onnx').exists()
        # Who has written it may open it, to verify it.
        ExportedPredictor(folder)
        if end:
            raise end('No space left on device')
        return exporting.ExportResult(folder, 'failed')

    monkeypatch.setattr(exporting.Exporter, '_verify', look)
    if end:
        with pytest.raises((KeyboardInterrupt, UserError)):
            make_export(tiny('classification'), tmp_path / 'onnx',
                        images=photos)
        left = tmp_path / 'onnx.unverified'
        assert not (tmp_path / 'onnx').exists()
    else:
        make_export(tiny('classification'), tmp_path / 'onnx', images=photos)
        left = tmp_path / 'onnx'
    assert seen == ['onnx.unverified']
    assert sorted(file.name for file in left.iterdir()) == [
        'model.json', 'model.onnx.unverified']
    with pytest.raises(UserError, match='did not pass its verification'):
        ExportedPredictor(left)


def test_a_full_disk_leaves_nothing(monkeypatch, tiny, photos, exported,
                                    tmp_path):
    write_copies(monkeypatch, exported('classification'))

    def fail(*_):
        raise OSError('No space left on device')

    monkeypatch.setattr(exporting.Description, 'write', fail)
    with pytest.raises(UserError, match='No space left'):
        make_export(tiny('classification'), tmp_path / 'onnx', images=photos)
    assert not list(tmp_path.iterdir())
