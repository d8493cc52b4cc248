"""The tools on a folder data set."""
import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from mmlowformer import LowFormer, engine

from ..helpers import PREDICT, TEST, TINY_CLASSIFIER, TRAIN, run_tool

SMALL = ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp('config') / 'tiny.py'
    file.write_text(TINY_CLASSIFIER)
    return file


@pytest.fixture(scope='module')
def options(shapes):
    return ['--cfg-options', f'data_root={shapes}/folders/', *SMALL]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, config, options):
    folder = tmp_path_factory.mktemp('cls')
    result = run_tool(TRAIN, config, '--work-dir', 'run', '--seed', 1,
                      *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    return folder / 'run' / 'epoch_1.pth', result.stdout


def test_train_and_test(trained, config, options, run_here, tmp_path):
    checkpoint, log = trained
    assert 'scope mmpretrain' in log
    assert 'Epoch 1/1  2/2' in log
    result = run_here(TEST, config, checkpoint, '--out', 'm.json',
                      '--show-dir', 'pictures', '--report', 'report',
                      *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    accuracy = json.loads((tmp_path / 'm.json').read_text())['accuracy/top1']
    report = json.loads((tmp_path / 'report/report.json').read_text())
    correct = sum(row['correct'] for row in report['classes'])
    assert correct == 2 * accuracy / 100
    assert len(report['worst']) == 2 - correct
    assert f'accuracy/top1 {accuracy:.4g}' in log
    pictures = [str(path.relative_to(tmp_path / 'pictures')) for path in
                sorted((tmp_path / 'pictures').rglob('*.jpg'))]
    assert pictures == ['circle/000000.jpg', 'square/000001.jpg']


def test_published_layout_is_tested_as_it_is(shapes, run_here, error_here,
                                             tmp_path):
    """With 1000 folders the same command is the published evaluation."""
    torch.manual_seed(0)
    model = timm.create_model('lowformer_b0', num_classes=4)
    save_file(model.state_dict(), tmp_path / 'model.safetensors')
    result = run_here(
        TEST, 'lowformer_b0_shapes', 'model.safetensors', '--cfg-options',
        f'data_root={shapes}/folders/', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'accuracy/top1' in result.stdout
    message = error_here(
        TEST, 'lowformer_b1_transfer', 'model.safetensors', '--cfg-options',
        f'data_root={shapes}/folders/', cwd=tmp_path)
    assert 'model.safetensors does not fit the model' in message


@pytest.mark.slow
def test_transfer_takes_the_backbone(shapes, options, run_here, tmp_path):
    """From a classifier of 1000 classes to one of 4."""
    published = timm.create_model('lowformer_b1').state_dict()
    torch.save(published, tmp_path / 'b1.pth')
    result = run_here(
        TRAIN, 'lowformer_b1_transfer', '--work-dir', 'run', '--weights',
        'b1.pth', *options, 'train_cfg.max_epochs=2',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
        'train_dataloader.dataset.pipeline.1.scale=64',
        'val_dataloader.dataset.pipeline.2.crop_size=64',
        'param_scheduler.0.end=1', 'param_scheduler.1.begin=1',
        'optim_wrapper.optimizer.lr=0.0', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    count = len(LowFormer('b1').state_dict())
    assert (f"LowFormer-b1: {count}/{count} tensors from b1.pth (timm's "
            'key format)') in result.stdout
    assert 'accuracy/top1' in result.stdout
    state = engine.check_checkpoint(
        tmp_path / 'run' / 'epoch_2.pth')['state_dict']
    assert state['head.layers.classifier.weight'].shape == (4, 1600)
    # At a learning rate of 0 the backbone is still the published one.
    torch.testing.assert_close(state['backbone.stem.0.conv.weight'],
                               published['stem.0.conv.weight'])


def test_retrieval(classifier, shapes, run_here, tmp_path):
    result = run_here(
        TEST, 'lowformer_b1_retrieval', classifier, '--out', 'm.json',
        '--cfg-options', f'data_root={shapes}/folders/',
        'model.image_encoder.0.arch=b0', 'test_dataloader.num_workers=0',
        'model.prototype.num_workers=0', 'test_evaluator.topk=(1,4)',
        cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    metrics = json.loads((tmp_path / 'm.json').read_text())
    # The gallery has four images.
    assert metrics['retrieval/Recall@4'] == 100.0
    assert 0 <= metrics['retrieval/Recall@1'] <= 100


@pytest.fixture
def numbered_otherwise(trained, tmp_path):
    """The checkpoint of a training whose classes stood in another order."""
    content = engine.check_checkpoint(trained[0])
    meta = content['meta']['dataset_meta']
    meta['classes'] = tuple(meta['classes'][::-1])
    torch.save(content, tmp_path / 'other.pth')
    return tmp_path / 'other.pth'


def test_a_config_in_the_work_dir_stays(options, error_here, run_here,
                                        tmp_path):
    file = tmp_path / 'mine.py'
    text = f'# Mine.{TINY_CLASSIFIER}'
    file.write_text(text)
    message = error_here(TRAIN, 'mine.py', '--work-dir', '.', *options,
                         cwd=tmp_path)
    assert 'mine.py would be overwritten' in on_one_line(message)
    assert file.read_text() == text
    again = [TRAIN, 'run/mine.py', '--resume', *options]
    run_here(TRAIN, 'mine.py', '--work-dir', 'run', *options, cwd=tmp_path)
    result = run_here(*again, 'train_cfg.max_epochs=2', cwd=tmp_path)
    assert result.returncode == 0, result.stdout


OTHER_NUMBERS = 'circle is class 3 of {}, but class 0 of {}'


def on_one_line(text):
    return ' '.join(text.split())


@pytest.mark.parametrize('command', [
    [TEST, 'tiny.py', 'other.pth'],
    [PREDICT, 'other.pth', 'images', '--config', 'tiny.py'],
    [TRAIN, 'tiny.py', '--resume', 'other.pth'],
], ids=['test', 'predict', 'resume'])
def test_classes_in_another_order(numbered_otherwise, config, options,
                                  error_here, shapes, command):
    folder = numbered_otherwise.parent
    (folder / 'images').symlink_to(shapes / 'folders/val/circle')
    (folder / 'tiny.py').symlink_to(config)
    message = error_here(*command, *(options if PREDICT not in command else
                                     ()), cwd=folder)
    loader = 'train' if TRAIN in command else 'test'
    assert OTHER_NUMBERS.format('other.pth', f'{loader}_dataloader') \
        in on_one_line(message).replace(f'{folder}/', '')


def test_fine_tuning_from_classes_in_another_order(
        numbered_otherwise, config, options, run_here):
    """That may be meant; the head is learned anew."""
    folder = numbered_otherwise.parent
    result = run_here(TRAIN, config, *options, 'load_from=other.pth',
                      cwd=folder)
    assert result.returncode == 0, result.stdout
    assert OTHER_NUMBERS.format('other.pth', 'train_dataloader') \
        in on_one_line(result.stdout).replace(f'{folder}/', '')


def test_another_size_than_trained_for(trained, config, options, run_here,
                                       tmp_path):
    size = 'test_dataloader.dataset.pipeline.1.scale=(32,32)'
    told = [on_one_line(run_here(
        TEST, config, trained[0], *options, *more, cwd=tmp_path).stdout)
        for more in ([], [size])]
    assert 'other image sizes' not in told[0]
    assert 'other image sizes' in told[1]
    assert 'Resize 64x64; here Resize 32x32' in told[1]
    assert 'run/tiny.py' in told[1]


def test_a_last_batch_of_a_single_image(config, options, run_here, error_here,
                                        tmp_path):
    """BatchNorm cannot learn of it where its map is a single position."""
    arguments = [TRAIN, config, '--work-dir', 'run', *options,
                 'train_dataloader.batch_size=3',
                 'train_dataloader.dataset.pipeline.1.scale=(32,32)']
    shown = on_one_line(error_here(*arguments, cwd=tmp_path))
    assert 'cannot learn from a batch of one image' in shown
    assert '4 images in batches of 3' in shown
    assert 'backbone.stages.' in shown
    for more in ('train_dataloader.drop_last=True',
                 'train_dataloader.batch_size=2'):
        result = run_here(*arguments, more, '--work-dir', more, cwd=tmp_path)
        assert result.returncode == 0, result.stdout
