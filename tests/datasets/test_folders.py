"""Data sets of a folder for each class."""
import shutil
from pathlib import Path

import pytest

from mmlowformer import engine, get_config
from mmlowformer.datasets.checks.class_folders import class_folders
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


def test_a_class_that_is_missing_in_a_part(cfg, root):
    shutil.rmtree(root / 'val/star')
    with pytest.raises(UserError, match='without images there .star., create '
                       'empty folders in ') as error:
        check(cfg)
    (Path(str(error.value).rpartition(' ')[2]) / 'star').mkdir()
    check(cfg)


def test_imagenet_with_a_list(root):
    cfg = get_config('lowformer_b1_in1k')
    (root / 'meta').mkdir()
    for split in ('train', 'val'):
        image = next((root / split).glob('circle/*.jpg')).name
        (root / 'meta' / f'{split}.txt').write_text(f'circle/{image} 7\n')
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


LISTED = ['circle', 'square', 'star', 'triangle']


@pytest.fixture
def listed(cfg, root):
    """The same data sets, by lists."""
    for part in ('train', 'val'):
        lines = [f'{path.parent.name}/{path.name} '
                 f'{LISTED.index(path.parent.name)}'
                 for path in sorted((root / part).glob('*/*.jpg'))]
        (root / f'{part}.txt').write_text('\n'.join(lines))
        cfg[f'{part}_dataloader'].dataset.ann_file = f'{part}.txt'
    return cfg


def set_classes(cfg, names, *parts):
    for part in parts or ('train', 'val'):
        cfg[f'{part}_dataloader'].dataset.metainfo.classes = names


def test_an_image_with_two_numbers(listed, root):
    with (root / 'train.txt').open('a') as file:
        file.write('\ncircle/000000.jpg 1')
    with pytest.raises(UserError, match='the classes 0 and 1'):
        check(listed)


def test_a_class_that_was_added_after_the_split(listed, log):
    """Folders are sorted; the lists have the numbers of before."""
    listed.model.head.num_classes = 5
    set_classes(listed, (*LISTED, 'zebra'))
    check(listed)
    assert 'no image of zebra: 1 of 5 classes' in log.text
    set_classes(listed, ('arrow', *LISTED))
    with pytest.raises(UserError, match='circle is class 1. Split'):
        check(listed)


def test_classes_of_two_orders(listed):
    set_classes(listed, LISTED[::-1])
    with pytest.raises(UserError, match='circle is class 3'):
        check(listed)


def test_training_and_validation_of_two_orders(listed, root):
    """Whatever the folders are called."""
    for part in ('train', 'val'):
        (root / part / 'circle').rename(root / part / 'a')
        file = root / f'{part}.txt'
        file.write_text(file.read_text().replace('circle', 'a'))
    set_classes(listed, ('x', 'y', 'z', 'w'))
    check(listed)
    set_classes(listed, ('y', 'x', 'z', 'w'), 'val')
    with pytest.raises(UserError, match='is class . of train_dataloader, but'):
        check(listed)


def test_classes_in_a_file(listed, root):
    """As MMPreTrain's ``classes``."""
    for part in ('train', 'val'):
        dataset = listed[f'{part}_dataloader'].dataset
        del dataset.metainfo
        dataset.classes = str(root / 'names.txt')
    (root / 'names.txt').write_text('\n'.join(LISTED))
    check(listed)
    (root / 'names.txt').write_text('\n'.join(LISTED[::-1]))
    with pytest.raises(UserError, match='circle is class 3'):
        check(listed)


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
     'circle is class 0'),
    (lambda text: text.replace(' 3', ' 4'),
     'the class 4, but 4 classes end at 3'),
    (lambda text: text.replace(' 3', ''), 'is not an image name'),
    (lambda text: text.replace(' 3', ' -1'), 'is not an image name'),
    (lambda text: text.replace('\n', '\n\n', 1), 'line 2 is not an image'),
    (lambda text: text.replace('000000', '999999'), 'are not in .*999999.jpg'),
    (lambda text: text.replace('circle', '../circle'), 'not a file name'),
    (lambda text: '', 'is empty')])
def test_lists(change, message, listed, root):
    file = root / 'train.txt'
    file.write_text(change(file.read_text()))
    if message is None:
        check(listed)
        return
    with pytest.raises(UserError, match=message):
        check(listed)


def test_lists_without_labels(cfg, root):
    (root / 'names.txt').write_text('circle/000000.jpg\n')
    cfg.train_dataloader.dataset.update(ann_file='names.txt',
                                        with_label=False)
    check(cfg)
