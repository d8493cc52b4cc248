"""Data sets of videos with one object, for single-object tracking (SOT).

A record is a video: ``name``, ``frames`` (``FrameFiles``), ``boxes``
(``(n, 4)``: left, top, width and height), ``visible`` (``(n, )``, bool),
``cover`` (``(n, )``, the visible part of the object, above 0 in frames that
count for GOT-10k's metrics) and ``attributes`` (names of difficulties).
"""
import os
import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from ...datasets.checks.coco import read_boxes as read_coco_boxes
from ...datasets.paths import read_lines
from ...errors import UserError, shown
from ...registry import DATASETS
from ...utils.text import counted
from .annotations import read_boxes, read_labels, read_names
from .frames import FrameFiles, images_in

# GOT-10k's label of a fully visible object.
FULLY_VISIBLE = 8


class BaseSOTDataset(BaseDataset):
    """Base class of data sets of videos with one object."""

    def __init__(self, data_root: str, **kwargs):
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read all annotations."""
        records = list(self.records())
        if not records:
            raise UserError(f'{os.path.abspath(self.data_root)} holds no '
                            f'video in the layout of {type(self).__name__}')
        return records

    @abstractmethod
    def records(self) -> Iterator[dict]:
        """Yield one record for each video."""

    def describe(self) -> str:
        """Count videos and frames."""
        frames = sum(len(self.get_data_info(index)['boxes'])
                     for index in range(len(self)))
        return (f'{counted(len(self), "video")} of '
                f'{counted(frames, "frame")}')


def record_of(name: str, frames: FrameFiles, boxes: np.ndarray,
              absent: np.ndarray | None = None,
              cover: np.ndarray | None = None,
              attributes: list[str] | None = None) -> dict:
    """Make the record of a video."""
    unknown = np.full((max(0, len(frames) - len(boxes)), 4), np.nan)
    boxes = np.concatenate([boxes, unknown])
    visible = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    for labels, hidden in ((absent, 1), (cover, 0)):
        if labels is not None:
            visible[:len(labels)] &= labels != hidden
    return dict(name=name, frames=frames, boxes=boxes, visible=visible,
                cover=visible.astype(int) if cover is None else cover,
                attributes=attributes or [])


def frame_count(boxes: np.ndarray, folder: Path) -> int:
    """Count frames; of test sets only the first box may be published."""
    return len(boxes) if len(boxes) > 1 else len(images_in(folder))


@DATASETS.register_module()
class GOT10k(BaseSOTDataset):
    """GOT-10k, and data sets with the same layout.

    Source: `GOT-10k <https://arxiv.org/abs/1810.11981>`_.

    Args:
        data_root (str): Folder of ``train``, ``val`` and ``test``.
        split (str): One of these folders.
        **kwargs: See ``BaseSOTDataset``.
    """

    def __init__(self, data_root: str, split: str, **kwargs):
        self.split = split
        super().__init__(data_root, **kwargs)

    def records(self) -> Iterator[dict]:
        root = Path(self.data_root, self.split)
        for name in read_names(root / 'list.txt'):
            folder = root / name
            boxes = read_boxes(folder / 'groundtruth.txt')
            frames = FrameFiles(
                folder, range(1, frame_count(boxes, folder) + 1),
                '{:08d}.jpg')
            absent, cover, cut = (
                read_labels(folder / file, len(boxes))
                if len(boxes) > 1 and (folder / file).is_file() else None
                for file in ('absence.label', 'cover.label',
                             'cut_by_image.label'))
            yield record_of(folder.name, frames, boxes, absent, cover,
                            _difficulties(cover, cut))


def _difficulties(cover: np.ndarray | None,
                  cut: np.ndarray | None) -> list[str]:
    """Attributes of a video, from GOT-10k's labels of its frames."""
    names = []
    if cover is not None and (cover == 0).any():
        names.append('hidden')
    if cover is not None and ((cover > 0) & (cover < FULLY_VISIBLE)).any():
        names.append('partly hidden')
    if cut is not None and cut.any():
        names.append('cut by the image')
    return names


def _flagged(file: Path, names: tuple[str, ...]) -> list[str]:
    """Names of the attributes whose flags are set in a file, if it exists."""
    if not file.is_file():
        return []
    flags = read_labels(file, len(names))
    return [name for name, flag in zip(names, flags) if flag]


@DATASETS.register_module()
class LaSOT(BaseSOTDataset):
    """LaSOT: one folder of videos for each class.

    Source: `LaSOT <https://arxiv.org/abs/1809.07845>`_.

    Args:
        data_root (str): Folder of the classes' folders, and optionally of the
            toolkit's attribute files, such as ``att/airplane-1.txt``.
        ann_file (str): File with names of videos, such as
            ``training_set.txt``. Defaults to '': all videos.
        **kwargs: See ``BaseSOTDataset``.
    """

    ATTRIBUTES = ('IV', 'POC', 'DEF', 'MB', 'CM', 'ROT', 'BC', 'VC', 'SV',
                  'FOC', 'FM', 'OV', 'LR', 'ARC')

    def records(self) -> Iterator[dict]:
        root = Path(self.data_root)
        names = (read_names(self.ann_file) if self.ann_file else sorted(
            path.parent.name for path in root.glob('*/*/groundtruth.txt')))
        for name in names:
            folder = root / name.rpartition('-')[0] / name
            boxes = read_boxes(folder / 'groundtruth.txt')
            absent = np.zeros(len(boxes), int)
            for file in ('full_occlusion.txt', 'out_of_view.txt'):
                if (folder / file).is_file():
                    absent |= read_labels(folder / file, len(boxes))
            yield record_of(
                folder.name, FrameFiles(folder / 'img',
                                        range(1, len(boxes) + 1),
                                        '{:08d}.jpg'), boxes, absent,
                attributes=_flagged(root / 'att' / f'{folder.name}.txt',
                                    self.ATTRIBUTES))


@DATASETS.register_module()
class TrackingNet(BaseSOTDataset):
    """TrackingNet: chunks of ``anno`` and ``frames``.

    Source: `TrackingNet <https://arxiv.org/abs/1803.10794>`_.

    Args:
        data_root (str): Folder of the chunks.
        chunks (Sequence[str]): Some of ``TRAIN_0`` to ``TRAIN_11`` and
            ``TEST``.
        **kwargs: See ``BaseSOTDataset``.
    """

    def __init__(self, data_root: str, chunks: tuple[str, ...], **kwargs):
        self.chunks = chunks
        super().__init__(data_root, **kwargs)

    def records(self) -> Iterator[dict]:
        for chunk in self.chunks:
            root = Path(self.data_root, chunk)
            for file in sorted((root / 'anno').glob('*.txt')):
                boxes = read_boxes(file)
                folder = root / 'frames' / file.stem
                yield record_of(file.stem, FrameFiles(
                    folder, range(frame_count(boxes, folder)), '{}.jpg'),
                    boxes)


@DATASETS.register_module()
class VideoFolders(BaseSOTDataset):
    """One folder for each video, like OTB and custom videos.

    It contains the frames, directly or in ``img``, and the boxes in
    ``groundtruth_rect.txt`` or ``groundtruth.txt``.

    Args:
        data_root (str): Folder of the videos.
        ann_file (str): File with names of videos. Defaults to '': all folders.
        **kwargs: See ``BaseSOTDataset``.
    """

    BOX_FILES = ('groundtruth_rect.txt', 'groundtruth.txt')

    def records(self) -> Iterator[dict]:
        if not os.path.isdir(self.data_root):
            raise UserError('folder of videos not found: '
                            f'{shown(self.data_root)}')
        names = (read_names(self.ann_file) if self.ann_file else sorted(
            entry.name for entry in os.scandir(self.data_root)
            if entry.is_dir() and not entry.name.startswith('.')))
        for name in names:
            folder = Path(self.data_root, name)
            file = next((folder / file for file in self.BOX_FILES
                         if (folder / file).is_file()), None)
            if file is None:
                raise UserError(
                    f'{folder} has no {" or ".join(self.BOX_FILES)}')
            images = folder / 'img' if (folder / 'img').is_dir() else folder
            frames, boxes = images_in(images), read_boxes(file)
            if 1 < len(boxes) < len(frames):
                raise UserError(f'{file} has {len(boxes)} lines for '
                                f'{len(frames)} frames in {images}')
            yield record_of(name, FrameFiles(images, frames), boxes)


@DATASETS.register_module()
class UAV123(BaseSOTDataset):
    """UAV123, whose videos may be parts of longer ones.

    Source: `UAV123 <https://ivul.kaust.edu.sa/benchmark-and-simulator-uav-tracking>`_.

    Args:
        data_root (str): Folder of ``anno`` and ``data_seq``.
        ann_file (str): The benchmark's list of videos and their frames.
            Defaults to ``'configSeqs.m'``.
        **kwargs: See ``BaseSOTDataset``.
    """

    ATTRIBUTES = ('SV', 'ARC', 'LR', 'FM', 'FOC', 'POC', 'OV', 'BC', 'IV',
                  'VC', 'CM', 'SOB')
    ENTRY = re.compile(
        r"'name','(?P<name>\w+)'.*?data_seq[\\/]UAV123[\\/](?P<folder>\w+)"
        r".*?'startFrame',(?P<start>\d{1,9}),'endFrame',(?P<end>\d{1,9})\b")

    def __init__(self, data_root: str, ann_file: str = 'configSeqs.m',
                 **kwargs):
        super().__init__(data_root, ann_file=ann_file, **kwargs)

    def records(self) -> Iterator[dict]:
        root = Path(self.data_root, 'anno', 'UAV123')
        for line in read_lines(self.ann_file):
            entry = self.ENTRY.search(line)
            # The list contains the long videos of UAV20L, too.
            if not entry or not (root / f'{entry["name"]}.txt').is_file():
                continue
            file = root / f'{entry["name"]}.txt'
            numbers = range(int(entry['start']), int(entry['end']) + 1)
            boxes = read_boxes(file)
            if len(numbers) > len(boxes):
                raise UserError(f'{file} has {len(boxes)} lines for '
                                f'{len(numbers)} frames of {self.ann_file}')
            folder = Path(self.data_root, 'data_seq', 'UAV123',
                          entry['folder'])
            yield record_of(
                entry['name'], FrameFiles(folder, numbers, '{:06d}.jpg'),
                boxes, attributes=_flagged(root / 'att' / file.name,
                                           self.ATTRIBUTES))


@DATASETS.register_module()
class CocoObjects(BaseSOTDataset):
    """Objects of COCO, each as a video of one frame.

    Args:
        data_root (str): Folder of COCO.
        ann_file (str): Annotations, such as
            ``annotations/instances_train2017.json``.
        data_prefix (dict): ``img``: folder of the images.
        min_side (float): Least side of a box, in pixels. Defaults to 8.
        **kwargs: See ``BaseSOTDataset``.
    """

    def __init__(self, data_root: str, ann_file: str, data_prefix: dict,
                 min_side: float = 8, **kwargs):
        self.min_side = min_side
        super().__init__(data_root, ann_file=ann_file,
                         data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """See ``BaseSOTDataset``; this name selects the checks of COCO."""
        return super().load_data_list()

    def records(self) -> Iterator[dict]:
        content = read_coco_boxes(self.ann_file)
        files = {image['id']: image['file_name']
                 for image in content['image_records']}
        for annotation in content['annotations']:
            box = annotation['bbox']
            if annotation.get('iscrowd') or min(box[2:]) < self.min_side:
                continue
            yield record_of(
                shown(annotation.get('id')), FrameFiles(
                    self.data_prefix['img'],
                    [files[annotation['image_id']]]), np.array([box], float))
