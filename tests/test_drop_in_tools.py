"""tools/train.py and tools/predict.py with the snippets of docs/drop_in.md."""
import json
import shutil

import pytest
from mmdet.datasets import CocoDataset

from mmlowformer import LowFormer

from .drop_in import SNIPPETS, items, smaller, user_config
from .helpers import run_tool

pytestmark = pytest.mark.no_cover
# The fastest of each library; the others are slow.
FAST = ('yolo/', 'ocrnet/', 'mocov2/')
SIZE = 64
# Larger numbers are sizes of images.
LARGEST = 200
OCRNET = 'ocrnet_r101-d8_4xb2-40k_cityscapes'  # The tiny data are ADE20K's.


@pytest.fixture(scope='module')
def data(shapes, tmp_path_factory):
    """Tiny data with the classes and folders of COCO, ADE20K and ImageNet."""
    root = tmp_path_factory.mktemp('drop_in')
    for name, folder in dict(mmdet='coco', mmseg='ade',
                             mmpretrain='folders').items():
        shutil.copytree(shapes / folder, root / name)
    (root / 'mmdet' / 'semi_anns').mkdir()
    for split in ('train', 'val'):
        file = root / 'mmdet' / 'annotations' / f'instances_{split}2017.json'
        content = json.loads(file.read_text())
        content['categories'] = [
            dict(id=index + 1, name=name) for index, name in
            enumerate(CocoDataset.METAINFO['classes'])]
        file.write_text(json.dumps(content))
        for kind in ('', '-unlabeled'):
            shutil.copy(file, root / 'mmdet' / 'semi_anns' /
                        f'instances_train2017.1@10{kind}.json')
    (root / 'mmpretrain' / 'meta').mkdir()
    (root / 'mmpretrain' / 'meta' / 'train.txt').write_text(''.join(
        f'{file.parent.name}/{file.name} 0\n' for file in
        (root / 'mmpretrain' / 'train').glob('*/*')))
    return root


def small_images(node):
    """The same settings, for images of a few pixels."""
    if isinstance(node, dict):
        # mmcv 2.1.0 shifts no hues down with NumPy 2.
        return type(node)({key: 0. if key == 'hue' else small_images(value)
                           for key, value in node.items()})
    if (isinstance(node, (list, tuple)) and node
            and all(isinstance(item, int) and abs(item) >= LARGEST
                    for item in node)):
        # RandomAffine cuts off borders, half of an image wide.
        return type(node)(SIZE if item > 0 else -SIZE // 2 for item in node)
    if isinstance(node, (list, tuple)):
        return type(node)(map(small_images, node))
    return SIZE if node == 224 else node


def tiny_config(folder, base, data):
    """The config of a user, on tiny data, for a single iteration."""
    cfg = user_config(folder, base)
    for name in ('train', 'val', 'test'):
        if cfg.get(f'{name}_dataloader'):
            cfg[f'{name}_dataloader'] = dict(
                small_images(cfg[f'{name}_dataloader']), num_workers=0,
                persistent_workers=False)
    cfg.custom_hooks = small_images(cfg.get('custom_hooks', []))
    if 'test_cfg' in cfg.model:
        cfg.model.test_cfg = small_images(cfg.model.test_cfg)
    if base[0] == 'mmseg':
        cfg.model.data_preprocessor.size = (SIZE, SIZE)
    by_epoch = cfg.train_cfg.get('type') != 'IterBasedTrainLoop'
    cfg.train_cfg.update({'max_epochs' if by_epoch else 'max_iters': 1,
                          'val_interval': 1})
    cfg.train_cfg.pop('dynamic_intervals', None)
    # An untrained model is sure of nothing.
    cfg.merge_from_dict({name: 0. for name in items(cfg.model) if
                         name.endswith(('.score_thr', '.conf_thr'))})
    file = folder / 'tiny.py'
    smaller(cfg).dump(file)
    return file


@pytest.mark.parametrize('base', [
    pytest.param(base, id='/'.join(base), marks=[] if base[1].startswith(FAST)
                 else pytest.mark.slow)
    for base in SNIPPETS if OCRNET not in base[1]])
def test_snippet_through_the_tools(base, data, tmp_path):
    config = tiny_config(tmp_path, base, data)
    root = data / base[0]
    result = run_tool('train.py', config, '--work-dir', 'run',
                      '--cfg-options', f'data_root={root}/', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    checkpoint, = (tmp_path / 'run').glob('[ei]*_1.pth')
    if base[0] == 'mmpretrain':
        # A backbone starts from the weights of a self-supervised training.
        LowFormer('b1', init_cfg=dict(
            type='Pretrained', checkpoint=str(checkpoint))).init_weights()
        return
    image = next((root / ('val2017' if base[0] == 'mmdet'
                          else 'images/validation')).iterdir())
    result = run_tool('predict.py', checkpoint, image, '--json', '--out',
                      'out', '--score-thr', 0, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    # An untrained model may detect nothing, but there is always a picture.
    out = tmp_path / 'out'
    assert [file.stem for file in out.glob('pictures/*')] == [image.stem]
    assert isinstance(json.loads((out / 'predictions.json').read_text()), list)
