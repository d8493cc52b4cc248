"""LowFormer's tracker: it searches each frame for a template."""
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor
from torchvision.ops import box_convert

from ..models import LowFormer
from ..registry import MODELS
from ..utils.imports import lazy_names
from .correlation import PixelCorrelation
from .crop_region import Region, check_box, clip
from .datasets.frames import read_frames
from .decoding import Maps, boxes_at, hann_window, peak_positions
from .losses import box_losses, center_cells, focal_loss, heat_maps
from .state_dict_keys import tracker_name

STRIDE = 16
LOSS_WEIGHTS = dict(giou=2., l1=5., focal=1.)
# Positions whose predicted box is compared with the true one.
BOX_CELLS = ('predicted', 'true')

__getattr__ = lazy_names(__name__, Follower='SOTState')


@MODELS.register_module()
class LowFormerTracker(BaseModel):
    """Tracks one object with LowFormer, like the authors' tracker.

    Template and search region pass through the stem and the first two stages
    separately, and through stage 3 side by side, where attention and
    convolutions compare them. Their correlation goes to a head, which predicts
    the box. The template's features are computed once for a video. Sources:
    `Beyond MACs <https://arxiv.org/abs/2603.26551>`_, and
    https://github.com/altair199797/LowFormer-Track.

    Args:
        backbone (dict): Config of a ``LowFormer`` with three stages, the
            default here: ``out_indices=(2, )``.
        head (dict, optional): Config of the head, without its channels.
            Defaults to ``dict(type='mmlowformer.TrackerHead')``.
        search_size (int): Side of the resized search region, a multiple of
            16. Defaults to 224.
        template_size (int): Side of the resized template, a multiple of 16,
            at most ``search_size``. Defaults to 112.
        search_factor (float): Side of the search region, divided by that of
            the object. Defaults to 4.
        template_factor (float): Side of the template, divided by that of the
            object. Defaults to 2.
        box_cell (str): Position whose box is learned: ``'predicted'``, the
            highest score, as the authors do, or ``'true'``, the object's
            position, for short trainings. Defaults to ``'predicted'``.
        loss_weights (dict, optional): Weights of ``giou``, ``l1`` and
            ``focal``. Defaults to 2, 5 and 1.
        margin (int): Pixels of a box that stay in the image. Defaults to 10.
        data_preprocessor (dict, optional): Defaults to
            ``dict(type='mmlowformer.TrackerPreprocessor')``.
        init_cfg (dict | list, optional): Initialization. Defaults to none.

    Raises:
        ValueError: If an argument has a value that is not allowed.
    """

    backbone: LowFormer

    def __init__(self, backbone: dict, head: dict | None = None,
                 search_size: int = 224, template_size: int = 112,
                 search_factor: float = 4., template_factor: float = 2.,
                 box_cell: str = 'predicted',
                 loss_weights: dict | None = None, margin: int = 10,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None):
        super().__init__(data_preprocessor or dict(
            type='mmlowformer.TrackerPreprocessor'), init_cfg)
        _check(search_size, template_size, box_cell)
        self.search_size, self.template_size = search_size, template_size
        self.search_factor = search_factor
        self.template_factor = template_factor
        self.box_cell, self.margin = box_cell, margin
        self.loss_weights = dict(LOSS_WEIGHTS, **(loss_weights or {}))
        self.backbone = MODELS.build(dict(dict(out_indices=(2, )),
                                          **backbone))
        if len(self.backbone.stages) != 3:
            raise ValueError(
                'A tracker needs stages 1 to 3 of a LowFormer: set '
                f'out_indices=(2, ), not {self.backbone.out_indices}.')
        channels = self.backbone.out_channels[-1]
        self.map_size = search_size // STRIDE
        self.correlation = PixelCorrelation(
            channels, (template_size // STRIDE)**2, channels)
        self.head = MODELS.build(dict(
            head or dict(type='mmlowformer.TrackerHead'), channels=channels))
        self.register_buffer('window', hann_window(self.map_size),
                             persistent=False)

    @staticmethod
    def own_name(name: str) -> str:
        """See :func:`.state_dict_keys.tracker_name`."""
        return tracker_name(name)

    def encode(self, images: Tensor) -> Tensor:
        """Compute features of templates or search regions.

        Args:
            images (Tensor): ``(N, 3, H, W)``, normalized.

        Returns:
            Tensor: ``(N, C, H / 8, W / 8)``.
        """
        x = self.backbone.stem(images)
        for stage in self.backbone.stages[:2]:
            x = stage(x)
        return x

    def search(self, search: Tensor, template: Tensor) -> Maps:
        """Search for objects.

        Args:
            search (Tensor): Search regions, ``(N, 3, S, S)``, normalized.
            template (Tensor): The templates' features, from :meth:`encode`.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Maps of score, offset and size, see
            ``TrackerHead``.
        """
        search = self.encode(search)
        canvas = torch.cat([search, _fill(template, search.shape[3])], 2)
        joint = self.backbone.stages[2](canvas)
        rows = -(-search.shape[2] // 2)
        side = -(-template.shape[3] // 2)
        return self.head(self.correlation(
            joint[:, :, :rows], joint[:, :, rows:, :side]))

    def forward(self, inputs, data_samples: list | None = None,
                mode: str = 'tensor'):
        """Compute maps (``tensor``), losses or predictions.

        The inputs are dicts of ``template`` and ``search`` images, for
        ``tensor`` also images with the template in the center, and for
        ``predict`` lists of videos.
        """
        if mode == 'predict':
            return [self.follow(read_frames(paths), sample)
                    for paths, sample in zip(inputs, data_samples or ())]
        if isinstance(inputs, Tensor):
            height, width = (side // 2 for side in inputs.shape[2:])
            center = inputs[:, :, height // 2:, width // 2:]
            inputs = dict(
                search=_resized(inputs, self.search_size),
                template=_resized(center[:, :, :height, :width],
                                  self.template_size))
        maps = self.search(inputs['search'], self.encode(inputs['template']))
        return maps if mode == 'tensor' else self.loss(maps, data_samples)

    def loss(self, maps: Maps, data_samples: list | None) -> dict:
        """Compare maps with each sample's ``gt_box``, relative corners."""
        maps = cast(Maps, tuple(map(Tensor.float, maps)))
        targets = torch.stack([sample.gt_box for sample in
                               data_samples or ()]).to(maps[0].device)
        size = maps[0].shape[-1]
        if self.box_cell == 'predicted':
            positions = peak_positions(maps[0])
        else:
            columns, rows = center_cells(targets, size).unbind(1)
            positions = rows * size + columns
        boxes = box_convert(boxes_at(positions, maps), 'cxcywh', 'xyxy')
        giou, l1 = box_losses(boxes, targets)
        focal = focal_loss(maps[0], heat_maps(targets, size))
        return {f'loss_{name}': self.loss_weights[name] * loss for name, loss
                in dict(giou=giou, l1=l1, focal=focal).items()}

    def start(self, image: np.ndarray, box: Sequence[float]) -> 'SOTState':
        """Start to track an object.

        Args:
            image (np.ndarray): The first frame, ``(H, W, 3)``, BGR.
            box (Sequence[float]): Left, top, width and height of the object.

        Returns:
            SOTState: Call it with the next frames.
        """
        return SOTState(self, image, box)

    def follow(self, frames: Iterable[np.ndarray], sample: BaseDataElement
               ) -> BaseDataElement:
        """Track the object of a video.

        Args:
            frames (Iterable[np.ndarray]): ``(H, W, 3)``, BGR.
            sample (BaseDataElement): With ``boxes``, of which the first one is
                used.

        Returns:
            BaseDataElement: The sample with ``pred_boxes``, ``(n, 4)``,
            ``pred_scores``, ``(n, )``, ``seconds``, ``(n, )``, and ``bound``,
            width and height of the first frame.
        """
        if 'pred_boxes' in sample:  # An earlier test finished this video.
            return sample
        steps: list[list] = []
        for frame, *step in self.track(frames, sample.boxes[0]):
            if not steps:
                sample.bound = frame.shape[1::-1]
            steps.append(step)
        sample.pred_boxes, sample.pred_scores, sample.seconds = map(
            np.array, zip(*steps))
        return sample

    def track(self, frames: Iterable[np.ndarray], box: Sequence[float]
              ) -> Iterator[tuple[np.ndarray, list[float], float, float]]:
        """Yield each frame with its box, the score and the seconds."""
        state = None
        for frame in frames:
            started = time.perf_counter()
            if state is None:
                state = self.start(frame, box)
                found = state.box, 1.
            else:
                found = state(frame)
            yield frame, *found, time.perf_counter() - started


class SOTState:
    """The template and the last box of a tracked object.

    Args:
        tracker (LowFormerTracker): In eval mode.
        image (np.ndarray): The first frame, ``(H, W, 3)``, BGR.
        box (Sequence[float]): Left, top, width and height of the object.

    Attributes:
        box (list[float]): The last box of the object.

    Raises:
        UserError: If the box has no area or lies outside of the image.
    """

    def __init__(self, tracker: LowFormerTracker, image: np.ndarray,
                 box: Sequence[float]):
        self.tracker = tracker
        self.box = check_box(box, image.shape[:2])
        with torch.no_grad():
            self._template = tracker.encode(self._crop(
                image, tracker.template_factor, tracker.template_size)[0])

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> tuple[list[float], float]:
        """Find the object in the next frame.

        Args:
            image (np.ndarray): The frame, ``(H, W, 3)``, BGR.

        Returns:
            tuple[list[float], float]: Its box (left, top, width and height)
            and the highest score.
        """
        tracker = self.tracker
        pixels, region = self._crop(image, tracker.search_factor,
                                    tracker.search_size)
        maps = tracker.search(pixels, self._template)
        box = boxes_at(peak_positions(maps[0] * tracker.window), maps)[0]
        # A box of NaN leaves the object where it was.
        if box.isfinite().all():
            height, width = image.shape[:2]
            self.box = clip(region.absolute(box.tolist()), height, width,
                            tracker.margin)
        return self.box, maps[0].max().item()

    def _crop(self, image: np.ndarray, factor: float, size: int
              ) -> tuple[Tensor, Region]:
        region = Region.around(self.box, factor, size)
        pixels = torch.from_numpy(region.cut(image)).to(
            self.tracker.window.device)
        return self.tracker.data_preprocessor.normalize(
            pixels.permute(2, 0, 1)[None]), region


def _resized(images: Tensor, size: int) -> Tensor:
    return images if images.shape[2:] == (size, size) else F.interpolate(
        images, (size, size), mode='bilinear')


def _fill(template: Tensor, width: int) -> Tensor:
    """Repeat the template side by side, and pad it to a width."""
    row = template.repeat(1, 1, 1, max(1, width // template.shape[3]))
    return F.pad(row, (0, width - row.shape[3]))


def _check(search: int, template: int, box_cell: str) -> None:
    for name, size in dict(search_size=search,
                           template_size=template).items():
        if size < STRIDE or size % STRIDE:
            raise ValueError(f'{name} has to be a multiple of {STRIDE}, not '
                             f'{size}.')
    if template > search:
        raise ValueError(f'template_size {template} has to be at most '
                         f'search_size {search}.')
    if box_cell not in BOX_CELLS:
        raise ValueError(f'box_cell has to be {" or ".join(BOX_CELLS)}, not '
                         f'{box_cell!r}.')
