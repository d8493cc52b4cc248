"""Steps from a video's record to what a tracker learns from, or follows.

Of a pair, ``template`` and ``search`` are dicts of ``path``, ``image`` and
``box``: left, top, width and height in the image, until it is cut; then the
corners as fractions of the region.
"""
import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement

from ..registry import TRANSFORMS
from .crop_region import Region
from .frames import Video, read_frame
from .saved_tracks import read_track

PARTS = ('template', 'search')


@TRANSFORMS.register_module()
class SamplePair(BaseTransform):
    """Draws two frames in which the object is visible, the template first.

    A video of one frame gives it twice.

    Args:
        max_gap (int): So many frames at most lie between them. Defaults
            to 200.
    """

    def __init__(self, max_gap: int = 200):
        self.max_gap = max_gap

    def transform(self, results: dict) -> dict | None:
        """From a video to two frames; None if there are none."""
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
        """Add ``image``."""
        for part in PARTS:
            results[part]['image'] = read_frame(results[part]['path'])
        return results


@TRANSFORMS.register_module()
class GrayPair(BaseTransform):
    """Takes the colours from both images, at times.

    Args:
        prob (float): How often. Defaults to 0.05.
    """

    def __init__(self, prob: float = 0.05):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change both images or none."""
        if results['rng'].random() < self.prob:
            for part in PARTS:
                gray = cv2.cvtColor(results[part]['image'],
                                    cv2.COLOR_BGR2GRAY)
                results[part]['image'] = cv2.cvtColor(gray,
                                                      cv2.COLOR_GRAY2BGR)
        return results


@TRANSFORMS.register_module()
class FlipPair(BaseTransform):
    """Mirrors both images, before they are cut.

    Args:
        prob (float): How often. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change both images and boxes or none."""
        if results['rng'].random() < self.prob:
            for part in (results[name] for name in PARTS):
                x, y, width, height = part['box']
                part['box'] = [part['image'].shape[1] - x - width, y, width,
                               height]
                part['image'] = cv2.flip(part['image'], 1)
        return results


@TRANSFORMS.register_module()
class JitterSearch(BaseTransform):
    """Moves the search region away from the object, and changes its size.

    Args:
        scale (float): Deviation of the logarithm of each side. Defaults to
            0.25.
        centre (float): The centre moves by at most half as many sides of the
            box, as the root of its area. Defaults to 3.
    """

    def __init__(self, scale: float = 0.25, centre: float = 3.):
        self.scale, self.centre = scale, centre

    def transform(self, results: dict) -> dict:
        """Add ``around``, the box to cut around, to the search image."""
        rng, search = results['rng'], results['search']
        x, y, width, height = search['box']
        sides = np.array([width, height]) * np.exp(
            self.scale * rng.normal(size=2))
        centre = (np.array([x + width / 2, y + height / 2])
                  + self.centre * np.sqrt(sides.prod())
                  * rng.uniform(-0.5, 0.5, 2))
        search['around'] = [*(centre - sides / 2), *sides]
        return results


@TRANSFORMS.register_module()
class CutPair(BaseTransform):
    """Cuts template and search region, and resizes them.

    Args:
        search_size (int): Side of the search region in pixels. Defaults
            to 224.
        template_size (int): Side of the template. Defaults to 112.
        search_factor (float): Side of the search region over that of the
            box. Defaults to 4.
        template_factor (float): Likewise. Defaults to 2.
    """

    def __init__(self, search_size: int = 224, template_size: int = 112,
                 search_factor: float = 4., template_factor: float = 2.):
        self.sizes = dict(search=(search_factor, search_size),
                          template=(template_factor, template_size))

    def transform(self, results: dict) -> dict:
        """Change images and boxes."""
        for name in PARTS:
            part = results[name]
            region = Region.around(part.get('around', part['box']),
                                   *self.sizes[name])
            part['image'] = region.cut(part['image'])
            part['box'] = region.relative(part['box'])
        return results


@TRANSFORMS.register_module()
class BrightnessOfEach(BaseTransform):
    """Makes each of the two images brighter or darker, by its own factor.

    Args:
        low (float): The smallest factor. Defaults to 0.8.
        high (float): The largest one. Defaults to 1.2.
    """

    def __init__(self, low: float = 0.8, high: float = 1.2):
        self.low, self.high = low, high

    def transform(self, results: dict) -> dict:
        """Change both images."""
        for part in (results[name] for name in PARTS):
            factor = results['rng'].uniform(self.low, self.high)
            part['image'] = cv2.convertScaleAbs(part['image'], alpha=factor)
        return results


@TRANSFORMS.register_module()
class FlipEach(BaseTransform):
    """Mirrors each of the two cut images for itself.

    Args:
        prob (float): How often. Defaults to 0.5.
    """

    def __init__(self, prob: float = 0.5):
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change images and boxes."""
        for part in (results[name] for name in PARTS):
            if results['rng'].random() < self.prob:
                left, top, right, bottom = part['box']
                part['box'] = [1 - right, top, 1 - left, bottom]
                part['image'] = cv2.flip(part['image'], 1)
        return results


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """Makes tensors of a pair."""

    def transform(self, results: dict) -> dict:
        """To ``inputs`` and ``data_samples``."""
        inputs = {name: torch.from_numpy(
            results[name]['image'].transpose(2, 0, 1).copy())
            for name in PARTS}
        sample = BaseDataElement(
            metainfo=dict(name=results['name']),
            gt_box=torch.tensor(results['search']['box']))
        return dict(inputs=inputs, data_samples=sample)


@TRANSFORMS.register_module()
class PackVideo(BaseTransform):
    """Makes a whole video ready to be followed.

    Args:
        kept (str, optional): Folder of tracks: videos that have one there
            are not followed again. Defaults to none.
    """

    def __init__(self, kept: str | None = None):
        self.kept = kept

    def transform(self, results: dict) -> dict:
        """To ``inputs``, a ``Video``, and ``data_samples``."""
        sample = BaseDataElement(
            metainfo=dict(name=results['name'],
                          attributes=results['attributes']),
            **{key: results[key] for key in ('boxes', 'visible', 'cover')})
        if self.kept:
            sample.set_data(read_track(self.kept, results['name']) or {})
        return dict(inputs=Video(results['frames']), data_samples=sample)
