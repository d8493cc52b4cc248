"""The tools on segmentation."""
import json

import cv2
import pytest

from ..helpers import TEST, TRAIN, run_tool

CONFIG = 'fpn_lowformer_b0_shapes'
SMALL = ['train_dataloader.batch_size=2', 'train_cfg.max_iters=3',
         'train_cfg.val_interval=3', 'default_hooks.checkpoint.interval=3',
         'default_hooks.logger.interval=1', 'param_scheduler.0.end=1',
         'param_scheduler.1.begin=1', 'param_scheduler.1.end=3',
         'model.data_preprocessor.size=(64,64)']


@pytest.fixture(scope='module')
def options(shapes):
    return ['--cfg-options', f'data_root={shapes}/ade/', *SMALL]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, options):
    folder = tmp_path_factory.mktemp('seg')
    result = run_tool(TRAIN, CONFIG, '--work-dir', 'run', '--seed', 1,
                      '--auto-scale-lr', *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    return folder / 'run' / 'iter_3.pth', result.stdout


def metrics_and_pictures(checkpoint, options, cwd, *arguments):
    result = run_tool(TEST, CONFIG, checkpoint, '--out', 'm.json',
                      '--show-dir', 'pictures', '--report', 'report',
                      *arguments, *options, cwd=cwd)
    assert result.returncode == 0, result.stdout
    pictures = sorted((cwd / 'pictures').iterdir())
    assert [path.name for path in pictures] == ['000000.jpg', '000001.jpg']
    return json.loads((cwd / 'm.json').read_text()), pictures


def test_train(trained):
    checkpoint, log = trained
    assert 'scope mmseg' in log
    # mmseg's own train.py has no --auto-scale-lr.
    assert 'learning rate 0.00025, in the config 0.001' in \
        ' '.join(log.split())
    assert 'Training  3/3' in log
    assert checkpoint.is_file()


def test_test(trained, options, tmp_path):
    checkpoint, log = trained
    metrics, pictures = metrics_and_pictures(checkpoint, options, tmp_path)
    assert f'mIoU {metrics["mIoU"]:.4g}' in log
    # The mask of the data set, that of the network, and where they differ,
    # each five times as large as the image, with a margin.
    assert cv2.imread(str(pictures[0])).shape == (404, 1086, 3)
    report = json.loads((tmp_path / 'report/report.json').read_text())
    ious = [row['IoU'] for row in report['classes'] if row['IoU'] is not None]
    assert 100 * sum(ious) / len(ious) == pytest.approx(metrics['mIoU'],
                                                        abs=6e-3)
    assert (tmp_path / 'report/confusion_matrix.png').is_file()
    wrong = [row['wrong_pixels'] for row in report['worst']]
    assert wrong == sorted(wrong, reverse=True)
    assert len(list((tmp_path / 'report/worst').iterdir())) == len(wrong) == 2


def test_deployed(trained, options, tmp_path):
    metrics, _ = metrics_and_pictures(trained[0], options, tmp_path,
                                      '--deploy')
    assert f'mIoU {metrics["mIoU"]:.4g}' in trained[1]


def test_augmented(trained, options, tmp_path):
    """As many pictures and metrics; other numbers than of one view."""
    metrics, _ = metrics_and_pictures(trained[0], options, tmp_path, '--tta')
    assert metrics.keys() >= {'mIoU', 'aAcc', 'mAcc'}
    assert f'mIoU {metrics["mIoU"]:.4g}' not in trained[1]


def test_missing_data(error_here, tmp_path):
    message = error_here(TRAIN, 'configs/fpn_lowformer_b2_ade20k.py',
                         cwd=tmp_path)
    assert f'{tmp_path}/data/ade/ADEChallengeData2016/images/training' in \
        message
    assert not list(tmp_path.iterdir())


def test_num_classes_is_checked(shapes, error_here, tmp_path):
    message = error_here(
        TRAIN, CONFIG, '--cfg-options', f'data_root={shapes}/ade/',
        'model.decode_head.num_classes=4', cwd=tmp_path)
    assert "the head's num_classes is 4, but the data set has 5" in message
