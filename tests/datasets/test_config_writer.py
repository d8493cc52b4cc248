"""Configs that tools/data.py writes beside the data."""
import json
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlowformer import get_config_path
from mmlowformer.config.loading import read_config
from mmlowformer.datasets.config_writer import (
    Settings,
    literal,
    resizing_note,
    write_config,
)
from mmlowformer.engine.data_root import follow_data_root
from mmlowformer.errors import UserError

from ..helpers import ROOT, write_custom_data

TOOL = ROOT / 'tools/data.py'
# The old configs chose nothing by the data.
OLD_DEFAULTS = dict(
    boxes=dict(image_size=(512, 512), epochs=50, batch_size=4),
    masks=dict(image_size=(512, 512), epochs=50, batch_size=8),
    folders=dict(image_size=(224, 224), epochs=50, batch_size=32))
OLD = dict(boxes='retinanet_lowformer_b0_custom',
           masks='fpn_lowformer_b0_custom', folders='lowformer_b0_custom')


@pytest.fixture
def mine(tmp_path, shapes):
    """A folder with the data of all three tasks."""
    folder = tmp_path / 'mine'
    write_custom_data(folder, shapes)
    return folder


def write(kind, folder, file=None, *, overwrite=False, **settings):
    return write_config(kind, str(folder), Settings(
        **dict(dict(arch='b0'), **settings)), file, overwrite=overwrite)


@pytest.mark.parametrize('kind', OLD)
@pytest.mark.parametrize('options', [
    {}, dict(epochs=3, batch_size=2, image_size=(96, 64), weights='a.pth'),
    dict(epochs=1), dict(epochs=100, batch_size=3, image_size=(64, 64)),
    dict(arch='b15', epochs=30)])
def test_equals_the_old_config(kind, options, mine):
    """Every setting of it, and of a variant with other base settings."""
    settings = OLD_DEFAULTS[kind] | options
    arch = settings.get('arch', 'b0')
    old = mine / f'old_{kind}.py'
    old.write_text(Path(get_config_path(OLD[kind])).read_text().replace(
        'lowformer_b0', f'lowformer_{arch}'))
    expected = read_config(str(old), {
        key: value for key, value in settings.items() if key != 'arch'})
    file, *_ = write(kind, mine, **settings)
    found = Config.fromfile(file)
    base = Config.fromfile(get_config_path(
        f'lowformer_{arch}_in1k' if kind == 'folders' else
        f'fpn_lowformer_{arch}_ade20k' if kind == 'masks' else
        f'retinanet_lowformer_{arch}_coco'))
    names = {'train_dataloader', 'custom_hooks', 'tta_pipeline', *base}
    for name in sorted(names - {'crop_size'}):
        assert found.get(name) == expected.get(name), name


@pytest.mark.parametrize(('arch', 'weights', 'written', 'lr'), [
    ('e1', None, 'hf-hub:timm/lowformer_e1.in1k', 2.5e-5),
    ('e1', 'published', 'hf-hub:timm/lowformer_e1.in1k', 2.5e-5),
    ('e1', 'none', None, 2.5e-4), ('b2', None, None, 2.5e-4),
    ('b2', 'a.pth', 'a.pth', 2.5e-5)])
def test_weights_and_their_rate(arch, weights, written, lr, mine):
    cfg = Config.fromfile(write('boxes', mine, arch=arch, weights=weights,
                                batch_size=4)[0])
    init_cfg = written and dict(type='Pretrained', checkpoint=written)
    assert cfg.model.backbone.init_cfg == init_cfg
    assert cfg.lr == lr


@pytest.mark.parametrize('kind', OLD)
@pytest.mark.parametrize(('epochs', 'warm_up'), [
    (1, 0), (12, 6), (50, 20), (300, 30), (9000, 500)])
def test_short_trainings_warm_up(epochs, warm_up, kind, mine):
    """Full rate in the second of 12 iterations makes the loss rise."""
    cfg = Config.fromfile(write(kind, mine, batch_size=1000,
                                epochs=epochs)[0])
    assert cfg.warm_up == (900 if kind == 'folders' and warm_up == 500 else
                           warm_up)


@pytest.mark.parametrize('kind', OLD)
def test_rate_of_a_batch_larger_than_the_data_set(kind, mine):
    """It is that of a batch of all images."""
    large = Config.fromfile(write(kind, mine, batch_size=1000)[0])
    count = large.auto_scale_lr.base_batch_size
    assert 0 < count < 1000
    exact = Config.fromfile(write(kind, mine, str(mine / 'exact.py'),
                                  batch_size=count)[0])
    assert large.lr == exact.lr
    assert large.train_dataloader.batch_size == 1000


@pytest.mark.parametrize(('size', 'note'), [
    ((32, 32), ''), ((20, 20), '3.2 times smaller'),
    ((20, 64), '3.2 times smaller')])
def test_images_much_larger_than_the_crops(size, note, mine):
    said = resizing_note(str(mine), size)
    assert note in said
    assert bool(note) == ('--tile-size 20' in said)


@pytest.mark.parametrize(('kind', 'size', 'note'), [
    ('boxes', None, ''), ('boxes', (16, 16), '100% of the boxes are below 8 '
                          'pixels in images of 16x16'),
    ('masks', None, ''), ('masks', (20, 20), '3.2 times smaller'),
    ('folders', (20, 20), '')])
def test_a_note_of_a_size_that_is_too_small(kind, size, note, mine):
    found = write(kind, mine, image_size=size).chosen.note
    assert found.startswith(note) if kind == 'boxes' else note in found
    assert bool(found) == bool(note)


def test_weights_that_were_not_published(mine):
    with pytest.raises(UserError, match='--weights published: none were'):
        write('boxes', mine, arch='b2', weights='published')
    assert 'No weights of b2 were published' in Path(
        write('boxes', mine, arch='b2')[0]).read_text()


@pytest.mark.parametrize('kind', OLD)
def test_is_plain(kind, mine):
    """Nothing in it is executed but names, numbers and comprehensions."""
    text = Path(write(kind, mine)[0]).read_text()
    assert all(len(line) < 80 for line in text.splitlines()
               if not line.startswith('_base_'))
    assert 'import' not in text
    assert 'globals' not in text


@pytest.mark.parametrize('kind', OLD)
def test_data_root_moves_it(kind, mine):
    cfg = read_config(write(kind, mine)[0])
    follow_data_root(cfg, dict(data_root='/elsewhere'))
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert cfg[name].dataset.data_root.rstrip('/') == '/elsewhere'
    if kind == 'boxes':
        assert cfg.val_evaluator.ann_file == '/elsewhere/val.json'


def test_an_existing_config_is_kept(run_here, mine, tmp_path):
    command = (TOOL, 'config', 'boxes', 'mine', '--arch', 'b0', '--batch-size',
               4)
    assert 'Written' in run_here(*command, cwd=tmp_path).stdout
    file = mine / 'retinanet_lowformer_b0_custom.py'
    written = file.read_text()
    rate = 'lr_with_weights = 2.5e-05\n'
    assert rate in written
    mine = rate.replace('2.5e-05', '0.001')
    file.write_text(written.replace(rate, mine))
    shown = run_here(*command, cwd=tmp_path).stdout
    assert f'-{mine}+{rate}' in shown
    assert '--overwrite' in shown
    assert mine in file.read_text()
    run_here(*command, '--overwrite', cwd=tmp_path)
    assert file.read_text() == written
    assert 'overwrite' not in run_here(*command, cwd=tmp_path).stdout


@pytest.mark.parametrize('name', [
    "'); raise SystemExit #", '{{ fileDirname }}', '{{_base_.model.type}}',
    "{{'$HOME:x'}}", '\\{{ fileDirname }}', '"""', 'a' * 300, '\u2028$lr'])
def test_names_are_never_evaluated(name, mine, tmp_path):
    for part in ('train', 'val'):
        content = json.loads((mine / f'{part}.json').read_text())
        content['categories'][0]['name'] = name.replace('\u2028', '')
        (mine / f'{part}.json').write_text(json.dumps(content))
    folder = mine.rename(tmp_path / name.replace('/', '')[:99])
    file, *_ = write('boxes', folder, str(tmp_path / 'config.py'),
                     batch_size=4)
    cfg = Config.fromfile(file)
    assert cfg.classes[0] == name.replace('\u2028', '')
    assert cfg.data_root == str(folder)
    assert cfg.lr == 2.5e-5


def test_literals():
    for value in ('{{x}}', '{{{{', ('a', ), tuple('abc' * 90), 5e-4, None):
        text = literal(value)
        assert '{{' not in text
        assert eval(text) == value


def test_other_folders(mine):
    """Images in a folder for each part need no lists."""
    for part in ('train', 'val'):
        (mine / f'{part}.txt').unlink()
    shutil.copytree(mine / 'images', mine / 'train')
    shutil.copytree(mine / 'images', mine / 'val')
    cfg = Config.fromfile(write('folders', mine)[0])
    assert cfg.train_dataloader.dataset.data_prefix == 'train'
    assert cfg.val_dataloader.dataset.ann_file == ''


def test_several_gpus_have_fewer_iterations(mine):
    one, two = (Config.fromfile(write(
        'masks', mine, overwrite=True, gpus=gpus, epochs=50,
        batch_size=8)[0]) for gpus in (1, 2))
    assert one.max_iters == 5 * 50
    assert two.max_iters == 3 * 50


@pytest.mark.parametrize(('kind', 'change', 'settings', 'message'), [
    ('boxes', lambda mine: (mine / 'val.json').unlink(), {},
     'must hold train.json, val.json, images or .* tools/data.py split'),
    ('masks', lambda mine: (mine / 'masks/classes.txt').unlink(), {},
     'classes.txt not found'),
    ('folders', lambda mine: None, dict(arch='b9'), '--arch b9: .*Did you'),
    ('boxes', lambda mine: (mine / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a', width=1, height=1)],
        categories=[dict(id=1, name='a')], annotations=[dict(
            id=1, image_id=1, category_id=1, bbox=[1])]))), {},
     'train.json: 1 x box that is not four')])
def test_what_is_refused(kind, change, settings, message, mine):
    change(mine)
    with pytest.raises(UserError, match=message):
        write(kind, mine, **settings)
    assert not list(mine.glob('*.py'))


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--size', '1', '2', '3'), '--size'), (('--epochs', '0'), '--epochs'),
    (('--out', 'x.txt'), 'must end in .py')])
def test_wrong_options(arguments, message, run_here, mine, tmp_path):
    result = run_here(TOOL, 'config', 'boxes', 'mine', *arguments,
                      cwd=tmp_path)
    assert result.returncode
    assert message in result.stdout + (result.stderr or '')
