"""Splits of a data set into training, validation and test."""
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from ..errors import UserError, shown
from .checks.class_folders import class_folders
from .formats import ImageFolder
from .paths import check_names
from .region_splitting import split_regions

Group: TypeAlias = Callable[[str], str]


def group_by(pattern: str) -> Group:
    """A function that maps an image name to its group."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f'--group {pattern} is not a regular expression: '
                        f'{error}') from error

    def key(name: str) -> str:
        match = expression.search(name)
        if not match:
            raise UserError(f'--group {pattern} does not match '
                            + shown(name))
        return match.group(1 if expression.groups else 0)

    return key


def group_split(groups: Sequence[Hashable], fractions: dict[str, float],
                seed: int) -> dict[str, list[int]]:
    """Split images so that no group is in two parts, in any order of them."""
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) <= len(fractions):
        raise UserError(f'{len(groups)} images in {len(members)} group(s) '
                        f'cannot be split into {len(fractions) + 1} parts')
    remaining = sorted(members, key=str)
    random.Random(seed).shuffle(remaining)
    parts: dict[str, list[int]] = {}
    for position, (name, fraction) in enumerate(fractions.items()):
        wanted = max(1, round(fraction * len(groups)))
        # Each later part, and train, needs a group.
        reserve = len(fractions) - position
        part = members[remaining.pop()]
        # Another group only if it brings the part closer to its size.
        while len(remaining) > reserve and (
                len(part) + len(members[remaining[-1]]) / 2 <= wanted):
            part = part + members[remaining.pop()]
        parts[name] = sorted(part)
    rest = [index for group in remaining for index in members[group]]
    return dict(train=sorted(rest), **parts)


def source_of(record: dict) -> str:
    """The image of which an image is a tile, or its name."""
    return str(record.get('source', record['file_name']))


def split_content(content: dict, fractions: dict[str, float],
                  group: Group | None, seed: int, *, regions: bool = False
                  ) -> tuple[dict[str, dict], int]:
    """Split the content of a COCO file; tiles of an image stay together.

    With regions, they are split so that parts share no pixel. The number of
    tiles between the parts, which are left out, is returned, too.
    """
    images, left_out = content['images'], 0
    if regions:
        indices, left_out = split_regions(images, fractions, seed)
    else:
        groups = [group(image['file_name']) for image in images] if group \
            else list(map(source_of, images))
        if not group and len(images) > len(set(groups)) == 1:
            raise UserError(f'all {len(images)} tiles are of '
                            f'{shown(groups[0])}: split them by --regions')
        indices = group_split(groups, fractions, seed)
    parts = {}
    for name, chosen in indices.items():
        images = [content['images'][index] for index in chosen]
        known = {image['id'] for image in images}
        parts[name] = dict(content, images=images, annotations=[
            item for item in content.get('annotations') or ()
            if item['image_id'] in known])
    return parts, left_out


def missing_classes(content: dict) -> list[str]:
    """Categories without an annotation."""
    counts = Counter(item['category_id'] for item in content['annotations'])
    return [item['name'] for item in content['categories']
            if not counts[item['id']]]


def split_images(images: ImageFolder, fractions: dict[str, float],
                 group: Group | None, seed: int) -> dict[str, list[str]]:
    """Split a folder of images; lines of class folders get class numbers."""
    folder = images.folder
    check_names(images.names, folder)
    labeled = all('/' in name for name in images.names)
    # Folders without images are classes, too, as in a training.
    members: dict[str, list[str]] = {
        label: [] for label in (class_folders(folder) if labeled else [''])}
    for name in images.names:
        members[name.split('/')[0] if labeled else ''].append(name)
    parts: dict[str, list[str]] = {part: [] for part in ('train', *fractions)}
    for number, (label, names) in enumerate(members.items()):
        try:
            indices = group_split(list(map(group, names)) if group else names,
                                  fractions, seed)
        except UserError as error:
            raise UserError(f'{folder}/{label}: {error}' + (
                '. Add images of this class, or move its folder out of '
                f'{folder}' if labeled else '')) from error
        suffix = f' {number}' if labeled else ''
        for part, chosen in indices.items():
            parts[part] += [names[index] + suffix for index in chosen]
    return parts
