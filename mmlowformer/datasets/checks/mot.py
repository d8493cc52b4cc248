"""Checks of MOT annotations.

MMDetection and TrackEval find these errors only after they have tracked a
video, or the last one.
"""
from collections import defaultdict
from collections.abc import Iterator

from mmengine.config import Config

from ...config.loading import kind_of
from ...errors import AnnotationErrors, shown
from ..paths import paths_of
from .check_datasets import Result
from .coco import FIX, check_content
from .coco_annotations import is_number, read_coco

# The only category that the metrics of MOTChallenge count.
COUNTED = 1
# Keys of a box that MOTChallengeDataset needs.
KEYS = ('instance_id', 'mot_conf', 'visibility')


def check_mot(dataset: dict, classes: tuple, cfg: Config, dataloader: str
              ) -> Result:
    """Make sure that videos can be tracked and evaluated."""
    path = paths_of(dataset)['ann_file']
    content = read_coco(path)
    # Its boxes may be partly outside of the images.
    _, paths = check_content(content, classes, dataset,
                             'data_prefix.img_path', dataloader)
    # Other video data sets of MMDetection have no such metrics.
    if kind_of(dataset) == 'MOTChallengeDataset':
        AnnotationErrors(_find_errors(content)).check(path, FIX)
    return [], paths


def _find_errors(content: dict) -> Iterator[tuple[str, str]]:
    videos, boxes = defaultdict(list), defaultdict(list)
    for image in content['image_records']:
        videos[shown(image.get('video_id'))].append(image)
    for annotation in content['annotations']:
        boxes[annotation['image_id']].append(annotation)
    for images in videos.values():
        yield from _video_errors(images, boxes)
    for annotations in boxes.values():
        yield from _frame_errors(annotations)


def _video_errors(images: list[dict], boxes: dict) -> Iterator[
        tuple[str, str]]:
    first = images[0]['file_name']
    numbers = [image.get('frame_id') for image in images]
    if numbers != list(range(len(images))):
        yield 'video with no frame_id that counts from 0 in order', first
    if len(first.split('/')) < 3:
        yield 'frame whose path is not VIDEO/img1/FRAME', first
    if not any(item['category_id'] == COUNTED for image in images
               for item in boxes[image['id']]):
        yield (f'video without any box of category {COUNTED}, the only one '
               'that the metrics count', first)


def _frame_errors(annotations: list[dict]) -> Iterator[tuple[str, str]]:
    seen = set()
    for annotation in annotations:
        name = f'annotation {annotation.get("id")}'
        for key in KEYS:
            if not is_number(annotation.get(key)):
                yield (f'box without {key}, or with one that is not a number',
                       name)
                break
        identity = shown(annotation.get('instance_id'))
        if identity in seen:
            yield 'object with two boxes in a frame', (
                f'{name}, instance_id {identity}')
        seen.add(identity)
