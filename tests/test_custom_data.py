"""The commands of docs/custom_data.md, run as they are."""
import argparse
import json
import re
import shlex
import shutil
import textwrap
from pathlib import Path

import pytest

from mmlowformer import engine
from mmlowformer.datasets.config_writer import Settings, write_config
from mmlowformer.datasets.synthetic.shapes import make_dataset

from .commands import check_suggestions
from .custom_data import write_custom_data, write_export
from .helpers import ROOT
from .hub import fill_cache


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
    fill_cache('b0')
    return tmp_path


PAGE, TROUBLESHOOTING = (
    (ROOT / f'docs/{name}.md').read_text(encoding='utf-8')
    for name in ('custom_data', 'troubleshooting'))


def follow(section, run_here, folder, after_block=lambda: None):
    """What each command prints, by its tool and sub-command."""
    assert 'followed by tests/test_custom_data.py' in PAGE
    text = re.search(rf'^## {section}$(.*?)^## ', PAGE, re.S | re.M)[1]
    printed = {}
    for block in re.findall(r'```sh\n(.*?)```', text, re.S):
        commands = block.replace('\\\n', ' ').splitlines()
        for _, tool, *words in map(shlex.split, commands):
            result = run_here(ROOT / tool, *words, cwd=folder)
            assert result.returncode == 0, (words, result.stdout)
            # A training suggests its curves, a test and a prediction.
            assert check_suggestions(result.stdout, folder) >= 3 * (
                tool == 'tools/train.py')
            printed[' '.join([tool, *words[:2]])] = result.stdout
        after_block()
    return printed


def check_other_images(config, data, count, run_here, folder):
    """A test on other data than those of the config."""
    result = run_here(
        ROOT / 'tools/test.py', f'data/mine/{config}.py',
        f'work_dirs/{config}', '--data', data, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert f'{count} images' in result.stdout


def test_boxes(eight_shapes, run_here, here):
    write_custom_data(eight_shapes, here / 'data/mine')
    printed = follow('Detection', run_here, here)
    mine = here / 'data/mine'
    boxes = [[record['bbox'] for record in json.loads(
        (mine / f'{name}.json').read_text())['annotations']]
        for name in ('voc', 'yolo', 'csv', 'labelme')]
    assert boxes[0]
    assert all(found == boxes[0] for found in boxes)
    assert 'Anchors' in printed['tools/data.py inspect data/mine/voc.json']
    assert (here / 'preview.png').exists()
    assert len(list((here / 'predictions/pictures').iterdir())) == 8
    check_other_images('retinanet_lowformer_b0_custom', 'data/mine/voc.json',
                       8, run_here, here)


@pytest.mark.slow
def test_the_loop(eight_shapes, run_here, here):
    write_custom_data(eight_shapes, here / 'data/mine')
    follow('Detection', run_here, here)
    (here / 'data/new/images').mkdir(parents=True)
    for index, file in enumerate(sorted((
            here / 'data/mine/images').iterdir())[:3]):
        shutil.copy(file, here / f'data/new/images/new-{index}.jpg')
    labels = here / 'data/new/predicted/labels-labelme'

    def correct():
        """Draw a box into each image that is to be labeled."""
        for file in labels.iterdir():
            content = json.loads(file.read_text())
            content['shapes'] = [dict(label='star', shape_type='rectangle',
                                      points=[[3, 4], [30, 40]])]
            file.write_text(json.dumps(content))

    follow('The loop', run_here, here, correct)
    assert len(list(labels.iterdir())) == 2
    merged = json.loads((here / 'data/merged.json').read_text())
    assert len(merged['images']) == 10
    assert [item['bbox'] for item in merged['annotations'][-2:]] == [
        [3, 4, 27, 36]] * 2
    assert (here / 'work_dirs/more/epoch_1.pth').exists()


@pytest.mark.slow
def test_exported_folders(eight_shapes, run_here, here):
    write_export(eight_shapes, here / 'data/export')
    printed = follow('Exported folders', run_here, here)
    assert 'valid' not in printed['tools/data.py inspect data/export/'
                                  'train.json']
    assert (here / 'work_dirs/retinanet_lowformer_b0_custom/epoch_1.pth'
            ).exists()


@pytest.mark.slow
def test_masks(eight_shapes, run_here, here):
    write_custom_data(eight_shapes, here / 'data/mine')
    follow('Segmentation', run_here, here)
    classes = (here / 'data/mine/masks/classes.txt').read_text().split()
    assert classes == ['background', 'circle', 'square', 'star', 'triangle']
    assert len(list((here / 'predictions/masks').iterdir())) == 8
    check_other_images('fpn_lowformer_b0_custom', 'data/mine/masks', 8,
                       run_here, here)


@pytest.mark.slow
def test_folders(eight_shapes, run_here, here):
    shutil.copytree(eight_shapes / 'folders/train', here / 'data/mine/images')
    printed = follow('Classification', run_here, here)
    assert 'square    2' in printed['tools/data.py inspect data/mine/images']
    assert 'accuracy/top1' in ''.join(printed.values())
    assert len(list((here / 'predictions/pictures').rglob('*.jpg'))) == 8
    check_other_images('lowformer_b0_custom', 'data/mine/images', 8, run_here,
                       here)


@pytest.mark.slow
def test_scenes(tmp_path_factory, run_here, here):
    root = tmp_path_factory.mktemp('scenes') / 'shapes'
    make_dataset(root, train=3, val=1, size=224)
    mine = here / 'data/mine'
    shutil.copytree(root / 'coco/train2017', mine / 'images')
    shutil.copy(root / 'coco/annotations/instances_train2017.json',
                mine / 'scenes.json')
    follow('Large images', run_here, here)
    tiles = here / 'data/tiles'
    parts = [{record['source'] for record in json.loads(
        (tiles / f'{part}.json').read_text())['images']}
        for part in ('train', 'val')]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert len(list((here / 'predictions/pictures').iterdir())) == 3


@pytest.mark.parametrize('text', [PAGE.split('\n## ')[0], re.search(
    r'^## Train on your data$(.*?)^## ', (ROOT / 'README.md').read_text(
        encoding='utf-8'), re.S | re.M)[1]], ids=['page', 'readme'])
def test_first_example(text, eight_shapes, run_here, here):
    """All but the long training, whose config there is."""
    write_custom_data(eight_shapes, here / 'data/mine')
    block, = re.findall(r'```(?:ba)?sh\n(.*?)```', text, re.S)
    *commands, (_, train, config) = map(shlex.split, block.splitlines())
    for _, tool, *words in commands:
        result = run_here(ROOT / tool, *words, cwd=here)
        assert result.returncode == 0, (words, result.stdout)
    assert train == 'tools/train.py'
    assert len(load(here / config).classes) == 4


def test_generated_data(run_here, tmp_path):
    follow('Generated data', run_here, tmp_path)
    assert (tmp_path / 'data/shapes/coco').is_dir()


def snippets(text):
    return [textwrap.dedent(block) for block in
            re.findall(r'^ *```python\n(.*?)^ *```', text, re.S | re.M)]


def load(file, **options):
    return engine.load_config(argparse.Namespace(
        config=str(file), cfg_options=options, launcher='none', work_dir=None,
        local_rank=0))


def test_the_shown_config_is_a_written_one(eight_shapes, tmp_path):
    """Its lines, with other classes and another length."""
    write_custom_data(eight_shapes, tmp_path)
    for part in ('train', 'val'):
        shutil.copy(eight_shapes / 'coco/annotations'
                    / 'instances_train2017.json', tmp_path / f'{part}.json')
    file, *_ = write_config('boxes', str(tmp_path), Settings(
        'b1', image_size=(512, 512), epochs=50, batch_size=8))
    written = Path(file).read_text()
    for line in snippets(PAGE)[0].splitlines():
        if not re.match('classes|warm_up|# Iter', line):
            assert line in written
    cfg = load(file)
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path)
    assert cfg.model.bbox_head.num_classes == 4


@pytest.mark.parametrize('snippet', [
    snippets(PAGE)[1],
    "_base_ = __import__('mmlowformer').get_config_path("
    "'retinanet_lowformer_b1_coco')\n" + next(
        block for block in snippets(TROUBLESHOOTING)
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
