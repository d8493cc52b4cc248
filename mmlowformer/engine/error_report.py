"""What a test's metric hides: where and how a model errs."""
import heapq
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import mmcv
import numpy as np
from mmengine.dist import (
    all_gather_object,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from PIL import Image
from pycocotools import mask as coco_mask

from ..analysis import detection_errors as tide
from ..config.model_kind import follows_many, is_tracker
from ..errors import UserError
from ..registry import HOOKS
from ..utils.console import say
from ..utils.files import write_json
from ..utils.text import counted
from ..visualization.confusion_matrix import draw_accuracies, draw_confusion
from ..visualization.detection_report import draw_errors, draw_thresholds
from ..visualization.drawing import RIGHT, WRONG, Boxes, captioned, draw_boxes
from .hooks.visualization import (
    IGNORED,
    GroundTruth,
    VisualizationHook,
    classes_of,
    mask_of,
)

# Images that are drawn, classes that are listed on the screen, and the length
# of their names there.
WORST, LISTED, NAME = 10, 20, 30
UNKNOWN_TASK = '--report is for detectors, segmentors and classifiers'
RESULT, CONFUSION = 'report.json', 'confusion_matrix.png'
# Colors of predictions by their kind.
COLORS = dict(zip(tide.PREDICTION_KINDS, (
    RIGHT, (150, 0, 190), (0, 90, 220), (0, 140, 160), (200, 110, 0), WRONG)))
MISSED_COLOR = WRONG


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes a report on a test: counts and kinds of errors, worst images.

    Args:
        out_dir (str): The folder of the report.
        score_thr (float, optional): The score threshold at which a
            detector's errors are counted. Defaults to that of the best F1.
    """

    priority = 'LOW'

    def __init__(self, out_dir: str, score_thr: float | None = None):
        self.out_dir = out_dir
        self.score_thr = score_thr

    def before_test(self, runner: Runner) -> None:
        """Start to collect."""
        self._dataset = runner.test_dataloader.dataset
        self._report: Any = None
        # Samplers repeat images until each process has as many.
        self._positions = itertools.count(get_rank(), get_world_size())

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Add the images of one batch."""
        for sample in outputs or ():
            if next(self._positions) >= len(self._dataset):
                continue
            if self._report is None:
                self._report = _kind_of(sample)(self._dataset)
            self._report.add(sample)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """Write the report."""
        parts = [part for part in all_gather_object(
            self._report and self._report.collected()) if part]
        if parts and is_main_process():
            folder = Path(self.out_dir)
            (folder / 'worst').mkdir(parents=True)
            write_json(folder / RESULT, self._report.write(
                folder, parts, self.score_thr))


class DetectionReport:
    """Errors by kind, size and class, and the best score threshold."""

    key: ClassVar = 'pred_instances'

    def __init__(self, dataset: Any):
        self._truth = GroundTruth(dataset)
        self._classes, self._palette = classes_of(dataset)
        self._images: dict[str, tuple[tide.ImageErrors, np.ndarray]] = {}

    def add(self, sample: BaseDataElement) -> None:
        """Match the predictions of an image with its ground truth."""
        found = sample.pred_instances.cpu()
        found = found[found.scores.argsort(descending=True, stable=True)]
        instances = self._truth.instances(sample.img_path)
        by_mask = 'masks' in found and all(
            instance.get('mask') for instance in instances)
        self._regions = 'masks' if by_mask else 'boxes'
        corners = found.bboxes.numpy().reshape(-1, 4)
        shapes: Any = _sides(corners)
        if by_mask:
            shapes = [coco_mask.encode(np.asfortranarray(mask, np.uint8))
                      for mask in np.asarray(found.masks)]
        parts = [[instance for instance in instances
                  if bool(instance.get('ignore_flag')) == crowd]
                 for crowd in (False, True)]
        truth, crowds = (_regions(part, sample.ori_shape[:2], by_mask)
                         for part in parts)
        errors = tide.image_errors(
            tide.Regions(shapes, found.labels.numpy()), found.scores.numpy(),
            truth, crowds)
        self._images[sample.img_path] = errors, corners

    def collected(self) -> dict:
        """What other processes need to know."""
        return self._images

    def write(self, folder: Path, parts: list[dict], score_thr: float | None
              ) -> dict:
        """Write pictures, and print the tables."""
        images = {path: item for part in parts for path, item in part.items()}
        errors = tide.combined(item for item, _ in images.values())
        points = tide.curve(errors)
        best, f1 = points.best()
        chosen = best if score_thr is None else score_thr
        rows = tide.class_rows(errors, self._classes, chosen)
        kinds = tide.count_kinds(errors, chosen)
        sweep = points.at(tide.THRESHOLDS)
        draw_thresholds(points.recall, points.precision, sweep, best, chosen,
                        folder / 'thresholds.png')
        draw_errors(kinds, tide.SIZES, f'errors at score {chosen:g}, by size '
                    'of the box', folder / 'errors.png')
        verdict = (f'Best score threshold {best:g} (F1 {f1:.2f} of '
                   f'{self._regions}): predict.py --score-thr {best:g}' if f1
                   else 'No prediction is a hit: no threshold is the best.')
        say('\n'.join([verdict, *_class_table(rows, chosen),
                       *_kind_table(kinds, chosen)]))
        return dict(
            best_score_thr=best, best_f1=f1, score_thr=chosen,
            iou_thr=tide.FOREGROUND, matched_by=self._regions,
            classes=rows,
            errors={kind: dict(zip(tide.SIZES, numbers))
                    for kind, numbers in kinds.items()},
            thresholds={name: _rounded(values)
                        for name, values in sweep.items()},
            worst=self._draw_worst(images, chosen, folder))

    def _draw_worst(self, images: dict, threshold: float, folder: Path
                    ) -> list[dict]:
        counts = {path: tide.count_images(errors, threshold)
                  for path, (errors, _) in images.items()}
        paths = heapq.nlargest(WORST, filter(
            lambda path: sum(counts[path]), images), lambda path:
            sum(counts[path]))
        worst = []
        for rank, path in enumerate(paths, 1):
            file = _worst_file(rank, path)
            errors, corners = images[path]
            self._draw(path, errors, corners, threshold).save(folder / file)
            worst.append(dict(image=path, picture=file, **dict(zip(
                ('false_positives', 'misses'), counts[path]))))
        return worst

    def _draw(self, path: str, errors: tide.ImageErrors, corners: np.ndarray,
              threshold: float) -> Image.Image:
        """Ground truth and predictions, in the colors of their errors."""
        image = mmcv.imread(path, channel_order='rgb')
        objects = self._truth.objects(path)
        hit = errors.hit_scores >= threshold
        truth = Boxes(
            np.reshape([item['bbox'] for item in objects], (-1, 4)),
            hit.astype(int).tolist(),
            [self._classes[item['bbox_label']] for item in objects],
            hit.tolist())
        shown = (errors.scores >= threshold) & (errors.kinds >= 0)
        kinds = errors.kinds[shown].tolist()
        found = Boxes(
            corners[shown], kinds,
            [f'{self._classes[label]} {score:.2f}' for label, score in
             zip(errors.labels[shown], errors.scores[shown])],
            [kind == 0 for kind in kinds])
        alarms, misses = tide.count_images(errors, threshold)
        return captioned([
            (f'truth: {counted(len(hit), "object")}, {misses} missed dashed',
             draw_boxes(image, truth, [MISSED_COLOR, RIGHT])),
            (f'prediction: {counted(len(kinds), "object")} from score '
             f'{threshold:g}, {counted(alarms, "error")} dashed',
             draw_boxes(image, found, list(COLORS.values())))],
            [(kind, COLORS[kind]) for index, kind in
             enumerate(tide.PREDICTION_KINDS) if index in kinds])


def _rounded(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON, which has no NaN."""
    return [None if np.isnan(value) else round(value, 4)
            for value in values.tolist()]


def _sides(corners: Any) -> np.ndarray:
    """Left, top, width and height of boxes."""
    corners = np.array(corners, np.float64).reshape(-1, 4)
    corners[:, 2:] -= corners[:, :2]
    return corners


def _regions(instances: list[dict], size: tuple[int, int], by_mask: bool
             ) -> tide.Regions:
    labels = np.array([item['bbox_label'] for item in instances], int)
    if by_mask:
        return tide.Regions([_rle(item['mask'], size) for item in instances],
                            labels)
    return tide.Regions(_sides([item['bbox'] for item in instances]), labels)


def _rle(mask: Any, size: tuple[int, int]) -> dict:
    """A mask of an annotation: polygons, or run lengths."""
    if isinstance(mask, dict) and not isinstance(mask['counts'], list):
        return mask
    encoded = coco_mask.frPyObjects(mask, *size)
    return coco_mask.merge(encoded) if isinstance(encoded, list) else encoded


def _class_table(rows: list[dict], threshold: float) -> list[str]:
    """The worst classes, for the screen."""
    rows = sorted(rows, key=lambda row: -row['false_positives']
                  - row['misses'])
    title = f'Classes at score {threshold:g}'
    lines = [f'{title:<{NAME}}{"AP50":>8}{"objects":>9}{"hits":>9}'
             f'{"false":>9}{"missed":>9}']
    for row in rows[:LISTED]:
        average = '-' if row['AP50'] is None else f'{row["AP50"]:.3f}'
        lines.append(
            f'  {_cut(row["name"]):<{NAME - 2}}{average:>8}'
            f'{row["objects"]:>9}{row["hits"]:>9}'
            f'{row["false_positives"]:>9}{row["misses"]:>9}')
    if len(rows) > LISTED:
        lines.append(f'  {len(rows) - LISTED} classes with fewer errors are '
                     f'in {RESULT}')
    return lines


def _cut(name: str) -> str:
    return name if len(name) < NAME - 2 else f'{name[:NAME - 6]}...'


def _kind_table(kinds: dict[str, list[int]], threshold: float) -> list[str]:
    title = f'Errors at score {threshold:g}'
    return [f'{title:<{NAME}}' + ''.join(
        f'{name:>9}' for name in (*tide.SIZES, 'all')), *(
        f'  {kind:<{NAME - 2}}' + ''.join(
            f'{number:>9}' for number in (*numbers, sum(numbers)))
        for kind, numbers in kinds.items())]


def _worst_file(rank: int, path: str) -> str:
    return f'worst/{rank:02}_{Path(path).stem}.png'


class _ConfusionReport:
    """Counts which classes are taken for which, and draws the worst images."""

    def __init__(self, dataset: Any):
        self._classes = classes_of(dataset)[0]
        self._drawer = VisualizationHook('')
        self._drawer.use(dataset)
        self._counts = np.zeros((len(self._classes), ) * 2, np.int64)
        self._worst: list[tuple[float, str, Any]] = []

    def _add(self, truth: Any, found: Any, error: float,
             sample: BaseDataElement) -> None:
        """Count an image or its pixels, and draw it if few were worse."""
        classes = len(self._classes)
        self._counts += np.bincount(
            np.asarray(truth, np.int64) * classes + found,
            minlength=classes**2).reshape(classes, classes)
        if error and (len(self._worst) < WORST or error > self._worst[0][0]):
            picture, _ = self._drawer.draw(sample, sample.img_path)
            heapq.heappush(self._worst, (error, sample.img_path, picture))
            if len(self._worst) > WORST:
                heapq.heappop(self._worst)

    def collected(self) -> tuple:
        """What other processes need to know."""
        return self._counts, self._worst

    def _write_worst(self, folder: Path, parts: list[tuple], name: str
                     ) -> list[dict]:
        worst = heapq.nlargest(WORST, itertools.chain(
            *(images for _, images in parts)), lambda item: item[0])
        rows = []
        for rank, (error, path, picture) in enumerate(worst, 1):
            file = _worst_file(rank, path)
            picture.save(folder / file)
            rows.append({'image': path, 'picture': file, name: error})
        return rows


class SegmentationReport(_ConfusionReport):
    """Confused pixels."""

    key = 'pred_sem_seg'

    def add(self, sample: BaseDataElement) -> None:
        """Count the labeled pixels of an image."""
        truth = mask_of(sample)
        found = sample.pred_sem_seg.data.cpu().numpy().squeeze(0)
        if truth is None or truth.shape != found.shape:
            return
        labeled = truth != IGNORED
        truth, found = truth[labeled], found[labeled]
        if len(truth):
            self._add(truth, found, float((truth != found).mean()), sample)

    def write(self, folder: Path, parts: list[tuple], score_thr: float | None
              ) -> dict:
        """Write pictures; MMSegmentation prints the IoU of each class."""
        counts = sum(part for part, _ in parts)
        draw_confusion(counts, self._classes, folder / CONFUSION, 'pixels')
        union = counts.sum(0) + counts.sum(1) - counts.diagonal()
        return dict(
            classes=[dict(name=name, IoU=hits / total if total else None)
                     for name, hits, total in zip(
                         self._classes, counts.diagonal().tolist(),
                         union.tolist())],
            confusion=counts.tolist(),
            worst=self._write_worst(folder, parts, 'wrong_pixels'))


class ClassificationReport(_ConfusionReport):
    """Confused images."""

    key = 'pred_label'

    def add(self, sample: BaseDataElement) -> None:
        """Count an image of one class."""
        truth = sample.gt_label.tolist() if 'gt_label' in sample else []
        if len(truth) != 1:
            return
        found = int(sample.pred_label[0])
        # The surer of a wrong class, the worse.
        error = float(sample.pred_score[found]) if found != truth[0] else 0.
        self._add(truth, [found], error, sample)

    def write(self, folder: Path, parts: list[tuple], score_thr: float | None
              ) -> dict:
        """Write pictures."""
        counts = sum(part for part, _ in parts)
        draw_confusion(counts, self._classes, folder / CONFUSION)
        draw_accuracies(counts, self._classes,
                        folder / 'accuracy_by_class.png')
        return dict(
            classes=[dict(name=name, images=total, correct=hits)
                     for name, hits, total in zip(
                         self._classes, counts.diagonal().tolist(),
                         counts.sum(1).tolist())],
            confusion=counts.tolist(),
            worst=self._write_worst(folder, parts, 'score'))


REPORTS = (DetectionReport, SegmentationReport, ClassificationReport)


def _kind_of(sample: BaseDataElement) -> type:
    for kind in REPORTS:
        if kind.key in sample:
            return kind
    raise UserError(UNKNOWN_TASK)


def add_report_hook(runner: Runner, out_dir: str,
                    score_thr: float | None = None) -> None:
    """Let a test write a report."""
    if (is_tracker(runner.cfg) or follows_many(runner.cfg)
            or runner.cfg.model.type.endswith('Retriever')):
        raise UserError(UNKNOWN_TASK)
    runner.register_hook(ReportHook(os.path.abspath(out_dir), score_thr))
