"""The pages about one's own data, followed to the letter."""
import json
import re
import shlex
import shutil
import subprocess

import pytest

from mmlowformer.data.shapes import make_dataset

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
    assert (here / 'sheet.png').exists()
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
