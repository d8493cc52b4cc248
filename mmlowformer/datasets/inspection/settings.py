"""Image size, batch size and length of a training on custom data."""
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from ..formats import AnnotatedImage, ImageFolder

# Images whose sizes are read to know those of all.
SAMPLES = 50
# Limits of image sizes, and the step between them, that of feature maps.
SMALLEST, LARGEST, STEP = 128, 1024, 32
# Enlarging images further adds no detail.
ENLARGED = 2
# Boxes below have a single cell on the finest feature map, of stride 8.
HARDLY_SEEN = 8
FEWEST_EPOCHS, MOST_EPOCHS = 12, 300
# How much larger than the crops images to segment may be.
MUCH_LARGER = 2
# Of tiles, relative to their side.
LARGEST_OVERLAP = 0.5


class Budget(NamedTuple):
    """What a training of a task needs, for images of a usual size."""

    image_size: int
    batch_size: int  # of images of that size
    iterations: int  # from published weights, on a small data set


BUDGETS = dict(boxes=Budget(512, 8, 3000), masks=Budget(512, 8, 3000),
               folders=Budget(224, 32, 2000))


class BoxSizes(NamedTuple):
    """Square roots of the areas of boxes."""

    pixels: np.ndarray  # in the image
    relative: np.ndarray  # to the longer side of the image

    def quantiles(self, *fractions: float) -> list[float]:
        """Quantiles in pixels."""
        return np.quantile(self.pixels, fractions).tolist()

    def quantiles_at(self, size: int, *fractions: float) -> list[float]:
        """Quantiles if the longer sides of images are resized to a size."""
        return (size * np.quantile(self.relative, fractions)).tolist()

    def below(self, limit: float, size: int) -> float:
        """The fraction of boxes that are smaller after resizing."""
        return float((self.relative * size < limit).mean())


class TrainingSettings(NamedTuple):
    """How long a training is."""

    batch_size: int  # per GPU
    epochs: int
    iterations: int  # per epoch

    def describe(self) -> str:
        """The options of ``tools/data.py config``."""
        return (f'--batch-size {self.batch_size} --epochs {self.epochs}: '
                f'{self.epochs * self.iterations} iterations, '
                f'{self.iterations} per epoch')


class Tiling(NamedTuple):
    """Options of ``tools/data.py tile``."""

    size: int
    overlap: float


def box_sizes(annotated: Sequence[AnnotatedImage]) -> BoxSizes | None:
    """Sizes of the boxes to learn, None if there are none."""
    values = np.fromiter(
        (((right - left) * (bottom - top), max(image.width, image.height))
         for image in annotated for item in image.annotations
         if not item.ignored for left, top, right, bottom in [item.box]),
        np.dtype((np.float32, 2)))
    if not len(values):
        return None
    pixels = np.sqrt(values[:, 0].clip(1e-6))
    return BoxSizes(pixels, pixels / values[:, 1])


def sampled_sizes(images: ImageFolder) -> list[tuple[int, int]]:
    """Width and height of some images of a folder."""
    return [size for name in images.names[::-(-len(images.names) // SAMPLES)]
            if (size := images.size(name))]


def usual_side(sizes: Sequence[tuple[float, float]]) -> int:
    """The longer side of an image, the median."""
    return int(median(map(max, sizes))) if sizes else 0


def choose_image_size(kind: str, side: int, boxes: BoxSizes | None = None,
                      smallest: float = 0) -> int:
    """A size at which nine of ten boxes are large enough for an anchor.

    Smaller images are not enlarged for anything else.
    """
    usual = BUDGETS[kind].image_size
    if kind == 'folders' or not side:
        return usual
    size: float = min(usual, side)
    if boxes:
        needed = smallest / boxes.quantiles_at(1, 0.1)[0]
        size = max(size, min(needed, ENLARGED * side))
    return int(min(max(-(-size // STEP) * STEP, SMALLEST), LARGEST))


def advised_size(annotated: Sequence[AnnotatedImage], smallest: float) -> int:
    """The image size for a detector that needs boxes of a size."""
    return choose_image_size(
        'boxes', usual_side([image[1:3] for image in annotated]),
        box_sizes(annotated), smallest)


def choose_tiles(side: int, boxes: BoxSizes, smallest: float
                 ) -> Tiling | None:
    """Tiles, if resizing whole images would make their boxes too small.

    The overlap holds nine of ten boxes.
    """
    usual = BUDGETS['boxes'].image_size
    size = choose_image_size('boxes', side, boxes, smallest)
    low, high = boxes.quantiles(0.1, 0.9)
    factor = min(max(smallest / low, 1), ENLARGED)
    tile = max(usual / factor, 2 * high)
    tile = int(-(-tile // STEP) * STEP)
    if boxes.quantiles_at(size, 0.1)[0] >= smallest / 2 or side <= 2 * tile:
        return None
    overlap = max(0.2, -(-high / tile // 0.05) * 0.05)
    return Tiling(tile, round(min(overlap, LARGEST_OVERLAP), 2))


def choose_settings(kind: str, count: int, image_size: Sequence[int],
                    batch_size: int | None = None, epochs: int | None = None,
                    gpus: int = 1) -> TrainingSettings:
    """Complete the settings of a training on so many images."""
    budget = BUDGETS[kind]
    if batch_size is None:
        # As many pixels as usual, but several iterations per epoch.
        fits = budget.batch_size * budget.image_size ** 2 // max(
            1, image_size[0] * image_size[1])
        batch_size = max(1, min(budget.batch_size, fits, count // gpus,
                                max(2, count // (4 * gpus))))
    iterations = -(-count // (batch_size * gpus))
    if epochs is None:
        epochs = min(max(-(-budget.iterations // max(1, iterations)),
                         FEWEST_EPOCHS), MOST_EPOCHS)
    return TrainingSettings(batch_size, epochs, iterations)


def small_boxes_note(annotated: Sequence[AnnotatedImage],
                     size: tuple[int, int]) -> str:
    """What to do if a detector would hardly see the boxes."""
    boxes = box_sizes(annotated)
    tiny = boxes.below(HARDLY_SEEN, max(size)) if boxes else 0
    if tiny <= 0.5:
        return ''
    return (f'{tiny:.0%} of the boxes are below {HARDLY_SEEN} pixels in '
            f'images of {size[0]}x{size[1]}, where a detector hardly sees '
            'them: tools/data.py inspect advises a size or tiles')


def describe_resizing(width: int, height: int, crop: Sequence[int]) -> str:
    """What to do if images to segment are much larger than the crops."""
    factor = max(max(width, height) / max(crop),
                 min(width, height) / min(crop))
    if factor <= MUCH_LARGER:
        return ''
    return (f'Images of {width}x{height} are resized {factor:.1f} times '
            'smaller before they are cropped. If small objects matter, choose '
            'a larger --size, or cut tiles: tools/data.py tile --tile-size '
            f'{min(crop)} (of a COCO file), and tools/predict.py --tile-size '
            f'{min(crop)}')
