"""Sizes and lengths that a training should have."""
import numpy as np
import pytest

from mmlowformer.datasets.formats import AnnotatedImage, Annotation
from mmlowformer.datasets.inspection.settings import (
    BoxSizes,
    Tiling,
    box_sizes,
    choose_image_size,
    choose_settings,
    choose_tiles,
)

# Of RetinaNet's anchors.
SMALLEST = 32 * 0.5 ** 0.5


def boxes(side, low, high):
    pixels = np.linspace(low, high, 101)
    return BoxSizes(pixels, pixels / side)


@pytest.mark.parametrize(('side', 'low', 'high', 'size', 'tiles'), [
    # Images with large objects are neither enlarged nor cut.
    (640, 60, 300, 512, None), (64, 20, 40, 128, None),
    (6000, 900, 3000, 512, None),
    # Smaller ones need larger images.
    (640, 20, 100, 544, None), (1600, 30, 90, 1024, None),
    # Twice the size shows all that there is.
    (300, 3, 9, 608, None),
    # Of scenes the tiles are as large as usual, or smaller to be enlarged.
    (6000, 30, 80, 1024, Tiling(512, 0.2)),
    (6000, 10, 30, 1024, Tiling(288, 0.2)),
    (6000, 20, 400, 1024, Tiling(736, 0.5))])
def test_image_size_and_tiles(side, low, high, size, tiles):
    sizes = boxes(side, low, high)
    assert choose_image_size('boxes', side, sizes, SMALLEST) == size
    assert choose_tiles(side, sizes, SMALLEST) == tiles
    if tiles:
        # The overlap holds a box, and the anchors fit the boxes in a tile.
        inner = boxes(tiles.size, low, high)
        chosen = choose_image_size('boxes', tiles.size, inner, SMALLEST)
        assert tiles.overlap * tiles.size >= sizes.quantiles(0.9)[0]
        assert inner.quantiles_at(chosen, 0.1)[0] >= 0.9 * SMALLEST
        assert choose_tiles(tiles.size, inner, SMALLEST) is None


def test_boxes_to_learn():
    image = AnnotatedImage('a', 100, 400, [
        Annotation('a', (0, 0, 10, 40)),
        Annotation('a', (0, 0, 1, 1), ignored=True)])
    sizes = box_sizes([image])
    assert sizes.pixels == pytest.approx([20])
    assert sizes.relative == pytest.approx([0.05])
    assert sizes.below(8, 160) == 0
    assert sizes.below(8, 150) == 1
    assert box_sizes([image._replace(annotations=[])]) is None


@pytest.mark.parametrize(('kind', 'count', 'size', 'chosen'), [
    ('boxes', 38, (512, 512), (8, 300, 5)),
    ('boxes', 8, (512, 512), (2, 300, 4)),
    ('boxes', 4000, (512, 512), (8, 12, 500)),
    ('boxes', 400, (512, 512), (8, 60, 50)),
    ('boxes', 400, (1024, 1024), (2, 15, 200)),
    ('folders', 640, (224, 224), (32, 100, 20)),
    ('boxes', 1, (512, 512), (1, 300, 1)),
    ('masks', 0, (512, 512), (1, 300, 0))])
def test_epochs_follow_the_iterations(kind, count, size, chosen):
    assert choose_settings(kind, count, size) == chosen


def test_what_is_chosen_is_kept():
    assert choose_settings('boxes', 100, (512, 512), 5, 7, 2) == (5, 7, 10)
