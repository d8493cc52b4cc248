"""The pages about one's own data, followed to the letter."""
import argparse
import json
import re
import shlex
import shutil
import subprocess
import textwrap

import pytest

from mmlowformer import engine
from mmlowformer.datasets.synthetic.shapes import make_dataset

from .conftest import ROOT
from .own_data import write_own_data


@pytest.fixture(scope='module')
def eight_shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('own') / 'shapes'
    make_dataset(root, train=8, val=1, size=64)
    return root


@pytest.fixture
def here(tmp_path):
    """A folder that looks like the checkout."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    (tmp_path / 'data').mkdir()
    return tmp_path


def commands(page):
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    assert 'followed by tests/test_own_pages.py' in text
    for block in re.findall(r'```sh\n(.*?)```', text, re.S):
        yield from map(shlex.split, block.splitlines())


def follow(page, run_here, folder):
    """What each command prints, by its tool and sub-command."""
    printed = {}
    for words in commands(page):
        if words[0] != 'python':
            subprocess.run(words, cwd=folder, check=True)
            continue
        result = run_here(ROOT / words[1], *words[2:], cwd=folder)
        assert result.returncode == 0, (words, result.stdout)
        printed[' '.join(words[1:4])] = result.stdout
    return printed


def test_boxes(eight_shapes, run_here, here):
    write_own_data(eight_shapes, here / 'data/mine')
    printed = follow('own_boxes.md', run_here, here)
    mine = here / 'data/mine'
    boxes = [[record['bbox'] for record in json.loads(
        (mine / f'{name}.json').read_text())['annotations']]
        for name in ('voc', 'yolo', 'csv', 'labelme')]
    assert boxes[0]
    assert all(found == boxes[0] for found in boxes)
    assert 'Anchors' in printed['tools/data.py inspect data/mine/voc.json']
    assert (here / 'preview.png').exists()
    assert len(list((here / 'predictions/pictures').iterdir())) == 8


@pytest.mark.slow
def test_masks(eight_shapes, run_here, here):
    write_own_data(eight_shapes, here / 'data/mine')
    follow('own_masks.md', run_here, here)
    classes = (here / 'data/mine/masks/classes.txt').read_text().split()
    assert classes == ['background', 'circle', 'square', 'star', 'triangle']
    assert len(list((here / 'predictions/masks').iterdir())) == 8


@pytest.mark.slow
def test_folders(eight_shapes, run_here, here):
    shutil.copytree(eight_shapes / 'folders/train', here / 'data/mine/images')
    printed = follow('own_folders.md', run_here, here)
    assert 'square    2' in printed['tools/data.py inspect data/mine/images']
    assert 'accuracy/top1' in ''.join(printed.values())
    assert len(list((here / 'predictions/pictures').rglob('*.jpg'))) == 8


@pytest.mark.slow
def test_scenes(tmp_path_factory, run_here, here):
    root = tmp_path_factory.mktemp('scenes') / 'shapes'
    make_dataset(root, train=3, val=1, size=224)
    mine = here / 'data/mine'
    shutil.copytree(root / 'coco/train2017', mine / 'images')
    shutil.copy(root / 'coco/annotations/instances_train2017.json',
                mine / 'scenes.json')
    follow('own_scenes.md', run_here, here)
    tiles = here / 'data/tiles'
    parts = [{record['source'] for record in json.loads(
        (tiles / f'{part}.json').read_text())['images']}
        for part in ('train', 'val')]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert len(list((here / 'predictions/pictures').iterdir())) == 3


def snippets(page):
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    return [textwrap.dedent(block) for block in
            re.findall(r'^ *```python\n(.*?)^ *```', text, re.S | re.M)]


def load(file, **options):
    return engine.load_config(argparse.Namespace(
        config=str(file), cfg_options=options, launcher='none', work_dir=None,
        local_rank=0))


def test_a_config_that_builds_upon_the_one_for_boxes(eight_shapes, tmp_path):
    write_own_data(eight_shapes, tmp_path)
    content = json.loads((eight_shapes / 'coco/annotations'
                          / 'instances_train2017.json').read_text())
    (tmp_path / 'train.json').write_text(json.dumps(content))
    (tmp_path / 'mine.py').write_text(snippets('own_data.md')[0])
    cfg = load(tmp_path / 'mine.py')
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path)
    assert cfg.train_cfg.max_epochs == 20
    assert cfg.model.bbox_head.num_classes == len(content['categories']) == 4


@pytest.mark.parametrize('snippet', [
    snippets('own_data.md')[1],
    "_base_ = __import__('mmlowformer').get_config_path("
    "'retinanet_lowformer_b1_coco')\n" + next(
        block for block in snippets('troubleshooting.md')
        if 'classes = (' in block)])
def test_classes_of_other_configs(snippet, eight_shapes, tmp_path):
    """With data that have these, nothing is left to complain of."""
    root = shutil.copytree(eight_shapes / 'coco', tmp_path / 'coco')
    for file in (root / 'annotations').glob('instances_*.json'):
        content = json.loads(file.read_text())
        kept = content['categories'] = content['categories'][:2]
        for category, name in zip(kept, ('cat', 'dog'), strict=True):
            category['name'] = name
        for record in content['annotations']:
            record['category_id'] = kept[record['id'] % 2]['id']
        file.write_text(json.dumps(content))
    (tmp_path / 'mine.py').write_text(snippet)
    cfg = load(tmp_path / 'mine.py', data_root=f'{root}/')
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader',
                                'test_dataloader'])
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert dataset.data_root == f'{root}/'
        assert tuple(dataset.metainfo.classes) == ('cat', 'dog')
    assert cfg.model.bbox_head.num_classes == 2
