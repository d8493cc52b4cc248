"""Pictures of large images: the same as the whole image gives."""
import numpy as np
import pytest
from PIL import Image

from mmlowformer.visualization import drawing

PALETTE = [(200, 30, 30), (0, 90, 255)]


def resized(picture, shape):
    """All of an image at once."""
    scale = drawing.LARGEST_SIDE / max(shape)
    return np.asarray(picture.resize(
        [max(1, round(side * scale)) for side in shape[1::-1]],
        Image.Resampling.LANCZOS))


def without_frame(picture):
    margin = drawing.MARGIN
    return np.asarray(picture)[margin:-margin, margin:-margin]


def random_image(shape):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (*shape, 3), np.uint8)


@pytest.fixture(params=[((90, 160), 10_000), ((170, 99), 10_000),
                        ((300, 4), 2000)], ids=str)
def image(request, monkeypatch):
    """Larger than LARGE, or of a shape that Pillow resizes in another way."""
    shape, large = request.param
    for name, value in dict(SMALLEST_SIDE=1, LARGEST_SIDE=50, BLOCK=1000,
                            LARGE=large).items():
        monkeypatch.setattr(drawing, name, value)
    return random_image(shape)


def test_boxes(image):
    found = without_frame(drawing.draw_boxes(
        image, drawing.Boxes([], [], [], []), PALETTE))
    np.testing.assert_array_equal(found, resized(Image.fromarray(image),
                                                 image.shape))


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_masks(image, dtype):
    """As in floats; labels without a color stay gray."""
    mask = np.random.default_rng(1).integers(0, 4, image.shape[:2], dtype)
    gray = image.mean(2, keepdims=True).repeat(3, 2)
    tint = gray.copy()
    for label, color in enumerate(PALETTE):
        tint[mask == label] = color
    expected = (gray * 0.35 + tint * 0.65).astype(np.uint8)
    found = without_frame(drawing.draw_mask(image, mask, PALETTE))
    np.testing.assert_array_equal(found, resized(Image.fromarray(expected),
                                                 image.shape))


def test_masks_of_as_many_labels_as_a_byte_has():
    image = np.zeros((400, 400, 3), np.uint8)
    found = drawing.draw_mask(image, np.full((400, 400), 255, np.uint8),
                              [(0, 0, 0)] * 255 + [(100, 0, 0)])
    assert (without_frame(found) == (65, 0, 0)).all()


def draw_scene(boxes, size=600, **kwargs):
    image = np.full((size, size, 3), 100, np.uint8)
    names = ['dead tree'] * len(boxes)
    return np.asarray(drawing.draw_boxes(image, drawing.Boxes(
        boxes, [0] * len(boxes), names, [True] * len(boxes), names, **kwargs),
        PALETTE))[..., 0]


def grid(step, side):
    places = np.mgrid[20:580:step, 20:580:step].reshape(2, -1).T
    return np.hstack([places, places + side]).astype(float)


def hidden(picture, boxes):
    """The part of the boxes' inner pixels that something covers."""
    parts = [picture[top + 3:bottom - 3, left + 3:right - 3] for
             left, top, right, bottom in (boxes + drawing.MARGIN).astype(int)]
    return np.mean(np.stack(parts) != 100)


@pytest.mark.parametrize('step', [25, 45, 100])
def test_texts_hide_no_objects(step):
    boxes = grid(step, 18)
    picture = draw_scene(boxes)
    assert hidden(picture, boxes) < 0.05
    lower_margin = picture[-drawing.MARGIN:]
    has_legend = (lower_margin == PALETTE[0][0]).any()
    assert has_legend == (step < 100)
    # A video's frames have one size.
    assert picture.shape == draw_scene(boxes[:1]).shape


def test_numbers_stand_for_texts_where_these_have_no_room():
    boxes = grid(45, 18)
    picture = draw_scene(boxes, numbers=list(range(len(boxes))))
    assert hidden(picture, boxes) < 0.05
    assert (picture == PALETTE[0][0]).sum() > (
        draw_scene(boxes) == PALETTE[0][0]).sum()
    assert (picture[-drawing.MARGIN:] == PALETTE[0][0]).sum() == 0


def test_lines_are_thin_around_small_objects():
    """An object of a few pixels stays visible."""
    for side, line in (10, 1), (24, 2), (100, 3):
        picture = draw_scene(np.array([[300., 300, 300 + side, 300 + side]]))
        row = picture[drawing.MARGIN + 300 + side // 2]
        assert (row == PALETTE[0][0]).sum() == 2 * line


def test_thousands_of_boxes_are_drawn_at_once():
    assert draw_scene(grid(9, 6)).shape == (642, 642)
