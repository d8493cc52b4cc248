"""Segmentation masks that do not fit."""
import os
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from mmlowformer import engine, get_config
from mmlowformer.datasets.checks import masks
from mmlowformer.datasets.image_errors import name_images_in_errors
from mmlowformer.engine import UserError


@pytest.fixture
def root(tmp_path, shapes):
    shutil.copytree(shapes / 'ade', tmp_path / 'ade')
    return tmp_path / 'ade'


@pytest.fixture
def cfg(root):
    cfg = get_config('fpn_lowformer_b0_shapes')
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.data_root = str(root)
    return cfg


@pytest.fixture
def mask(root):
    return root / 'annotations' / 'training' / '000002.png'


def check(cfg):
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader'])


def test_complete(cfg):
    check(cfg)


def test_missing_ade20k(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        check(get_config('fpn_lowformer_b1_ade20k'))
    message = str(error.value)
    assert '\n' not in message
    assert (f'{tmp_path}/data/ade/ADEChallengeData2016/images/training'
            in message)
    assert 'ADEChallengeData2016.zip' in message
    assert 'data_root=FOLDER' in message


def test_classes_of_another_order(cfg, root):
    """classes.txt beside masks says what their values mean."""
    classes = list(cfg.train_dataloader.dataset.metainfo.classes)
    file = root / 'annotations' / 'training' / 'classes.txt'
    # The value 0 is no class here.
    file.write_text('\n'.join(['none', *classes]))
    check(cfg)
    file.write_text('\n'.join(['none', *classes[::-1]]))
    with pytest.raises(UserError, match='or their order'):
        check(cfg)


def test_value_beyond_the_classes(cfg, mask):
    image = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    image[3, 4] = 6
    cv2.imwrite(str(mask), image)
    with pytest.raises(UserError, match='000002.png .* the 5 classes: 6; it '
                       'may hold 1 to 5, and 0 or 255'):
        check(cfg)


def test_values_without_a_class(cfg, mask):
    image = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    image[:2], image[2:4] = 0, 255
    cv2.imwrite(str(mask), image)
    check(cfg)


def test_zero_is_a_class(cfg, mask):
    """Without reduce_zero_label the 5 of the last class is one too many."""
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.reduce_zero_label = False
    cv2.imwrite(str(mask), np.full((64, 64), 5, np.uint8))
    with pytest.raises(UserError, match='5 classes: 5; .* 0 to 4, and 255 for '
                       'no class'):
        check(cfg)


def test_other_size(cfg, mask):
    cv2.imwrite(str(mask), np.ones((64, 32), np.uint8))
    with pytest.raises(UserError, match='000002.png of .*000002.jpg has '
                       'another size than its image: 32x64, not 64x64'):
        check(cfg)


def test_image_on_its_side(cfg, root, mask):
    """OpenCV turns images as EXIF says, so the mask has to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (64, 32)).save(
        root / 'images' / 'training' / '000002.jpg', exif=exif)
    cv2.imwrite(str(mask), np.ones((64, 32), np.uint8))
    check(cfg)


def test_colours(cfg, mask):
    cv2.imwrite(str(mask), np.ones((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match='needs a single channel'):
        check(cfg)


def test_missing_mask(cfg, mask):
    mask.unlink()
    with pytest.raises(UserError, match='mask not found: .*000002.png, of '
                       'image .*000002.jpg'):
        check(cfg)


@pytest.mark.parametrize('which', ['mask', 'image'])
def test_truncated(cfg, root, mask, which):
    file = mask if which == 'mask' else (
        root / 'images' / 'training' / '000002.jpg')
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(UserError, match='000002.* cannot be read'):
        check(cfg)


def test_no_images(cfg):
    cfg.train_dataloader.dataset.img_suffix = '.webp'
    with pytest.raises(UserError, match=r'no images in .*training.*\.webp'):
        check(cfg)


def test_num_classes_forgotten(cfg):
    cfg.model.decode_head.num_classes = 150
    with pytest.raises(UserError, match='num_classes is 150, .* 5 classes'):
        check(cfg)


def test_images_alone(cfg):
    """Without masks, as for a test set, there is nothing to check."""
    dataset = cfg.val_dataloader.dataset
    dataset.pipeline = [dataset.pipeline[0], dataset.pipeline[-1]]
    dataset.data_prefix = dict(img_path=dataset.data_prefix.img_path)
    check(cfg)


def write_masks(root, values, part='training'):
    for file in (root / 'annotations' / part).glob('*.png'):
        mask = np.zeros((64, 64), np.uint8)
        mask.reshape(-1)[:len(values)] = values
        Image.fromarray(mask).save(file)


def zero_is_a_class(cfg):
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.reduce_zero_label = False
        cfg[name].dataset.pipeline[-2 if name[0] == 'v' else 1].pop(
            'reduce_zero_label', None)


@pytest.mark.parametrize('part', ['training', 'validation'])
def test_0_and_255(cfg, root, part):
    zero_is_a_class(cfg)
    for each in ('training', 'validation'):
        write_masks(root, [0, 1, 2, 3, 4], each)
    write_masks(root, [255] * 9, part)
    with pytest.raises(UserError, match=f'{part} hold only 0 and 255.* write '
                       '1 instead'):
        check(cfg)


def test_nothing_but_ignored(cfg, root):
    write_masks(root, [255] * 64 * 64)
    with pytest.raises(UserError, match='hold only 255'):
        check(cfg)


def test_classes_that_never_occur(cfg, root, log):
    write_masks(root, [1, 2, 5])
    check(cfg)
    assert 'training hold no pixel of square, triangle: 2 of 5' in log.text


@pytest.fixture
def decoded(monkeypatch):
    """Count the masks that a check decodes, one of a batch, by folder."""
    counts = Counter()

    def read(path, check=masks.invalid_value):
        counts[os.path.basename(os.path.dirname(path))] += 1
        return check(path)

    monkeypatch.setattr(masks, 'FEWEST_MASKS', 1)
    monkeypatch.setattr(masks, 'invalid_value', read)
    return counts


def count_masks(root, part):
    return len(list((root / 'annotations' / part).glob('*.png')))


def test_some_masks_before_a_training(cfg, root, decoded, log):
    """Until each class has been found; of the validation, all masks."""
    write_masks(root, [1, 2, 3, 4, 5])
    check(cfg)
    assert decoded == dict(training=1,
                           validation=count_masks(root, 'validation'))
    assert 'hold no pixel' not in log.text


def test_all_masks_in_search_of_a_class(cfg, root, decoded, log):
    write_masks(root, [1, 2, 3, 4])
    check(cfg)
    count = count_masks(root, 'training')
    assert count > 1
    assert decoded['training'] == count
    assert f'The {count} masks of' in log.text


def test_each_mask_exists(cfg, root, decoded):
    write_masks(root, [1, 2, 3, 4, 5])
    for file in list((root / 'annotations/training').iterdir())[1:]:
        file.unlink()
    with pytest.raises(UserError, match='mask not found'):
        check(cfg)
    assert not decoded


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda file: Image.fromarray(np.full((64, 64), 6, np.uint8)).save(file),
     r'mask \S*000002.png has a value beyond the 5 classes: 6; it may hold 1 '
     'to 5, and 0 or 255'),
    (lambda file: file.write_bytes(b'x'), '000002.png cannot be decoded')])
def test_masks_are_checked_while_they_are_loaded(cfg, mask, spoil, message):
    spoil(mask)
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    name_images_in_errors(dataset)
    files = [os.path.basename(dataset.get_data_info(index)['seg_map_path'])
             for index in range(len(dataset))]
    for index, file in enumerate(files):
        if file != mask.name:
            assert 'gt_sem_seg' in dataset[index]['data_samples']
    with pytest.raises(UserError, match=message):
        dataset[files.index(mask.name)]


@pytest.mark.parametrize(('values', 'suffix', 'message'), [
    (np.full((64, 64), 257, np.uint16), 'png', 'value 257'),
    (np.full((64, 64), 65536 + 1, np.int32), 'tif', 'value 65537'),
    (np.full((64, 64), -1, np.int32), 'tif', 'value -1'),
    (np.full((64, 64), .5, np.float32), 'tif', 'value 0.5'),
    (np.full((64, 64), np.nan, np.float32), 'tif', 'value nan')])
def test_values_that_would_wrap(cfg, mask, values, suffix, message):
    Image.fromarray(values).save(mask, format=dict(png='PNG', tif='TIFF')[
        suffix])
    with pytest.raises(UserError, match=f'000002.png holds the {message}: '
                       'class numbers are integers'):
        check(cfg)


def test_wide_masks_of_class_numbers(cfg, mask):
    Image.fromarray(np.full((64, 64), 3, np.uint16)).save(mask)
    check(cfg)


def test_pipe(cfg, mask):
    mask.unlink()
    os.mkfifo(mask)
    with pytest.raises(UserError, match='000002.png is not a regular file'):
        check(cfg)
