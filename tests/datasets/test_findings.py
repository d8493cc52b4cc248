"""Each tool finds the same in a file, and the named command fixes it."""
import json
import logging
import shlex

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from mmlowformer import engine
from mmlowformer.errors import UserError

from ..helpers import ROOT

DATA = ROOT / 'tools/data.py'
POLYGON = [[2, 2, 12, 2, 12, 12]]
LOADERS = ('train', 'test')


@pytest.fixture
def root(tmp_path):
    """Two images of 40x20, with two boxes and one."""
    (tmp_path / 'data/images').mkdir(parents=True)
    pixels = np.zeros((20, 40, 3), np.uint8)
    for name in ('a.png', 'b.png'):
        Image.fromarray(pixels).save(tmp_path / 'data/images' / name)
    write(tmp_path, dict(
        info=dict(year=2026),
        images=[dict(id=index, file_name=name, width=40, height=20)
                for index, name in enumerate(('a.png', 'b.png'))],
        categories=[dict(id=1, name='cat')],
        annotations=[dict(id=index, image_id=0, category_id=1, iscrowd=0,
                          bbox=[index, 2, 10, 10], area=50,
                          segmentation=POLYGON) for index in (1, 2)] + [
            dict(id=3, image_id=1, category_id=1, iscrowd=0, area=90,
                 bbox=[1, 1, 9, 10])]))
    return tmp_path


def content_of(root):
    return json.loads((root / 'data/all.json').read_text())


def write(root, content):
    (root / 'data/all.json').write_text(json.dumps(content))


def first(**changes):
    """Change the first annotation."""
    return lambda content: content['annotations'][0].update(changes)


def without(key, records='annotations'):
    return lambda content: content[records][0].pop(key)


def image(**changes):
    return lambda content: content['images'][0].update(changes)


CASES = {
    'no area': (without('area'), 'error', 'annotation without area', ''),
    'no id': (without('id'), 'error', 'annotation without id', ''),
    'text as id': (first(id='7'), 'error', 'annotation without id', ''),
    'no iscrowd': (without('iscrowd'), 'error', 'without iscrowd', ''),
    'text as iscrowd': (first(iscrowd='0'), 'error', 'neither 0 nor 1', ''),
    'duplicate id': (first(id=2), 'error', 'duplicate annotation id', ''),
    'fraction as id': (first(id=.5), 'error', 'id is not an integer', ''),
    'id 0': (first(id=0), 'warning', 'the id 0', ''),
    'no size': (without('width', 'images'), 'error', 'without width', ''),
    'other size': (image(width=80), 'error', 'size that differs', ''),
    'other path': (image(file_name='C:\\far\\a.png'), 'error',
                   'at another path', ''),
    'overshoot': (first(bbox=[1, 11, 10, 10]), 'warning',
                  'box up to a pixel beyond', ''),
    'beyond': (first(bbox=[1, 2, 90, 10]), 'warning', 'box beyond',
               '--clip'),
    'no extent': (first(bbox=[1, 2, 0, 10]), 'warning', 'without an area',
                  '--clip'),
    'duplicate box': (first(bbox=[2, 2, 10, 10]), 'warning', 'duplicate box',
                      '--drop-duplicates'),
    'other size, large boxes': (
        lambda content: (image(width=80)(content),
                         first(bbox=[60, 2, 10, 10])(content)),
        'error', 'boxes do not fit', None),
    'missing image': (image(file_name='none.png'), 'error',
                      'image that is not in', None),
    'image twice': (lambda content: content['images'].append(dict(
        content['images'][0], id=9)), 'error', 'image with two ids', None),
    'broken box': (first(bbox=[1, 2, 3]), 'error', 'not four numbers', None),
    'broken polygon': (first(segmentation=[[1, 2]]), 'error', 'three points',
                       None),
    'unknown category': (first(category_id=5), 'error', 'category id', None),
    'nothing': (lambda content: content.update(annotations=[]), 'error',
                'holds no annotations', None),
    'fractions': (lambda content: [item.update(bbox=[.1, .1, .5, .5])
                                   for item in content['annotations']],
                  'error', 'normalized', None)}


# Images can be tested without boxes.
NEEDS_BOXES = ('nothing', 'fractions')


def inspected(run_here, root, source='data/all.json'):
    """Findings of an inspection, and all that it prints."""
    file = root / 'found.json'
    file.unlink(missing_ok=True)
    result = run_here(DATA, 'inspect', source, '--json', file, cwd=root)
    found = json.loads(file.read_text())['findings']
    assert result.returncode == any(
        item['severity'] == 'error' for item in found)
    return found, ' '.join(result.stdout.replace('\\\n', ' ').split())


def trained(root, log, loader, source='all.json'):
    """What a start of a training or test refuses, and warns of."""
    dataset = dict(
        type='CocoDataset', data_root=str(root / 'data'), ann_file=source,
        data_prefix=dict(img='images'), metainfo=dict(classes=('cat', )),
        pipeline=[dict(type='LoadAnnotations', with_mask=True)],
        test_mode=loader == 'test')
    log.clear()
    # Another tool has had a logger of its own.
    MMLogger.get_current_instance().addHandler(log.handler)
    refusal = ''
    try:
        engine.check_datasets(Config({
            'default_scope': 'mmdet', 'model': {},
            f'{loader}_dataloader': dict(dataset=dataset)}),
            [f'{loader}_dataloader'])
    except UserError as error:
        refusal = str(error)
    return dict(error=refusal, warning='\n'.join(dict.fromkeys(
        record.getMessage() for record in log.records
        if record.levelno >= logging.WARNING)))


def line(item):
    return f'{item["count"]} x {item["kind"]}, first: {item["example"]}'


@pytest.mark.parametrize('case', CASES)
def test_each_tool_finds_the_same(case, root, run_here, log, monkeypatch):
    monkeypatch.chdir(root)
    spoil, severity, kind, option = CASES[case]
    content = content_of(root)
    spoil(content)
    write(root, content)
    found, shown = inspected(run_here, root)
    assert [item['severity'] for item in found
            if kind in item['kind']] == [severity]
    assert all(item['kind'] in shown for item in found)
    for loader in LOADERS:
        if loader == 'test' and case in NEEDS_BOXES:
            continue
        said = trained(root, log, loader)
        for item in found:
            assert line(item) in said[item['severity']]
        assert ''.join(said.values()).count(' x ') == len(found)
    fix = next(item['fix'] for item in found if kind in item['kind'])
    if option is None:
        assert not fix
        return
    assert fix == ' '.join(f'python tools/data.py fix data/all.json '
                           f'data/all-fixed.json {option}'.split())
    assert fix in shown
    _, tool, *words = shlex.split(fix)
    result = run_here(ROOT / tool, *words, cwd=root)
    assert result.returncode == 0, result.stdout
    assert f'1 x {found[0]["kind"]}' in ' '.join(result.stdout.split())
    assert inspected(run_here, root, 'data/all-fixed.json')[0] == []
    for loader in LOADERS:
        assert trained(root, log, loader, 'all-fixed.json') == dict(
            error='', warning='')
    assert content_of(root) == json.loads(json.dumps(content))


@pytest.mark.parametrize(('case', 'severity'), [
    ('no area', 'error'), ('beyond', 'warning')])
def test_fixed_in_place(case, severity, root, run_here, log, monkeypatch):
    """As a training says, whose config names the file."""
    monkeypatch.chdir(root)
    content = content_of(root)
    CASES[case][0](content)
    write(root, content)
    said = trained(root, log, 'train')[severity]
    _, tool, *words = shlex.split(said.split('un: ')[-1])
    assert words[-1] == '--overwrite'
    assert run_here(ROOT / tool, *words, cwd=root).returncode == 0
    assert trained(root, log, 'train') == dict(error='', warning='')
    assert content_of(root)['info'] == content['info']
    refused = run_here(ROOT / tool, *words[:-1], cwd=root)
    assert 'exists already' in refused.stdout


@pytest.mark.parametrize('command', [
    ['split'], ['tile', '--out', 'tiles', '--tile-size', 32]])
def test_before_splitting_and_tiling(command, root, run_here, log,
                                     monkeypatch):
    monkeypatch.chdir(root)
    content = content_of(root)
    warnings = [case for case, (_, severity, *_) in CASES.items()
                if severity == 'warning']
    for case in warnings:
        content['annotations'].insert(0, dict(content['annotations'][0], id=(
            len(content['annotations']) + 1)))
        CASES[case][0](content)
    write(root, content)
    found, _ = inspected(run_here, root)
    assert len(found) == len(warnings)
    name, *options = command
    result = run_here(DATA, name, 'data/all.json', *options, cwd=root)
    shown = ' '.join(result.stdout.split())
    assert result.returncode == 0, shown
    assert all(line(item) in shown for item in found)
    assert '--clip --drop-duplicates' in shown
    for case in ('no area', 'other size', 'missing image'):
        CASES[case][0](content)
    content['images'].append(dict(content['images'][1], id=7))
    write(root, content)
    found, _ = inspected(run_here, root)
    result = run_here(DATA, name, 'data/all.json', *options, '--out', 'no',
                      cwd=root)
    shown = ' '.join(result.stdout.split())
    errors = [item for item in found if item['severity'] == 'error']
    assert len(errors) > 2
    assert all(line(item) in shown for item in errors)
    assert not (root / 'no').exists()


def test_drawings_are_no_images_of_the_data(root, run_here):
    """Those of predict.py, or others of the same name and another size."""
    images = root / 'data/images'
    for folder in ('predicted/pictures', 'elsewhere'):
        drawings = images / folder
        drawings.mkdir(parents=True)
        Image.new('RGB', (82, 62)).save(drawings / 'a.png')
    (images / 'predicted/predictions.jsonl').touch()
    (images / 'a.png').unlink()
    found, printed = inspected(run_here, root)
    assert [item['kind'] for item in found] == [
        'image that is not in its folder']
    assert 'data.py fix' not in printed
    fixed = root / 'data/fixed.json'
    run_here(DATA, 'fix', 'data/all.json', str(fixed), '--images',
             'data/images', cwd=root)
    assert json.loads(fixed.read_text())['images'] == content_of(
        root)['images']
    # The image itself, which was moved.
    Image.new('RGB', (40, 20)).save(images / 'predicted/a.png')
    (images / 'elsewhere/a.png').unlink()
    assert 'not in its folder' in inspected(run_here, root)[0][0]['kind']
    (images / 'predicted/predictions.jsonl').unlink()
    (images / 'predicted/pictures/a.png').unlink()
    assert 'another path' in inspected(run_here, root)[0][0]['kind']
