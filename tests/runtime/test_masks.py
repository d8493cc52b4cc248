"""Masks of labels in blocks: the same as the library makes of the whole."""
import numpy as np
import pytest

from mmlowformer.runtime import masks
from mmlowformer.runtime.results import Segmentation


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(masks, 'BLOCK', 100)


def random_mask(shape, classes, dtype=np.uint8, smallest=1):
    """Rectangles, of which some go from column to column."""
    generator = np.random.default_rng(0)
    mask = np.zeros(shape, dtype)
    for label in [*range(classes), *range(classes)]:
        top, left = (generator.integers(side) for side in shape)
        mask[top:top + smallest + generator.integers(shape[0]),
             left:left + smallest + generator.integers(shape[1])] = label
    return mask


MASKS = dict(
    rectangles=random_mask((37, 53), 6),
    noise=np.random.default_rng(0).integers(0, 4, (31, 29), np.uint8),
    many=random_mask((40, 30), 300, np.uint16),
    one_label=np.full((15, 25), 3, np.uint8),
    none_but_the_last=np.arange(20 * 7).reshape(20, 7) // 139,
    row=np.arange(50, dtype=np.uint8)[None] // 7,
    column=np.arange(500)[:, None] // 9,
    fortran=np.asfortranarray(random_mask((37, 53), 6)))


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_each_label_is_encoded_like_a_mask_of_its_own(mask):
    codes = masks.encode_labels(mask)
    assert codes == {label: masks.encode_rle(mask == label)
                     for label in np.unique(mask).tolist()}


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_records_are_those_of_the_whole_mask(mask):
    classes = [f'class {label}' for label in range(300)]
    result = Segmentation(name='a.png', mask=mask, classes=classes)
    assert result.json() == [dict(
        file_name='a.png', category_id=label + 1,
        category_name=classes[label], area=int((mask == label).sum()),
        share=float((mask == label).mean()),
        segmentation=masks.encode_rle(mask == label))
        for label in np.unique(mask).tolist()]
    labels, counts = np.unique(mask, return_counts=True)
    assert result.class_fractions == {
        classes[label]: count / mask.size
        for label, count in zip(labels, counts)}
    fractions = list(result.class_fractions.values())
    assert fractions == sorted(fractions, reverse=True)


@pytest.mark.parametrize(('classes', 'mode'), [
    (1, 'P'), (256, 'P'), (257, 'I;16')])
def test_values_of_pictures_are_labels(classes, mode):
    mask = random_mask((20, 30), classes, masks.label_dtype(classes))
    picture = Segmentation(
        mask=mask, classes=['a'] * classes,
        palette=[(label % 256, 1, 2) for label in range(classes)]).indexed()
    assert picture.mode == mode
    np.testing.assert_array_equal(np.asarray(picture), mask)
    if mode == 'P':
        assert picture.getpalette()[-3:] == [classes - 1, 1, 2]


def test_more_pixels_than_coco_can_encode(monkeypatch):
    monkeypatch.setattr('mmlowformer.runtime.results.MAX_RLE_PIXELS', 5)
    record, = Segmentation(mask=np.zeros((2, 3), np.uint8),
                           classes=['a']).json()
    assert record['area'] == 6
    assert 'segmentation' not in record
