"""What tools/data.py inspect advises, and that it can be pasted."""
import json
import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from ...commands import check_suggestions, parse
from ...helpers import ROOT

DATA = ROOT / 'tools/data.py'


def texture(seed, width, height=None):
    noise = np.random.default_rng(seed).integers(
        0, 230, ((height or width) // 20, width // 20, 3), np.uint8)
    return cv2.resize(noise, (width, height or width))


def write_scenes(folder, count, side, box=16, every=80, classes=1):
    """Scenes with rows of small squares."""
    (folder / 'images').mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        pixels = texture(number, side)
        for top in range(every // 2, side - box, every):
            for left in range(every // 2, side - box, every):
                pixels[top:top + box, left:left + box] = 255
                annotations.append(dict(
                    id=len(annotations) + 1, image_id=number, iscrowd=0,
                    category_id=1 + len(annotations) % classes,
                    area=box * box, bbox=[left, top, box, box]))
        cv2.imwrite(str(folder / f'images/{number}.png'), pixels)
        images.append(dict(id=number, file_name=f'{number}.png', width=side,
                           height=side))
    (folder / 'all.json').write_text(json.dumps(dict(
        images=images, annotations=annotations,
        categories=[dict(id=1, name='tree'), dict(id=2, name="bush's"),
                    dict(id=3, name='rock')])))


@pytest.fixture
def inspect(run_here, tmp_path):
    """Advice by its topic, from the screen and from the JSON file."""
    def run(source):
        file = tmp_path / 'found.json'
        file.unlink(missing_ok=True)
        result = run_here(DATA, 'inspect', source, '--json', file.name,
                          cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        assert all(len(text) <= 80 for text in result.stdout.splitlines()
                   if str(ROOT) not in text)
        check_suggestions(result.stdout, tmp_path)
        shown = ' '.join(result.stdout.replace('\\\n', ' ').split())
        advice = {item['topic']: item for item in
                  json.loads(file.read_text())['advice']}
        for item in advice.values():
            assert item['text'] in shown
            assert item['command'].removeprefix('python tools/') in shown
        return advice

    return run


@pytest.fixture
def paste(run_here, tmp_path):
    def run(item, *more):
        _, tool, *words = shlex.split(item['command'])
        result = run_here(ROOT / tool, *words, *more, cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        return result.stdout

    return run


def options_of(item):
    """The options in a text, as config reads them."""
    text = item['text'].split(':')[0].rstrip('.').split('. ')[0]
    return vars(parse('data', ['config', 'boxes', '.', *text.split()]))


def test_a_scene_from_the_first_look_to_the_config(inspect, paste, tmp_path):
    write_scenes(tmp_path / 'data', 1, 1600, classes=2)
    advice = inspect('data/all.json')
    tiles = advice['tiles']
    assert (tiles['tile_size'], tiles['overlap_ratio']) == (384, 0.2)
    assert tiles['p10'] == tiles['p90'] == pytest.approx(16)
    assert advice['unused']['unused'] == ['rock']
    assert not {'size', 'training', 'validation'} & advice.keys()
    # Crops at full resolution, not the scene.
    preview = Image.open(tmp_path / 'preview.png')
    assert preview.width > 6 * 400
    white = (np.asarray(preview.crop((29, 50, 429, 450))) > 250).all(2)
    assert abs(white.sum() - 25 * 14 * 14) < 25 * 14 * 14 / 2
    paste(advice['unused'])
    advice = inspect('data/all-used.json')
    assert 'unused' not in advice
    assert 'inspect data/tiles/annotations.json' in ' '.join(
        paste(advice['tiles']).replace('\\\n', ' ').split())
    advice = inspect('data/tiles/annotations.json')
    assert advice['validation']['regions']
    paste(advice['validation'])
    advice = inspect('data/tiles/train.json')
    assert not {'regions', 'duplicates', 'tiles'} & advice.keys()
    assert advice['validation']['images'] < advice['validation']['enough']
    shown = paste(advice['validation'], '--arch', 'b0')
    check_config(advice, shown, tmp_path /
                 'data/tiles/retinanet_lowformer_b0_custom.py')


def test_the_parts_are_whole_scenes(inspect, paste, tmp_path):
    """So many validation images as split will choose."""
    write_scenes(tmp_path / 'data', 3, 1600)
    paste(inspect('data/all.json')['tiles'])
    advice = inspect('data/tiles/annotations.json')
    shown = paste(advice['validation'])
    for part, number in (('val', advice['validation']['images']),
                         ('train', advice['training']['images'])):
        names = (tmp_path / f'data/tiles/{part}.txt').read_text().split()
        assert len(names) == number
        assert f'{number} images' in shown
    assert 'whole scenes' in advice['validation']['text']


def check_config(advice, shown, file):
    """The config has what was advised, and is told so."""
    cfg = Config.fromfile(file)
    training = advice['training']
    size = training['image_size']
    assert cfg.image_size == (size, size)
    assert cfg.batch_size == training['batch_size']
    options = options_of(training)
    assert options['batch_size'] == training['batch_size']
    assert options['epochs'] == training['epochs']
    assert training['total_iterations'] == \
        training['epochs'] * training['iterations']
    assert cfg.get('epochs', training['epochs']) == training['epochs']
    assert cfg.get('max_iters', training['total_iterations']) == \
        training['total_iterations']
    if 'size' in advice:
        assert options_of(advice['size'])['size'] == [size]
    said = ' '.join(shown.split())
    assert f'{size}x{size}' in said
    assert training['text'].split(' of ')[0] in said


def test_tiles_that_two_parts_share(inspect, paste, tmp_path):
    write_scenes(tmp_path / 'data', 2, 800)
    content = json.loads((tmp_path / 'data/all.json').read_text())
    for part, left in (('train', 0), ('val', 50)):
        records = [dict(record, source='a.png', offset=[left, 0])
                   for record in content['images'][left // 50:][:1]]
        (tmp_path / f'data/{part}.json').write_text(json.dumps(dict(
            content, images=records, annotations=[
                item for item in content['annotations']
                if item['image_id'] == records[0]['id']])))
    advice = inspect('data/train.json')
    assert advice['regions']['overlapping_tiles'] == 1
    paste(advice['regions'])
    merged = json.loads((tmp_path / 'data/merged.json').read_text())
    assert [image['offset'] for image in merged['images']] == [[0, 0], [50, 0]]


def test_copies_in_two_parts(inspect, paste, run_here, tmp_path):
    write_scenes(tmp_path / 'data', 12, 200, box=60, every=90)
    images = tmp_path / 'data/images'
    content = json.loads((tmp_path / 'data/all.json').read_text())
    for image in content['images'][6:]:
        pixels = cv2.imread(str(images / f'{image["id"] - 6}.png'))
        cv2.imwrite(str(images / image['file_name']), pixels // 2)
    for part, chosen in (('train', range(6)), ('val', range(4, 12))):
        (tmp_path / f'data/{part}.json').write_text(json.dumps(dict(
            content, images=[content['images'][index] for index in chosen],
            annotations=[item for item in content['annotations']
                         if item['image_id'] in chosen])))
    advice = inspect('data/train.json')['duplicates']
    assert advice['images'] == 8
    assert advice['pairs'][-1] == ['5.png', '11.png']
    paste(advice)
    result = run_here(DATA, 'split', 'data/merged.json', '--similar', '--val',
                      0.4, '--out', 'parts', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    parts = [{image['file_name'] for image in json.loads(
        (tmp_path / f'parts/{part}.json').read_text())['images']}
        for part in ('train', 'val')]
    for number in range(6):
        pair = {f'{number}.png', f'{number + 6}.png'}
        assert pair <= parts[0] or pair <= parts[1]


@pytest.mark.parametrize('other', ['{}', '[', None])
def test_parts_that_cannot_be_read(other, inspect, paste, tmp_path):
    """Advice is for the file, and the split does not hit the other ones."""
    write_scenes(tmp_path / 'data', 4, 200, box=60, every=90)
    (tmp_path / 'data/all.json').rename(tmp_path / 'data/train.json')
    if other:
        (tmp_path / 'data/val.json').write_text(other)
    advice = inspect('data/train.json')
    assert advice['validation']['val'] == 0.4
    paste(advice['validation'])
    assert (tmp_path / 'data/parts/val.json').exists()


def test_boxes_that_stay_too_small(inspect, tmp_path):
    write_scenes(tmp_path / 'data', 3, 200, box=3, every=30)
    advice = inspect('data/all.json')
    assert advice['size']['below_8'] == 1
    assert 'are below 8 pixels' in advice['size']['text']
    assert 'tiles' not in advice


def test_masks(inspect, paste, tmp_path):
    for name in ('images', 'masks'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((300, 1200), np.uint8)
        mask[:100] = 1
        mask[150:160, :225] = 2
        cv2.imwrite(str(tmp_path / f'data/images/{number}.png'),
                    texture(number, 1200, 300))
        cv2.imwrite(str(tmp_path / f'data/masks/{number}.png'), mask)
    (tmp_path / 'data/masks/classes.txt').write_text('soil\nroad\ncrack\n')
    advice = inspect('data/masks')
    assert '--tile-size 512' in advice['size']['text']
    assert advice['few']['few'] == dict(soil=10, road=10, crack=10)
    weights = advice['imbalance']['class_weight']
    assert weights[0] < weights[1] < weights[2]
    assert advice['imbalance']['fractions']['crack'] == pytest.approx(1 / 160)
    args = parse('train', ['a.py', *advice['imbalance']['option'].split()])
    assert next(iter(args.cfg_options.values())) == weights
    paste(advice['validation'])
    # Copies of the images would be found by the lists.
    shutil.copy(tmp_path / 'data/images/0.png', tmp_path / 'data/images/x.png')
    shutil.copy(tmp_path / 'data/masks/0.png', tmp_path / 'data/masks/x.png')
    lists = [tmp_path / f'data/{part}.txt' for part in ('train', 'val')]
    for file in lists:
        file.write_text(file.read_text() + ('' if '0.png' in file.read_text()
                                            else 'x.png\n'))
    advice = inspect('data/masks')
    shown = paste(advice['validation'], '--arch', 'b0')
    check_config(advice, shown, tmp_path / 'data/fpn_lowformer_b0_custom.py')
    assert advice['duplicates']['images'] == 1
    for file in lists:
        file.unlink()
    paste(advice['duplicates'])


@pytest.mark.parametrize(('options', 'message'), [
    (['--regions'], '--regions is for a COCO annotation file'),
    (['--regions', '--similar'], 'not allowed with')])
def test_options_that_do_not_fit(options, message, run_here, tmp_path):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.png'), texture(0, 40))
    result = run_here(DATA, 'split', 'images', *options, cwd=tmp_path)
    assert result.returncode
    assert message in result.stdout + (result.stderr or '')


def test_folders(inspect, paste, tmp_path):
    for number in range(48):
        folder = tmp_path / 'data/images' / ('rare' if number < 2 else 'often')
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f'{number}.png'), texture(number, 80))
    advice = inspect('data/images')
    assert advice['few']['few'] == dict(rare=2)
    assert re.match(r"'often' has 23 times the images of 'rare'",
                    advice['imbalance']['text'])
    assert advice['validation']['val'] == 0.4
    paste(advice['validation'])
    advice = inspect('data/images')
    shown = paste(advice['validation'], '--arch', 'b0')
    check_config(advice, shown, tmp_path / 'data/lowformer_b0_custom.py')
    # The same in folders for each part.
    shutil.copytree(tmp_path / 'data/images', tmp_path / 'parts/train')
    shutil.copytree(tmp_path / 'data/images/rare', tmp_path /
                    'parts/val/rare')
    assert inspect('parts/train')['duplicates']['images'] == 2
