"""Data sets of videos in which one object has a box in each frame.

A record of them is a whole video: ``name``, ``frames`` (``FrameFiles``),
``boxes`` (``(n, 4)``: left, top, width and height), ``visible`` (``(n, )``,
whether the object can be seen), ``cover`` (``(n, )``, what is visible of it,
above 0 where it counts) and ``attributes`` (names of difficulties).
"""
import os
import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from ..datasets.annotation_errors import AnnotationErrors
from ..datasets.checks.coco_annotations import find_errors
from ..datasets.checks.coco_file import read_coco
from ..datasets.custom_config import read_lines
from ..datasets.paths import IMAGES
from ..errors import UserError, shown
from ..registry import DATASETS
from .annotations import read_boxes, read_labels, read_names
from .frames import FrameFiles

# GOT-10k's label of an object of which all can be seen.
WHOLE = 8


class Sequences(BaseDataset):
    """What all of these data sets share."""

    def __init__(self, data_root: str, pipeline: list | tuple = (),
                 **kwargs):
        super().__init__(data_root=data_root, pipeline=list(pipeline),
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read all annotations."""
        records = list(self.records())
        if not records:
            raise UserError(f'{os.path.abspath(self.data_root)} holds no '
                            f'video in the layout of {type(self).__name__}')
        return records

    @abstractmethod
    def records(self) -> Iterator[dict]:
        """One after the other."""

    def describe(self) -> str:
        """Count what there is."""
        frames = sum(len(self.get_data_info(index)['boxes'])
                     for index in range(len(self)))
        return f'{len(self)} videos of {frames} frames'


def record_of(name: str, frames: FrameFiles, boxes: np.ndarray,
              absent: np.ndarray | None = None,
              cover: np.ndarray | None = None,
              attributes: list[str] | None = None) -> dict:
    """The record of a video."""
    unknown = np.full((max(0, len(frames) - len(boxes)), 4), np.nan)
    boxes = np.concatenate([boxes, unknown])
    visible = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    for labels, hidden in ((absent, 1), (cover, 0)):
        if labels is not None:
            visible[:len(labels)] &= labels != hidden
    return dict(name=name, frames=frames, boxes=boxes, visible=visible,
                cover=visible.astype(int) if cover is None else cover,
                attributes=attributes or [])


def images_in(folder: str | Path) -> list[str]:
    """Names of the images of a folder, in the order of their numbers."""
    if not os.path.isdir(folder):
        raise UserError(f'there is no folder of frames {folder}')
    names = [entry.name for entry in os.scandir(folder)
             if entry.name.lower().endswith(IMAGES)
             and not entry.name.startswith('.') and entry.is_file()]
    if not names:
        raise UserError(f'{folder} holds no images')
    return sorted(names, key=_number_of)


def _number_of(name: str) -> tuple[int, str]:
    digits = re.findall(r'\d+', name)
    return int(digits[-1]) if digits else 0, name


@DATASETS.register_module()
class GOT10k(Sequences):
    """GOT-10k, and whatever is laid out like it.

    Source: `GOT-10k <https://arxiv.org/abs/1810.11981>`_.

    Args:
        data_root (str): Folder with ``train``, ``val`` and ``test``.
        split (str): Which of them.
        **kwargs: See ``Sequences``.
    """

    PATTERN = '{:08d}.jpg'

    def __init__(self, data_root: str, split: str, **kwargs):
        self.split = split
        super().__init__(data_root, **kwargs)

    def records(self) -> Iterator[dict]:
        """See ``Sequences``."""
        root = Path(self.data_root, self.split)
        for name in read_names(root / 'list.txt'):
            yield self._record(root / name)

    def _record(self, folder: Path) -> dict:
        boxes = read_boxes(folder / 'groundtruth.txt')
        if len(boxes) == 1:  # Of the test set only the first is published.
            return record_of(folder.name, self._frames(
                folder, len(images_in(folder))), boxes)
        absent, cover, cut = (
            read_labels(folder / file, len(boxes))
            if (folder / file).is_file() else None
            for file in ('absence.label', 'cover.label',
                         'cut_by_image.label'))
        return record_of(folder.name, self._frames(folder, len(boxes)), boxes,
                         absent, cover, _difficulties(cover, cut))

    def _frames(self, folder: Path, count: int) -> FrameFiles:
        return FrameFiles(str(folder), range(1, count + 1), self.PATTERN)


def _difficulties(cover: np.ndarray | None,
                  cut: np.ndarray | None) -> list[str]:
    """What GOT-10k's labels say about a video as a whole."""
    found = []
    if cover is not None and (cover == 0).any():
        found.append('hidden')
    if cover is not None and ((cover > 0) & (cover < WHOLE)).any():
        found.append('partly hidden')
    if cut is not None and cut.any():
        found.append('cut by the image')
    return found


def _flagged(file: Path, names: tuple[str, ...]) -> list[str]:
    """The attributes whose flags are set in a benchmark's file, if any."""
    if not file.is_file():
        return []
    flags = read_labels(file, len(names))
    return [name for name, flag in zip(names, flags) if flag]


@DATASETS.register_module()
class LaSOT(Sequences):
    """LaSOT: videos of one class in a folder.

    Source: `LaSOT <https://arxiv.org/abs/1809.07845>`_.

    Args:
        data_root (str): Folder with one for each class.
        ann_file (str): File that names videos, like ``airplane-1``, as
            ``training_set.txt`` and ``testing_set.txt`` do. Defaults to '':
            all videos. Flags of attributes in ``att/airplane-1.txt`` beside
            the classes, as the toolkit has them, are read where they are.
        **kwargs: See ``Sequences``.
    """

    ATTRIBUTES = ('IV', 'POC', 'DEF', 'MB', 'CM', 'ROT', 'BC', 'VC', 'SV',
                  'FOC', 'FM', 'OV', 'LR', 'ARC')
    PATTERN = '{:08d}.jpg'

    def records(self) -> Iterator[dict]:
        """See ``Sequences``."""
        names = (read_names(self.ann_file) if self.ann_file else sorted(
            path.parent.name for path in
            Path(self.data_root).glob('*/*/groundtruth.txt')))
        for name in names:
            yield self._record(
                Path(self.data_root, name.rpartition('-')[0], name))

    def _record(self, folder: Path) -> dict:
        boxes = read_boxes(folder / 'groundtruth.txt')
        absent = np.zeros(len(boxes), int)
        for file in ('full_occlusion.txt', 'out_of_view.txt'):
            if (folder / file).is_file():
                absent |= read_labels(folder / file, len(boxes))
        frames = FrameFiles(str(folder / 'img'), range(1, len(boxes) + 1),
                            self.PATTERN)
        attributes = _flagged(
            Path(self.data_root, 'att', f'{folder.name}.txt'),
            self.ATTRIBUTES)
        return record_of(folder.name, frames, boxes, absent,
                         attributes=attributes)


@DATASETS.register_module()
class TrackingNet(Sequences):
    """TrackingNet: chunks with ``anno`` and ``frames``.

    Source: `TrackingNet <https://arxiv.org/abs/1803.10794>`_.

    Args:
        data_root (str): Folder of the chunks.
        chunks (Sequence[str]): Which of ``TRAIN_0`` to ``TRAIN_11`` and
            ``TEST``.
        **kwargs: See ``Sequences``.
    """

    def __init__(self, data_root: str, chunks: tuple[str, ...], **kwargs):
        self.chunks = chunks
        super().__init__(data_root, **kwargs)

    def records(self) -> Iterator[dict]:
        """See ``Sequences``."""
        for chunk in self.chunks:
            root = Path(self.data_root, chunk)
            for file in sorted((root / 'anno').glob('*.txt')):
                boxes = read_boxes(file)
                folder = root / 'frames' / file.stem
                count = (len(boxes) if len(boxes) > 1 else
                         len(images_in(folder)))
                yield record_of(file.stem, FrameFiles(
                    str(folder), range(count), '{}.jpg'), boxes)


@DATASETS.register_module()
class VideoFolders(Sequences):
    """A folder for each video, as OTB and many others have it.

    In it are the frames, or ``img`` with them, and the boxes in
    ``groundtruth_rect.txt`` or ``groundtruth.txt``.

    Args:
        data_root (str): Folder of the videos.
        ann_file (str): File that names videos. Defaults to '': all folders.
        **kwargs: See ``Sequences``.
    """

    TRUTHS = ('groundtruth_rect.txt', 'groundtruth.txt')

    def records(self) -> Iterator[dict]:
        """See ``Sequences``."""
        if not os.path.isdir(self.data_root):
            raise UserError('there is no folder of videos '
                            f'{shown(self.data_root)}')
        names = (read_names(self.ann_file) if self.ann_file else sorted(
            entry.name for entry in os.scandir(self.data_root)
            if entry.is_dir() and not entry.name.startswith('.')))
        for name in names:
            folder = Path(self.data_root, name)
            truth = next((folder / file for file in self.TRUTHS
                          if (folder / file).is_file()), None)
            if truth is None:
                raise UserError(f'{folder} has no {" or ".join(self.TRUTHS)}')
            images = folder / 'img'
            images = images if images.is_dir() else folder
            names_of_frames, boxes = images_in(images), read_boxes(truth)
            if 1 < len(boxes) < len(names_of_frames):
                raise UserError(f'{truth} has {len(boxes)} lines for '
                                f'{len(names_of_frames)} frames in {images}')
            yield record_of(name, FrameFiles(str(images), names_of_frames),
                            boxes)


@DATASETS.register_module()
class UAV123(Sequences):
    """UAV123, whose videos are parts of longer ones.

    Source: `UAV123 <https://ivul.kaust.edu.sa/benchmark-and-simulator-uav-tracking>`_.

    Args:
        data_root (str): Folder with ``anno`` and ``data_seq``.
        ann_file (str): The benchmark's ``configSeqs.m``, which says what
            frames a video has. Defaults to ``'configSeqs.m'``.
        **kwargs: See ``Sequences``.
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
        """See ``Sequences``."""
        for line in read_lines(self.ann_file):
            found = self.ENTRY.search(line)
            truth = found and Path(self.data_root, 'anno', 'UAV123',
                                   f'{found["name"]}.txt')
            # The list has the long videos of UAV20L, too.
            if not found or not truth or not truth.is_file():
                continue
            numbers = range(int(found['start']), int(found['end']) + 1)
            boxes = read_boxes(truth)
            if len(numbers) > len(boxes):
                raise UserError(f'{truth} has {len(boxes)} lines for '
                                f'{len(numbers)} frames of {self.ann_file}')
            folder = Path(self.data_root, 'data_seq', 'UAV123',
                          found['folder'])
            yield record_of(
                found['name'], FrameFiles(str(folder), numbers, '{:06d}.jpg'),
                boxes, attributes=_flagged(truth.parent / 'att' / truth.name,
                                           self.ATTRIBUTES))


@DATASETS.register_module()
class CocoObjects(Sequences):
    """Objects of COCO, each a video of one frame.

    Args:
        data_root (str): Folder of COCO.
        ann_file (str): Annotations, like
            ``annotations/instances_train2017.json``.
        data_prefix (dict): ``img``: folder of the images.
        min_side (float): Smaller boxes are left out. Defaults to 8 pixels.
        **kwargs: See ``Sequences``.
    """

    def __init__(self, data_root: str, ann_file: str, data_prefix: dict,
                 min_side: float = 8, **kwargs):
        self.min_side = min_side
        super().__init__(data_root, ann_file=ann_file,
                         data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """See ``Sequences``; the checks of COCO's files know it by this."""
        return super().load_data_list()

    def records(self) -> Iterator[dict]:
        """See ``Sequences``."""
        content = read_coco(self.ann_file)
        AnnotationErrors(find_errors(content, masks=False)).check(
            self.ann_file)
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
