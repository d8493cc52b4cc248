"""Annotations of many objects in videos, checked before a test begins.

MMDetection and TrackEval come across what is wrong with them late: when a
video, or the last of all, has been followed.
"""
from collections import defaultdict
from collections.abc import Iterator

from mmengine.config import Config

from ...config.loading import kind_of
from ...errors import shown
from ..paths import paths_of
from .coco import check_content
from .coco_annotations import is_number, refuse_faults
from .coco_file import read_coco

# What the metrics of MOTChallenge count is of this category.
COUNTED = 1
# What each box of a MOTChallengeDataset has to say.
KEYS = ('instance_id', 'mot_conf', 'visibility')


def check_identities(dataset: dict, classes: tuple,
                     cfg: Config, dataloader: str) -> None:
    """Make sure that videos can be followed and judged to their end."""
    path = paths_of(dataset)['ann_file']
    content = read_coco(path)
    check_content(content, classes, dataset, 'data_prefix.img_path',
                  dataloader)
    # Others of MMDetection's video data sets have no such metrics.
    if kind_of(dataset) == 'MOTChallengeDataset':
        refuse_faults(_faults(content), path)


def _faults(content: dict) -> Iterator[tuple[str, str]]:
    videos = defaultdict(list)
    for image in content['image_records']:
        videos[shown(image.get('video_id'))].append(image)
    boxes = defaultdict(list)
    for annotation in content['annotations']:
        boxes[annotation['image_id']].append(annotation)
    for images in videos.values():
        yield from _video_faults(images, boxes)
    for annotations in boxes.values():
        yield from _frame_faults(annotations)


def _video_faults(images: list[dict], boxes: dict) -> Iterator[
        tuple[str, str]]:
    first = images[0]['file_name']
    numbers = [image.get('frame_id') for image in images]
    if numbers != list(range(len(images))):
        yield ('video whose frames have no frame_id that counts from 0 in '
               'their order', first)
    if len(first.split('/')) < 3:
        yield ('frame that is not in a folder of a folder named like its '
               'video, as img1 is', first)
    if not any(item['category_id'] == COUNTED for image in images
               for item in boxes[image['id']]):
        yield (f'video without any box of category {COUNTED}, the only one '
               'that the metrics count', first)


def _frame_faults(annotations: list[dict]) -> Iterator[tuple[str, str]]:
    seen = set()
    for annotation in annotations:
        name = f'annotation {annotation.get("id")}'
        lacking = [key for key in KEYS if not is_number(annotation.get(key))]
        if lacking:
            yield f'box without {lacking[0]}, or whose one is no number', name
        identity = shown(annotation.get('instance_id'))
        if identity in seen:
            yield 'object with two boxes in a frame', (
                f'{name}, instance_id {identity}')
        seen.add(identity)
