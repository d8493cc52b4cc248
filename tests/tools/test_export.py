"""tools/export.py, as users run it, and the tools that take its folders."""
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mmlowformer.errors import UserError
from mmlowformer.runtime import ExportedPredictor

from ..helpers import PREDICT, ROOT

EXPORT = ROOT / 'tools/export.py'
TEST = ROOT / 'tools/test.py'
BENCHMARK = ROOT / 'tools/benchmark.py'


def in_the_data(shapes, tmp_path):
    """Where the config of the checkpoint finds its data."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/shapes').symlink_to(shapes)
    return tmp_path


@pytest.mark.slow
def test_a_verified_classifier(run_here, tiny, shapes, tmp_path):
    """With its metric."""
    folder = in_the_data(shapes, tmp_path)
    result = run_here(EXPORT, tiny('classification'), '--format', 'onnx',
                      '--trust-config', '--out', 'out', cwd=folder)
    assert result.returncode == 0, result.stdout
    shown = ' '.join(result.stdout.split())
    assert 'top-1: largest difference 0.0e+00' in shown
    assert re.search(r'Metric accuracy/top1 (\S+), exported \1 ', shown)
    assert 'ms an image, ONNX Runtime' in shown
    assert 'verified: out/onnx' in shown
    assert 'python -m mmlowformer.runtime out/onnx IMAGE' in shown
    assert (folder / 'out/onnx/comparison.png').is_file()
    description = json.loads((folder / 'out/onnx/model.json').read_text())
    assert description['classes'] == ['circle', 'square', 'star', 'triangle']
    assert description['input']['shape'] == ['batch', 3, 'height', 'width']
    assert description['verification']['verdict'] == 'verified'
    assert len(description['sha256']['checkpoint']) == 64


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_ended_while_it_is_verified(number, tiny, tmp_path):
    with subprocess.Popen(
            [sys.executable, EXPORT, tiny('classification'), '--format',
             'onnx', '--out', 'out'], cwd=tmp_path, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob('out/*/model.json')):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1]
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert 'not verified' in ' '.join(said.split())
        assert 'Traceback' not in said
    left, = (tmp_path / 'out').iterdir()
    assert left.name == 'onnx.unverified'
    with pytest.raises(UserError, match='did not pass its verification'):
        ExportedPredictor(left)


def test_what_is_there_stays(run_here, error_here, tiny,
                             tmp_path):
    (tmp_path / 'out/onnx').mkdir(parents=True)
    assert 'out/onnx exists already' in error_here(
        EXPORT, tiny('classification'), '--format', 'onnx', '--out', 'out',
        cwd=tmp_path)


@pytest.mark.parametrize(('task', 'options', 'words'), [
    ('classification', ['--format', 'onx'], 'Did you mean onnx?'),
    ('classification', ['--format', ','], 'name some of onnx'),
    ('classification', ['--format', 'pt2', '--quantize', '8'],
     '--quantize 8 is not for pt2, but for onnx, openvino, tflite'),
    ('classification', ['--format', 'onnx', '--score-thr', '0.5'],
     '--score-thr is for detectors'),
    ('classification', ['--format', 'onnx', '--max-dets', '0'],
     '--max-dets: has to be at least 1'),
    ('classification', ['--format', 'onnx', '--calibration', '.'],
     '--calibration is for --quantize 8'),
    ('detection', ['--format', 'onnx', '--batch', 'dynamic'], '--no-nms'),
    ('detection', ['--format', 'onnx', '--verify', 'nowhere'],
     'input not found: nowhere')])
def test_mistakes(error_here, tiny, tmp_path, task,
                  options, words):
    shown = error_here(EXPORT, tiny(task), *options, cwd=tmp_path)
    assert words in ' '.join(shown.split())
    assert not list(tmp_path.rglob('model.*'))


def test_tools_take_an_export(run_here, exported, tiny, shapes,
                              photos, tmp_path):
    """The same boxes, the same metric, and a time."""
    folder, checkpoint = exported('detection'), tiny('detection')
    found = []
    for model in (folder, checkpoint):
        result = run_here(PREDICT, model, photos[0], '--score-thr', 0,
                          '--out', f'out-{len(found)}', '--device', 'cpu',
                          cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        found.append(json.loads(
            (tmp_path / f'out-{len(found)}/predictions.json').read_text()))
    assert len(found[0]) == len(found[1]) == 10
    for ours, theirs in zip(*found):
        assert ours['category_name'] == theirs['category_name']
        assert ours['bbox'] == pytest.approx(theirs['bbox'], abs=1e-3)
        assert ours['score'] == pytest.approx(theirs['score'], abs=1e-5)
    result = run_here(
        TEST, 'retinanet_lowformer_b0_shapes', folder, '--out', 'm.json',
        '--cfg-options', f'data_root={shapes}/coco/', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'by ONNX Runtime' in result.stdout
    assert 'coco/bbox_mAP' in json.loads((tmp_path / 'm.json').read_text())
    result = run_here(
        BENCHMARK, folder, '--batch-size', 1, '--shape', 64, 64, '--min-time',
        0.1, '--repeats', 2, cwd=tmp_path)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(('arguments', 'words'), [
    ([TEST, 'fpn_lowformer_b0_shapes'], 'is a model of mmdet'),
    ([TEST, 'retinanet_lowformer_b0_shapes', '--deploy'],
     '--deploy is for checkpoints'),
    ([TEST, 'retinanet_lowformer_b0_shapes', '--tta'],
     '--tta is for checkpoints')])
def test_exports_where_they_do_not_fit(error_here, exported,
                                       tmp_path, arguments, words):
    tool, config, *options = arguments
    shown = error_here(tool, config, exported('detection'), *options,
                       cwd=tmp_path)
    assert words in ' '.join(shown.split())


def test_an_export_that_numbers_classes_otherwise(error_here, exported, shapes,
                                                  tmp_path):
    folder = shutil.copytree(exported('detection'), tmp_path / 'export')
    description = json.loads((folder / 'model.json').read_text())
    description['classes'] = description['classes'][::-1]
    (folder / 'model.json').write_text(json.dumps(description))
    shown = error_here(
        TEST, 'retinanet_lowformer_b0_shapes', folder, '--cfg-options',
        f'data_root={shapes}/coco/', cwd=tmp_path)
    assert 'circle is class 3 of' in ' '.join(shown.split())


def test_predicting_with_options_of_checkpoints(
        error_here, exported, photos, tmp_path):
    shown = error_here(PREDICT, exported('detection'), photos[0], '--deploy',
                       cwd=tmp_path)
    assert 'leave --deploy out' in ' '.join(shown.split())
