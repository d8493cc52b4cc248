"""A tracker built of LowFormer: a template is looked for in each frame."""
from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..models import LowFormer
from ..registry import MODELS
from .correlation import PixelCorrelation
from .decoding import Maps, best_cells, boxes_at, corners, hann_window
from .frames import Video
from .losses import box_losses, centre_cells, focal_loss, heat_maps
from .state_dict_keys import tracker_name
from .template_tracker import Follower

STRIDE = 16
LOSS_WEIGHTS = dict(giou=2., l1=5., focal=1.)
# Whose predicted box is compared with the true one.
BOX_CELLS = ('predicted', 'true')


@MODELS.register_module()
class LowFormerTracker(BaseModel):
    """Follows one object, as the authors adapt LowFormer to it.

    Template and search region go through the stem and the first two stages,
    and then side by side through stage 3, whose attention and convolutions
    compare them. They are correlated, and a head finds the object. The
    template's features are computed once for a video. Sources: `Beyond MACs
    <https://arxiv.org/abs/2603.26551>`_, and
    https://github.com/altair199797/LowFormer-Track.

    Args:
        backbone (dict): Config of a ``LowFormer``, of which there are three
            stages: ``out_indices=(2, )``, which is the default here.
        head (dict, optional): Config of the head, but for its channels.
            Defaults to ``dict(type='mmlowformer.TrackerHead')``.
        search_size (int): Side of the resized search region, a multiple of
            16. Defaults to 224.
        template_size (int): Likewise of the template, not larger. Defaults
            to 112.
        search_factor (float): Side of the search region over that of the
            object. Defaults to 4.
        template_factor (float): Likewise of the template. Defaults to 2.
        box_cell (str): Of which position the box is learned: where the score
            is largest (``'predicted'``, as the authors have it, the default)
            or where the object is (``'true'``, for short trainings).
        loss_weights (dict, optional): Of ``giou``, ``l1`` and ``focal``.
            Defaults to 2, 5 and 1.
        margin (int): So many pixels of a box stay in the image. Defaults
            to 10.
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
        _check_sizes(search_size, template_size)
        if box_cell not in BOX_CELLS:
            raise ValueError(f'box_cell has to be {" or ".join(BOX_CELLS)}, '
                             f'not {box_cell!r}.')
        self.search_size, self.template_size = search_size, template_size
        self.search_factor = search_factor
        self.template_factor = template_factor
        self.box_cell, self.margin = box_cell, margin
        self.loss_weights = dict(LOSS_WEIGHTS, **(loss_weights or {}))
        self.backbone = MODELS.build(dict(dict(out_indices=(2, )),
                                          **backbone))
        _check_backbone(self.backbone)
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
        """See :func:`.layouts.tracker_name`."""
        return tracker_name(name)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.correlation.projection.weight.device

    def encode(self, images: Tensor) -> Tensor:
        """Features of templates or search regions, before they meet.

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
        """Look for objects.

        Args:
            search (Tensor): Images of search regions, ``(N, 3, S, S)``,
                normalized.
            template (Tensor): Features of the templates, of :meth:`encode`.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Maps of the score, the offset and
            the size, see ``TrackerHead``.
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
        """Compute maps, losses or tracks.

        Args:
            inputs (dict | Tensor | list): ``template`` and ``search`` images
                (``tensor`` and ``loss``); images of any size alone, the
                middle of which is the template (``tensor``); or videos
                (``predict``).
            data_samples (list, optional): What belongs to them.
            mode (str): ``'tensor'``, ``'loss'`` or ``'predict'``.

        Returns:
            tuple | dict | list: The maps, the losses, or the data samples
            with the predicted boxes.
        """
        if mode == 'predict':
            return [self.follow(video, sample) for video, sample in
                    zip(inputs, data_samples or ())]
        if isinstance(inputs, Tensor):
            inputs = dict(
                search=_resized(inputs, self.search_size),
                template=_resized(_middle(inputs), self.template_size))
        maps = self.search(inputs['search'], self.encode(inputs['template']))
        return maps if mode == 'tensor' else self.loss(maps, data_samples)

    def loss(self, maps: Maps, data_samples: list | None) -> dict:
        """Compare maps with the true boxes.

        Args:
            maps (tuple): Of :meth:`search`.
            data_samples (list): Each with ``gt_box``, corners as fractions
                of the search region.

        Returns:
            dict[str, Tensor]: The losses, and ``iou`` of the boxes found.
        """
        targets = torch.stack([sample.gt_box for sample in
                               data_samples or ()]).to(maps[0].device)
        size = maps[0].shape[-1]
        cells = best_cells(maps[0])
        used = (cells if self.box_cell == 'predicted' else
                _flat(centre_cells(targets, size), size))
        giou, l1 = box_losses(corners(boxes_at(used, maps)), targets)
        weights = self.loss_weights
        return dict(
            loss_giou=weights['giou'] * giou, loss_l1=weights['l1'] * l1,
            loss_focal=weights['focal'] * focal_loss(
                maps[0], heat_maps(targets, size)))

    def start(self, image: np.ndarray, box) -> Follower:
        """Take up an object.

        Args:
            image (np.ndarray): The first frame, ``(H, W, 3)``, BGR.
            box (Sequence[float]): Left, top, width and height of the object.

        Returns:
            Follower: To be called with the frames that come.
        """
        return Follower(self, image, box)

    def follow(self, video: Video, sample: BaseDataElement
               ) -> BaseDataElement:
        """Follow the object of a video.

        Args:
            video (Video): Its frames.
            sample (BaseDataElement): With ``boxes``, the first of which is
                the object's.

        Returns:
            BaseDataElement: The sample with ``pred_boxes``, ``(n, 4)``,
            ``pred_scores``, ``(n, )``, ``seconds``, ``(n, )``, and ``bound``,
            width and height of the first frame.
        """
        if 'pred_boxes' in sample:  # Finished in an earlier test.
            return sample
        frames = iter(video)
        first = next(frames)
        started = time.perf_counter()
        follower = self.start(first, sample.boxes[0])
        steps = [(follower.box, 1., time.perf_counter() - started)]
        for frame in frames:
            started = time.perf_counter()
            box, score = follower(frame)
            steps.append((box, score, time.perf_counter() - started))
        sample.pred_boxes, sample.pred_scores, sample.seconds = map(
            np.array, zip(*steps))
        sample.bound = first.shape[1::-1]
        return sample


def _flat(cells: Tensor, size: int) -> Tensor:
    return cells[:, 1] * size + cells[:, 0]


def _middle(images: Tensor) -> Tensor:
    height, width = (side // 2 for side in images.shape[2:])
    top, left = height // 2, width // 2
    return images[:, :, top:top + height, left:left + width]


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode='bilinear')


def _fill(template: Tensor, width: int) -> Tensor:
    """As often side by side as there is room, and zeros behind."""
    times = max(1, width // template.shape[3])
    row = torch.cat([template] * times, 3)
    return F.pad(row, (0, width - row.shape[3]))


def _check_sizes(search: int, template: int) -> None:
    for name, size in dict(search_size=search,
                           template_size=template).items():
        if size < STRIDE or size % STRIDE:
            raise ValueError(f'{name} has to be a multiple of {STRIDE}, not '
                             f'{size}.')
    if template > search:
        raise ValueError(f'template_size {template} has to be at most '
                         f'search_size {search}.')


def _check_backbone(backbone: LowFormer) -> None:
    if len(backbone.stages) != 3:
        raise ValueError(
            'A tracker has the stages 1 to 3 of a LowFormer: set '
            f'out_indices=(2, ), not {backbone.out_indices}.')
