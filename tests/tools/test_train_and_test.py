"""The tools, run as users run them."""
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch

from mmlowformer import engine

from ..helpers import ROOT, TEST, TINY_DETECTOR, TRAIN, run_program

CONFIG = 'retinanet_lowformer_b0_shapes'
# The smallest schedule that goes through everything.
SMALL = [
    'train_pipeline.2.scale=(64,64)',
    'val_dataloader.batch_size=1', 'test_dataloader.batch_size=1',
    'train_cfg.max_epochs=2', 'train_cfg.val_interval=2',
    'default_hooks.logger.interval=1',
    # Hardly trained, the network is sure of nothing.
    'model.test_cfg.score_thr=0.0',
    'train_dataloader.dataset.pipeline.2.scale=(64,64)',
    'val_dataloader.dataset.pipeline.1.scale=(64,64)',
    'test_dataloader.dataset.pipeline.1.scale=(64,64)']


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp('config') / 'tiny.py'
    file.write_text(TINY_DETECTOR)
    return file


@pytest.fixture(scope='module')
def options(shapes):
    return ['--cfg-options', f'data_root={shapes}/coco/', *SMALL]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, config, options):
    """A work dir after training from another folder, and what was printed."""
    folder = tmp_path_factory.mktemp('train')
    result = run_program(TRAIN, config, '--work-dir', 'run', '--seed', 1,
                         *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    return folder / 'run', result.stdout


def report_of(work_dir, *arguments):
    return work_dir / f'report{len(arguments)}'


def metrics_of(work_dir, config, options, *arguments):
    out = work_dir / f'metrics{len(arguments)}.json'
    result = run_program(
        *(arguments or (TEST, )), config, work_dir / 'epoch_2.pth',
        '--work-dir', work_dir / 'test', '--out', out,
        '--report', report_of(work_dir, *arguments),
        *(['--launcher', 'pytorch'] if arguments else []), *options,
        cwd=work_dir)
    assert result.returncode == 0, result.stdout
    return json.loads(out.read_text()), result.stdout


def test_says_what_it_does(trained):
    _, output = trained
    assert 'Device ' in output
    assert 'scope mmdet' in output
    assert 'batch size 2 = 1 process x 2 images x 1 accum' in output
    assert 'chosen for a batch size of 8, not 2' in output
    assert 'Add --auto-scale-lr to make it 0.00025' in \
        output.replace('\n  ', ' ')
    assert 'LowFormer starts from scratch: 0/' in output
    assert 'bbox_mAP' in output


def test_writes_checkpoints(trained, config):
    work_dir, _ = trained
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint'} <= {
        file.name for file in work_dir.iterdir()}
    assert (work_dir / config.name).is_file()


@pytest.fixture(scope='module')
def tested(trained, config, options):
    """Metrics of one process, and what was printed."""
    return metrics_of(trained[0], config, options)


def test_testing_repeats_the_last_validation(trained, tested):
    work_dir, _ = trained
    log = next(work_dir.glob('2*/vis_data/scalars.json')).read_text()
    validated = [json.loads(line) for line in log.splitlines()
                 if 'coco/bbox_mAP' in line][-1]
    metrics, output = tested
    assert metrics['coco/bbox_mAP'] == validated['coco/bbox_mAP']
    assert 'coco/bbox_mAP ' in output


@pytest.mark.slow
def test_two_processes_give_the_same_metrics(
        trained, config, options, tested):
    work_dir, _ = trained
    launch = ('-m', 'torch.distributed.run', '--standalone',
              '--nproc-per-node', '2', TEST)
    assert metrics_of(work_dir, config, options, *launch)[0] == tested[0]
    one, two = (json.loads((folder / 'report.json').read_text()) for folder in
                (report_of(work_dir), report_of(work_dir, *launch)))
    assert one == two


def test_report(trained, tested):
    metrics, printed = tested
    folder = report_of(trained[0])
    report = json.loads((folder / 'report.json').read_text())
    averages = [row['AP50'] for row in report['classes']
                if row['AP50'] is not None]
    assert sum(averages) / len(averages) == pytest.approx(
        metrics['coco/bbox_mAP_50'], abs=6e-4)
    assert f'predict.py --score-thr {report["best_score_thr"]:g}' in printed
    assert f'Report: {folder}' in printed
    assert {file.name for file in folder.glob('*.png')} == {
        'errors.png', 'thresholds.png'}
    assert sorted(map(str, folder.glob('worst/*'))) == [
        str(folder / row['picture']) for row in report['worst']]
    assert report['worst']


def test_predictions_and_pictures(trained, config, options, run_here,
                                  tmp_path):
    work_dir, _ = trained
    result = run_here(TEST, config, work_dir / 'epoch_2.pth', '--out',
                      'predictions.pkl', '--show-dir', 'pictures', *options,
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    predictions = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    assert len(predictions) == 2
    assert 'bboxes' in predictions[0]['pred_instances']
    pictures = sorted(file.name for file in (tmp_path / 'pictures').iterdir())
    assert pictures == ['000000.jpg', '000001.jpg']
    assert 'Pictures: 2 in pictures' in result.stdout


def test_deployed(trained, tested, config, options, run_here, tmp_path):
    """The same metrics to four digits."""
    work_dir, _ = trained
    result = run_here(TEST, config, work_dir / 'epoch_2.pth', '--deploy',
                      '--out', 'metrics.json', *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics.keys() == tested[0].keys()
    for name, value in tested[0].items():
        assert metrics[name] == pytest.approx(value, abs=5e-5)


def test_augmented(trained, config, options, run_here, tmp_path):
    work_dir, _ = trained
    result = run_here(TEST, config, work_dir / 'epoch_2.pth', '--tta', '--out',
                      'metrics.json', *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'coco/bbox_mAP' in json.loads(
        (tmp_path / 'metrics.json').read_text())


@pytest.mark.slow
def test_two_processes_train(config, options, tmp_path):
    result = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_train.sh'), config, '2',
         '--work-dir', 'run', '--auto-scale-lr', *options,
         'train_dataloader.batch_size=1', 'train_cfg.max_epochs=1',
         'optim_wrapper.accumulative_counts=2'],
        cwd=tmp_path, text=True, timeout=600, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, PYTHON=sys.executable))
    assert result.returncode == 0, result.stdout
    assert 'batch size 4 = 2 processes x 1 image x 2 acc' in result.stdout
    assert 'learning rate 0.0005, in the config 0.001' in \
        ' '.join(result.stdout.split())
    # 4 images on 2 processes with 1 image each are 2 iterations.
    assert 'Epoch 1/1  2/2' in result.stdout
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_killed_and_resumed(trained, config, options, tmp_path):
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            [sys.executable, TRAIN, config, '--work-dir', 'run', '--seed',
             '1', *options], cwd=tmp_path, stdout=log,
            stderr=subprocess.STDOUT)
        saved = tmp_path / 'run' / 'last_checkpoint'
        while not saved.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()
    command = [TRAIN, config, '--work-dir', 'run', '--seed', 1]
    refused = run_program(*command, *options, cwd=tmp_path)
    assert refused.returncode == 1
    assert 'holds checkpoints of an earlier training (epoch_1.pth)' in \
        refused.stdout
    result = run_program(*command, '--resume', *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'resumed epoch: 1, iter: 2' in result.stdout
    resumed, whole = (
        engine.check_checkpoint(folder / 'epoch_2.pth')
        for folder in (tmp_path / 'run', trained[0]))
    assert resumed['meta']['iter'] == whole['meta']['iter'] == 4
    assert resumed['param_schedulers'] == whole['param_schedulers']
    losses = [content['message_hub']['log_scalars']['train/loss'].data[0]
              for content in (resumed, whole)]
    assert len(losses[0]) == 4
    # Until it was killed, it was the same training.
    assert losses[0][:2] == pytest.approx(losses[1][:2], rel=1e-4)


@pytest.mark.parametrize(('number', 'end'), [
    (signal.SIGINT, os.kill), (signal.SIGTERM, os.killpg)])
def test_interrupted(number, end, config, options, tmp_path):
    """Alone, or with its workers, as schedulers do it."""
    process = subprocess.Popen(
        [sys.executable, TRAIN, config, '--work-dir', 'run', *options,
         'train_cfg.max_epochs=50', 'train_dataloader.num_workers=2'],
        cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell's background jobs, this test among them, may ignore it.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    for line in process.stdout:
        if 'Epoch 1/50' in line:
            end(process.pid, number)
            break
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    assert 'Interrupted before the first checkpoint' in rest
    assert 'Traceback' not in rest


def test_missing_data(error_here, tmp_path):
    name = 'retinanet_lowformer_b2_coco'
    message = error_here(TRAIN, f'configs/{name}.py', cwd=tmp_path)
    assert f'{tmp_path}/data/coco/annotations/instances_train2017.json' in \
        message
    assert 'annotations_trainval2017.zip of https://cocodataset.org' in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('arguments', 'message'), [
    ((TRAIN, 'retinanet_lowformer_b4_coco.py'), 'retinanet_lowformer_b3_coco'),
    ((TRAIN, CONFIG, '--resume', 'none.pth'), 'not found: none.pth'),
    ((TRAIN, CONFIG, '--cfg-options', 'load_from=none.pth'),
     'not found: none.pth'),
    ((TRAIN, CONFIG, '--amp'), '--amp fp16 needs a GPU'),
    ((TEST, CONFIG, 'none.pth'), 'not found: none.pth'),
    ((TEST, CONFIG, 'none.pth', '--out', 'x.txt'), 'has to end in .pkl'),
    ((TEST, CONFIG, 'none.pth', '--report', ROOT), 'is not empty'),
    ((TEST, CONFIG, 'none.pth', '--score-thr', '0.5'),
     'is for --show-dir and --report'),
    ((TEST, CONFIG, 'none.pth', '--report', 'r', '--score-thr', 'nan'),
     'has to be from 0 to 1'),
])
def test_bad_input(arguments, message, error_here, tmp_path):
    if '--amp' in arguments and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    assert message in error_here(*arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_another_variant(
        trained, config, options, error_here, tmp_path):
    work_dir, _ = trained
    message = error_here(
        TEST, config, work_dir / 'epoch_2.pth', *options,
        'model.backbone.arch=e1', 'model.neck.in_channels=[40,80,160,320]',
        cwd=tmp_path)
    assert 'epoch_2.pth does not fit the model' in message


def test_truncated_checkpoint_is_not_resumed(
        trained, config, options, error_here, tmp_path):
    file = tmp_path / 'epoch_1.pth'
    file.write_bytes((trained[0] / 'epoch_1.pth').read_bytes()[:-1000])
    message = error_here(TRAIN, config, '--work-dir', tmp_path, '--resume',
                         file, *options, cwd=tmp_path)
    assert 'epoch_1.pth cannot be read' in message
    assert [entry.name for entry in tmp_path.iterdir()] == ['epoch_1.pth']
