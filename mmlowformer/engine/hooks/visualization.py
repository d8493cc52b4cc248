"""Draw the predictions of a test, for every task."""
import os
from collections.abc import Sequence
from functools import cached_property

import mmcv
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image

from ...config.model_kind import follows_many, is_tracker
from ...errors import UserError, printable
from ...registry import HOOKS
from ...utils.console import say
from ...utils.text import counted
from ...visualization.confusion_matrix import draw_accuracies, draw_confusion
from ...visualization.drawing import (
    WRONG,
    Boxes,
    captioned,
    class_colors,
    draw_boxes,
    draw_class,
    draw_mask,
    match,
)

# The least score of a box that is drawn, as MMDetection has it.
SCORE = 0.3
# In masks, what belongs to no class.
IGNORED = 255


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Writes each tested image with ground truth and predictions.

    One hook for MMDetection, MMSegmentation and MMPreTrain, whose own differ
    in where they write. Images of the same name in two folders keep their
    folders.

    Args:
        out_dir (str): Where to write the images.
        score_thr (float): Minimum score of a drawn box. Defaults to 0.3.
    """

    priority = 'LOW'

    def __init__(self, out_dir: str, score_thr: float = SCORE):
        self.out_dir = out_dir
        self.score_thr = score_thr
        self._classified: dict[str, tuple[int, int]] = {}

    def before_test(self, runner: Runner) -> None:
        """Look up what the data set is about."""
        self.use(runner.test_dataloader.dataset)

    def use(self, dataset: BaseDataset) -> None:
        """Draw images of this data set."""
        self._truth = GroundTruth(dataset)
        self._classes, self._palette = classes_of(dataset)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Draw the predictions of one batch."""
        for sample in outputs or ():
            name = _name_below_data(self._truth.dataset, sample.img_path)
            file = os.path.join(self.out_dir, name)
            picture, counts = self.draw(sample, name)
            if picture is None:
                image = mmcv.imread(sample.img_path, channel_order='rgb')
                runner.visualizer.add_datasample(
                    image=image, name=name, data_sample=sample, out_file=file)
                continue
            os.makedirs(os.path.dirname(file), exist_ok=True)
            picture.save(file)
            say(f'{name}  {counts}')

    def draw(self, sample: BaseDataElement, name: str
             ) -> tuple[Image.Image | None, str]:
        """Draw one image, if its task is known, and count what is in it."""
        for key, way in (('pred_instances', self._draw_boxes),
                         ('pred_sem_seg', self._draw_mask),
                         ('pred_label', self._draw_class)):
            if key in sample:
                image = mmcv.imread(sample.img_path, channel_order='rgb')
                return way(image, sample, name)
        return None, ''

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Draw which classes are taken for which."""
        pairs = {}
        for part in all_gather_object(self._classified):
            pairs.update(part)
        if pairs and is_main_process():
            counts = np.zeros((len(self._classes), ) * 2, int)
            np.add.at(counts, tuple(np.transpose(list(pairs.values()))), 1)
            draw_confusion(counts, self._classes, os.path.join(
                self.out_dir, 'confusion_matrix.png'))
            draw_accuracies(counts, self._classes, os.path.join(
                self.out_dir, 'accuracy_by_class.png'))

    def _draw_boxes(self, image: np.ndarray, sample: BaseDataElement,
                    name: str):
        found = sample.pred_instances.cpu()
        order = found.scores.argsort(descending=True)
        best = f'best {found.scores.max():.2f}' if len(order) else 'none'
        found = found[order[found.scores[order] >= self.score_thr]]
        corners, labels = self._truth.boxes(sample)
        found_labels = found.labels.tolist()
        seen, hits = match(corners, labels, found.bboxes, found_labels)
        alarms = counted(len(hits) - sum(hits), 'false alarm')
        counts = (f'{counted(len(hits), "box", "boxes")} above '
                  f'{self.score_thr:g} ({best})')
        names = [self._classes[label] for label in found_labels]
        texts = [f'{name} {score:.2f}'
                 for name, score in zip(names, found.scores.tolist())]
        panels = [(f'prediction: {counts}, {alarms} dashed', draw_boxes(
            image, Boxes(found.bboxes, found_labels, texts, hits, names),
            self._palette))]
        if labels:
            missed = len(seen) - sum(seen)
            names = [self._classes[label] for label in labels]
            panels.insert(0, (
                f'truth: {counted(len(seen), "box", "boxes")}, '
                f'{missed} missed dashed', draw_boxes(
                    image, Boxes(corners, labels, names, seen, names),
                    self._palette)))
            counts += f': {counted(sum(hits), "hit")}, {missed} missed'
        return captioned(panels), f'{counts}, {alarms}'

    def _draw_mask(self, image: np.ndarray, sample: BaseDataElement,
                   name: str):
        found = sample.pred_sem_seg.data.cpu().numpy().squeeze(0)
        panels = [('prediction', draw_mask(image, found, self._palette))]
        there, counts = np.unique(found), 'no mask to compare with'
        truth = mask_of(sample)
        if truth is not None and truth.shape == found.shape:
            labeled = truth != IGNORED
            wrong = labeled & (truth != found)
            share = 1 - wrong.sum() / max(1, labeled.sum())
            counts = f'{share:.1%} of the pixels right' + self._unseen(
                truth[labeled], found[labeled])
            panels.insert(0, ('truth', draw_mask(image, truth,
                                                 self._palette)))
            panels.append((f'right {share:.1%}, wrong in red', draw_mask(
                image, np.where(wrong, 0, 1), [WRONG])))
            there = np.union1d(there, np.unique(truth[labeled]))
        legend = [(self._classes[label], self._palette[label])
                  for label in there if label < len(self._classes)]
        return captioned(panels, legend), counts

    def _unseen(self, truth: np.ndarray, found: np.ndarray) -> str:
        """The classes that one of two masks lacks."""
        text = ''
        for word, labels in (('missed', np.setdiff1d(truth, found)),
                             ('false alarm', np.setdiff1d(found, truth))):
            if len(labels):
                names = ', '.join(self._classes[label] for label in labels)
                text += f', {word}: {names}'
        return text

    def _draw_class(self, image: np.ndarray, sample: BaseDataElement,
                    name: str):
        label = int(sample.pred_label[0])
        found = self._classes[label]
        if 'pred_score' in sample:
            found += f' {sample.pred_score[label]:.2f}'
        truth = (sample.gt_label.tolist() if 'gt_label' in sample else [])
        right = label in truth
        if len(truth) == 1:
            self._classified[name] = (truth[0], label)
        names = ', '.join(self._classes[item] for item in truth)
        verdict = ('right' if right else 'wrong') if truth else 'not labeled'
        return (draw_class(image, names or 'not known', found, right),
                f'{names} predicted as {found}, {verdict}')


class GroundTruth:
    """Ground truth in pixels of the original images.

    That of a data sample may have been resized with the image.
    """

    def __init__(self, dataset: BaseDataset):
        self.dataset = dataset

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {self.dataset.get_data_info(index)['img_path']: index
                for index in range(len(self.dataset))}

    def instances(self, path: str) -> list[dict]:
        """All annotations of an image."""
        index = self._indices.get(path)
        return [] if index is None else (
            self.dataset.get_data_info(index)['instances'])

    def objects(self, path: str) -> list[dict]:
        """Annotations of an image that are to be found."""
        return [item for item in self.instances(path)
                if not item.get('ignore_flag')]

    def boxes(self, sample: BaseDataElement) -> tuple[torch.Tensor, list[int]]:
        """Corners and classes."""
        boxes = self.objects(sample.img_path)
        return (torch.tensor([box['bbox'] for box in boxes]).reshape(-1, 4),
                [box['bbox_label'] for box in boxes])


def mask_of(sample: BaseDataElement) -> np.ndarray | None:
    if 'gt_sem_seg' not in sample:
        return None
    return sample.gt_sem_seg.data.cpu().numpy().squeeze(0)


def classes_of(dataset: BaseDataset) -> tuple[list[str], list[tuple]]:
    """Names and colors of a data set's classes."""
    meta = getattr(dataset, 'metainfo', None) or {}
    names = [printable(name) for name in
             meta.get('classes') or map(str, range(IGNORED))]
    return names, class_colors(len(names), meta.get('palette'))


def _name_below_data(dataset: BaseDataset, path: str) -> str:
    """Path of an image relative to the folder of the data set's images."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    folder = prefix.get('img') or prefix.get('img_path')
    name = os.path.relpath(path, folder) if folder else '..'
    # An absolute name would be that of the image itself.
    return os.path.basename(path) if name.startswith('..') else name


def add_visualization_hook(runner: Runner, out_dir: str,
                           score_thr: float | None = None) -> None:
    """Let a test write images, or videos, with the predictions."""
    if runner.cfg.model.type.endswith('Retriever'):
        raise UserError('--show-dir: a retriever answers with a whole '
                        'gallery, which cannot be drawn into an image')
    if is_tracker(runner.cfg):
        runner.register_hook(dict(
            type='mmlowformer.SOTVisualizationHook', out_dir=out_dir))
        return
    if follows_many(runner.cfg):
        runner.register_hook(dict(
            type='mmlowformer.MOTVisualizationHook', out_dir=out_dir))
        return
    hook = runner.cfg.default_hooks.get('visualization') or {}
    if score_thr is None:
        score_thr = hook.get('score_thr', SCORE)
    runner.register_hook(VisualizationHook(out_dir, score_thr))
