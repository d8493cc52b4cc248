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


def draw_scene(boxes, size=600, right=True, **kwargs):
    image = np.full((size, size, 3), 100, np.uint8)
    names = ['dead tree'] * len(boxes)
    return np.asarray(drawing.draw_boxes(image, drawing.Boxes(
        boxes, [0] * len(boxes), names, [right] * len(boxes), names, **kwargs),
        PALETTE))[..., 0]


def grid(step, side):
    places = np.mgrid[20:580:step, 20:580:step].reshape(2, -1).T
    return np.hstack([places, places + side]).astype(float)


def hidden(picture, boxes):
    """The part of the boxes' pixels that something covers, at most."""
    parts = [picture[top:bottom, left:right] for
             left, top, right, bottom in (boxes + drawing.MARGIN).astype(int)]
    return np.mean(np.stack(parts) != 100, (1, 2)).max()


@pytest.mark.parametrize('step', [25, 45, 100])
def test_texts_hide_no_objects(step):
    boxes = grid(step, 18)
    picture = draw_scene(boxes)
    assert hidden(picture, boxes) <= drawing.MOST_HIDDEN
    lower_margin = picture[-drawing.MARGIN:]
    has_legend = (lower_margin == PALETTE[0][0]).any()
    assert has_legend == (step < 100)
    # A video's frames have one size.
    assert picture.shape == draw_scene(boxes[:1]).shape


def test_numbers_stand_for_texts_where_these_have_no_room():
    boxes = grid(45, 18)
    picture = draw_scene(boxes, numbers=list(range(len(boxes))))
    assert hidden(picture, boxes) <= drawing.MOST_HIDDEN
    assert (picture == PALETTE[0][0]).sum() > (
        draw_scene(boxes) == PALETTE[0][0]).sum()
    assert (picture[-drawing.MARGIN:] == PALETTE[0][0]).sum() == 0


@pytest.mark.parametrize('right', [True, False])
@pytest.mark.parametrize(('side', 'line'), [
    (2, 1), (10, 1), (24, 2), (100, 3)])
def test_lines_are_thin_and_around_objects(right, side, line):
    """All pixels of an object stay visible."""
    box = np.array([[300., 300, 300 + side, 300 + side]])
    picture = draw_scene(box, right=right)
    assert hidden(picture, box) == 0
    row = picture[drawing.MARGIN + 300 - line]
    column = picture[:, drawing.MARGIN + 300 - line]
    assert row[drawing.MARGIN + 300 - line] == PALETTE[0][0]
    for pixels in row, column:
        assert (pixels == PALETTE[0][0]).sum() > side / 3
    assert (picture[drawing.MARGIN + 300 + side // 2] == PALETTE[0][0]
            ).sum() in ((2 * line, ) if right else (0, line, 2 * line))


def test_a_legend_names_a_color_that_no_text_names():
    """The only box of a class has no room for its text."""
    image = np.full((600, 600, 3), 100, np.uint8)
    boxes = np.array([[60., 100, 560, 120], [60, 300, 560, 320],
                      [60, 500, 560, 520], [300, 506, 304, 510]])
    around = [[290., y, 310, y + 10] for y in range(460, 580, 12)]
    names = ['tree'] * 3 + ['rare']
    for corners, legend in ((boxes, False),
                            (np.vstack([boxes, around]), True)):
        labels = [0, 0, 0, 1] + [0] * (len(corners) - 4)
        texts = names + ['tree'] * (len(corners) - 4)
        picture = np.asarray(drawing.draw_boxes(image, drawing.Boxes(
            corners, labels, texts, [True] * len(corners), texts), PALETTE))
        lower = picture[-drawing.MARGIN:].reshape(-1, 3)
        assert (lower == PALETTE[1]).all(1).any() == legend


def test_thousands_of_boxes_are_drawn_at_once():
    assert draw_scene(grid(9, 6)).shape == (642, 642)
