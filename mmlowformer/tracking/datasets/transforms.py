"""Transforms from a video's record to a training pair, or to a test video.

The parts of a pair, ``template`` and ``search``, are dicts of ``path``,
``image`` and ``box``: left, top, width and height in the image, and after
``PairCrop`` the corners as fractions of the region.
"""
import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement

from ...registry import TRANSFORMS
from ...utils.images import OPENCV, read
from ...utils.imports import warn_renamed
from ..crop_region import Region
from ..saved_tracks import read_track

PARTS = ('template', 'search')


def _parts(results: dict) -> list[dict]:
    return [results[name] for name in PARTS]


@TRANSFORMS.register_module()
class SamplePair(BaseTransform):
    """Samples two frames with a visible object, the template first.

    A video of one frame gives it twice.

    Args:
        max_gap (int): Largest distance of the frames. Defaults to 200.
    """

    def __init__(self, max_gap: int = 200):
        self.max_gap = max_gap

    def transform(self, results: dict) -> dict | None:
        """Return a pair, or None if the video has none."""
        rng, visible = results['rng'], np.flatnonzero(results['visible'])
        if not len(visible):
            return None
        first = rng.choice(visible)
        later = visible[(visible > first) & (visible <= first + self.max_gap)]
        if len(results['frames']) == 1:
            later = visible
        if not len(later):
            return None
        chosen = dict(template=first, search=rng.choice(later))
        return dict(rng=rng, name=results['name'], **{
            part: dict(path=results['frames'][index],
                       box=results['boxes'][index].tolist())
            for part, index in chosen.items()})


@TRANSFORMS.register_module()
class LoadPair(BaseTransform):
    """Reads the two frames."""

    def transform(self, results: dict) -> dict:
        for part in _parts(results):
            part['image'] = read(part['path'], OPENCV)
        return results


@TRANSFORMS.register_module()
class PairRandomGrayscale(BaseTransform):
    """Converts both images to grayscale at random.

    Args:
        prob (float): Probability. Defaults to 0.05.
    """

    def __init__(self, prob: float = 0.05):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if results['rng'].random() < self.prob:
            for part in _parts(results):
                gray = cv2.cvtColor(part['image'], cv2.COLOR_BGR2GRAY)
                part['image'] = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
        return results


@TRANSFORMS.register_module()
class PairRandomFlip(BaseTransform):
    """Flips both images horizontally at random, before ``PairCrop``.

    Args:
        prob (float): Probability. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if results['rng'].random() < self.prob:
            for part in _parts(results):
                x, y, width, height = part['box']
                part['box'] = [part['image'].shape[1] - x - width, y, width,
                               height]
                part['image'] = cv2.flip(part['image'], 1)
        return results


@TRANSFORMS.register_module()
class JitterSearch(BaseTransform):
    """Moves and resizes the search region relative to the object.

    Args:
        scale (float): Standard deviation of the logarithm of each side.
            Defaults to 0.25.
        center (float): Largest shift of the center, in halves of the root of
            the box's area. Defaults to 3.
        centre (float, optional): The old name of ``center``.
    """

    def __init__(self, scale: float = 0.25, center: float = 3.,
                 centre: float | None = None):
        if centre is not None:
            warn_renamed('centre= of JitterSearch', 'center=')
            center = centre
        self.scale, self.center = scale, center

    def transform(self, results: dict) -> dict:
        """Add ``around``, the box to crop around, to the search part."""
        rng, search = results['rng'], results['search']
        x, y, width, height = search['box']
        sides = np.array([width, height]) * np.exp(
            self.scale * rng.normal(size=2))
        center = (np.array([x + width / 2, y + height / 2])
                  + self.center * np.sqrt(sides.prod())
                  * rng.uniform(-0.5, 0.5, 2))
        search['around'] = [*(center - sides / 2), *sides]
        return results


@TRANSFORMS.register_module()
class PairCrop(BaseTransform):
    """Crops and resizes template and search region.

    Args:
        search_size (int): Side of the resized search region, in pixels.
            Defaults to 224.
        template_size (int): Side of the resized template. Defaults to 112.
        search_factor (float): Side of the search region, divided by that of
            the box. Defaults to 4.
        template_factor (float): Side of the template, divided by that of the
            box. Defaults to 2.
    """

    def __init__(self, search_size: int = 224, template_size: int = 112,
                 search_factor: float = 4., template_factor: float = 2.):
        self.sizes = dict(search=(search_factor, search_size),
                          template=(template_factor, template_size))

    def transform(self, results: dict) -> dict:
        for name in PARTS:
            part = results[name]
            region = Region.around(part.get('around', part['box']),
                                   *self.sizes[name])
            part['image'] = region.cut(part['image'])
            part['box'] = region.relative(part['box'])
        return results


@TRANSFORMS.register_module()
class IndependentBrightness(BaseTransform):
    """Changes the brightness of both images by independent factors.

    Args:
        low (float): Least factor. Defaults to 0.8.
        high (float): Largest factor. Defaults to 1.2.
    """

    def __init__(self, low: float = 0.8, high: float = 1.2):
        self.low, self.high = low, high

    def transform(self, results: dict) -> dict:
        for part in _parts(results):
            factor = results['rng'].uniform(self.low, self.high)
            part['image'] = cv2.convertScaleAbs(part['image'], alpha=factor)
        return results


@TRANSFORMS.register_module()
class IndependentFlip(BaseTransform):
    """Flips each cropped image horizontally at random.

    Args:
        prob (float): Probability for each image. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        for part in _parts(results):
            if results['rng'].random() < self.prob:
                left, top, right, bottom = part['box']
                part['box'] = [1 - right, top, 1 - left, bottom]
                part['image'] = cv2.flip(part['image'], 1)
        return results


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """Converts a pair to tensors."""

    def transform(self, results: dict) -> dict:
        inputs = {name: torch.from_numpy(
            results[name]['image'].transpose(2, 0, 1).copy())
            for name in PARTS}
        sample = BaseDataElement(
            metainfo=dict(name=results['name']),
            gt_box=torch.tensor(results['search']['box']))
        return dict(inputs=inputs, data_samples=sample)


@TRANSFORMS.register_module()
class PackVideo(BaseTransform):
    """Prepares a video for tracking.

    Args:
        kept (str, optional): Folder of the tracks of an earlier test, which
            are used again. Defaults to none.
    """

    def __init__(self, kept: str | None = None):
        self.kept = kept

    def transform(self, results: dict) -> dict:
        """Return ``inputs``, the paths of the frames, and ``data_samples``."""
        sample = BaseDataElement(
            metainfo=dict(name=results['name'],
                          attributes=results['attributes']),
            **{key: results[key] for key in ('boxes', 'visible', 'cover')})
        if self.kept:
            sample.set_data(read_track(self.kept, results['name']) or {})
        return dict(inputs=results['frames'], data_samples=sample)
