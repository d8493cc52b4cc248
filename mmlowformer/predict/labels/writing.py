"""Labels from the lines of a run, to be corrected in a labeling tool."""
import argparse
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ...datasets.checks.coco_annotations import rle_counts
from ...datasets.formats import AnnotatedImage, Annotation
from ...datasets.formats.annotations import box_around
from ...datasets.formats.shapes import around_mask
from ...datasets.formats.writers import WRITERS, LabelSet
from ...errors import UserError, first_line, is_printable, printable, shown
from ...utils.files import new_folder, write_errors
from ...utils.images import upright_size
from ...utils.terminal import counting_bar, show_line
from ...utils.text import counted, short
from ..file_names import short_names
from ..result_lines import read_lines
from ..results_folder import LINES, ResultsFolder
from .uncertainty import LIST, most_uncertain, write_list

# Pixels by which the outline of a mask may be simplified.
SIMPLER = 1.
# Lines of uncertain images on the screen.
SHOWN = 10


def save_labels(args: argparse.Namespace, folder: ResultsFolder,
                paths: Sequence[str], classes: Sequence[str]) -> None:
    """Do what --uncertain and --save-as ask for, once results are merged."""
    lines, only = folder.path / LINES, None
    if not folder.is_merged:
        return
    if args.uncertain:
        only = most_uncertain(lines, paths, args.uncertain)
        with write_errors(folder.path / LIST):
            file = write_list(folder.path, [paths[item] for item in only])
        show_line('Uncertain', f'{counted(len(only), "image")}, listed in '
                  f'{short(file)}', always=True)
        for position, value in islice(only.items(), SHOWN):
            show_line('', f'{value:.2f} {printable(short(paths[position]))}',
                      always=True)
    if args.save_as:
        written = write_labels(
            args.save_as, lines, paths, classes, only=only,
            score_thr=args.label_thr, model=Path(args.checkpoint).stem)
        target = short(folder.path / f'labels-{args.save_as}')
        show_line('Labels', f'{target} exists and is kept, since it may hold '
                  'corrections: delete it to write it again'
                  if written is None else
                  f'{counted(written, "image")} in {target}', always=True)


def write_labels(kind: str, lines: Path, paths: Sequence[str],
                 classes: Sequence[str], *, score_thr: float = 0.,
                 only: Collection[int] | None = None, model: str = ''
                 ) -> int | None:
    """Write the labels of images to a new folder beside the results.

    Labels that exist are kept, as somebody may have corrected them.

    Args:
        kind (str): One of ``WRITERS``.
        lines (Path): The results, a line for each image.
        paths (Sequence[str]): All images of the run.
        classes (Sequence[str]): All classes of the model.
        score_thr (float): Lowest score of the objects. Defaults to 0.
        only (Collection[int], optional): Positions of the images to label.
            Defaults to all with results.
        model (str): Name of the model, for Label Studio.

    Returns:
        int or None: The number of images, None if the folder exists.
    """
    target = lines.parent / f'labels-{kind}'
    if target.exists():
        return None
    for name in classes:
        if not is_printable(name):
            raise UserError(f'the class {shown(repr(name))} is no printable '
                            'text: rename it before labels are written')
    names = short_names(paths)
    root = Path(os.path.abspath(paths[0])[:-len(names[0])])
    written = 0

    def images() -> Iterator[AnnotatedImage]:
        nonlocal written
        for position, records in read_lines(lines):
            if only is None or position in only:
                yield _labeled(paths[position], names[position], records,
                               score_thr)
                written += 1
                step()

    with new_folder(target) as folder, counting_bar('Labels', None) as step:
        WRITERS[kind](LabelSet(folder, target.absolute(), root, names,
                               list(classes), images(), model))
    return written


def _labeled(path: str, name: str, content: dict, score_thr: float
             ) -> AnnotatedImage:
    try:
        height, width = upright_size(path)
        found = [(item, record['score'])
                 for record in content['predictions']
                 if _score_of(record) >= score_thr
                 and (item := _annotation(record, width, height))]
    except (LookupError, OSError, TypeError, ValueError) as error:
        raise UserError(f'labels of {path} cannot be written: '
                        f'{first_line(error)}') from error
    return AnnotatedImage(name, width, height, [item for item, _ in found],
                          dict(id=content['image_id'],
                               scores=[score for _, score in found]))


def _score_of(record: dict) -> float:
    if 'bbox' not in record:
        raise UserError('--save-as is for boxes and masks of instances, which '
                        'this model does not predict')
    return record['score']


def _annotation(record: dict, width: int, height: int) -> Annotation | None:
    """The object within its image, None if nothing is left of it."""
    x, y, w, h = record['bbox']
    box = (max(x, 0.), max(y, 0.), min(x + w, float(width)),
           min(y + h, float(height)))
    polygons = _outline(record.get('segmentation'), width, height)
    if polygons:
        box = box_around(polygons)  # type: ignore[assignment]
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    return Annotation(record['category_name'], box, polygons or None)


def _outline(code: dict | None, width: int, height: int
             ) -> list[list[float]]:
    """Polygons around a mask, with few points, which are easier to move."""
    if code is None:
        return []
    counts = rle_counts(code['counts'])
    if code['size'] != [height, width] or sum(counts) != height * width:
        raise ValueError('the image has another size than its mask')
    mask = np.repeat(np.arange(len(counts), dtype=np.uint8) % 2, counts
                     ).reshape(width, height).T
    left, top, columns, rows = cv2.boundingRect(np.ascontiguousarray(mask))
    if not columns:
        return []
    polygons = around_mask(mask[top:top + rows, left:left + columns], left,
                           top)
    return [_simpler(polygon) for polygon in polygons]


def _simpler(polygon: list[float]) -> list[float]:
    points = np.array(polygon, np.float32).reshape(-1, 1, 2)
    simple = cv2.approxPolyDP(points, SIMPLER, True)
    return (simple.reshape(-1).tolist() if len(simple) > 2
            and cv2.contourArea(simple) else polygon)

