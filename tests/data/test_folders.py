"""Data sets of a folder for each class."""
import shutil

import pytest

from mmlowformer import engine, get_config
from mmlowformer.data.folders import class_folders
from mmlowformer.engine import UserError


@pytest.fixture
def root(tmp_path, shapes):
    shutil.copytree(shapes / 'folders', tmp_path / 'folders')
    return tmp_path / 'folders'


@pytest.fixture
def cfg(root):
    cfg = get_config('lowformer_b0_shapes')
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.data_root = str(root)
    return cfg


def check(cfg):
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader'])


def test_complete(cfg):
    check(cfg)


def test_missing_imagenet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        check(get_config('lowformer_b1_in1k'))
    message = str(error.value)
    assert '\n' not in message
    assert f'{tmp_path}/data/imagenet/train' in message
    assert 'https://image-net.org' in message


def test_part_of_imagenet(root):
    cfg = get_config('lowformer_b1_in1k')
    cfg.train_dataloader.dataset.data_root = str(root)
    with pytest.raises(UserError, match='4 folders .circle, .* are 1000'):
        check(cfg)


def test_imagenet_with_a_list(root):
    cfg = get_config('lowformer_b1_in1k')
    (root / 'meta').mkdir()
    for split in ('train', 'val'):
        (root / 'meta' / f'{split}.txt').write_text('circle/000000.jpg 7\n')
        cfg[f'{split}_dataloader'].dataset.data_root = str(root)
    check(cfg)


def test_folder_too_many(cfg, root):
    (root / 'val' / 'hexagon').mkdir()
    with pytest.raises(UserError, match='val has 5 folders .*, but classes'):
        check(cfg)


def test_num_classes_forgotten(cfg):
    cfg.model.head.num_classes = 1000
    with pytest.raises(UserError, match="the head's num_classes of the "
                       'config is 1000'):
        check(cfg)


def test_other_names(cfg, root):
    (root / 'val' / 'star').rename(root / 'val' / 'hexagon')
    with pytest.raises(UserError, match='not the classes') as error:
        check(cfg)
    assert 'folders: circle, hexagon, square, triangle' in str(error.value)


def test_classes_in_another_order(cfg):
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.metainfo.classes = (
            'circle', 'square', 'triangle', 'star')
    with pytest.raises(UserError, match='not in this order'):
        check(cfg)


def test_no_folders(cfg, root):
    shutil.rmtree(root / 'val')
    (root / 'val').mkdir()
    with pytest.raises(UserError, match='val holds no folders'):
        check(cfg)


@pytest.mark.parametrize(('make', 'message'), [
    (lambda root: (root / '.ipynb_checkpoints').mkdir(), 'hidden folder'),
    (lambda root: (root / 'cat/.ipynb_checkpoints').mkdir(), 'hidden folder'),
    (lambda root: (root / 'Cat').mkdir(), 'two classes of one name')])
def test_folders_that_are_no_classes(make, message, tmp_path):
    (tmp_path / 'cat').mkdir()
    assert class_folders(str(tmp_path)) == ['cat']
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        class_folders(str(tmp_path))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda text: text, None),
    (lambda text: text.replace('circle/000000.jpg 0', 'circle/000000.jpg 1'),
     'of class 1, which is square'),
    (lambda text: text.replace(' 3', ' 4'), 'class of the number 4, of 4'),
    (lambda text: text.replace(' 3', ''), 'is no name of an image and number'),
    (lambda text: text.replace(' 3', ' -1'), 'is no name of an image and'),
    (lambda text: text.replace('\n', '\n\n', 1), 'line 2 is no name'),
    (lambda text: text.replace('000000', '999999'), '999999.jpg.* is not in'),
    (lambda text: text.replace('circle', '../circle'), 'that is no name'),
    (lambda text: '', 'is empty')])
def test_lists(change, message, cfg, root):
    names = sorted(path.relative_to(root / 'train').as_posix()
                   for path in (root / 'train').glob('*/*.jpg'))
    classes = sorted({name.split('/')[0] for name in names})
    (root / 'train.txt').write_text(change(''.join(
        f'{name} {classes.index(name.split("/")[0])}\n' for name in names)))
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    if message is None:
        check(cfg)
        return
    with pytest.raises(UserError, match=message):
        check(cfg)


def test_lists_without_labels(cfg, root):
    (root / 'names.txt').write_text('circle/000000.jpg\n')
    cfg.train_dataloader.dataset.update(ann_file='names.txt',
                                        with_label=False)
    check(cfg)
