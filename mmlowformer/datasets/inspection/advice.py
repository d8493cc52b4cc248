"""What to do with a custom data set, as sentences, numbers and commands."""
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ...errors import shown
from ...utils.files import unused
from ...utils.text import counted
from ..formats import AnnotatedImage, ImageFolder
from ..region_splitting import overlapping, tile_of
from ..splitting import group_split
from .anchor_fit import smallest_fitting
from .near_duplicates import find_near_duplicates
from .parts import PARTS, record_of
from .settings import (
    HARDLY_SEEN,
    BoxSizes,
    box_sizes,
    choose_image_size,
    choose_settings,
    choose_tiles,
    describe_resizing,
    sampled_sizes,
    usual_side,
)

# Classes with fewer examples, and how much more frequent another one may be.
FEW, IMBALANCED = 20, 20
# A class to segment with a smaller fraction of the pixels, and its weight.
RARE, MOST_WEIGHT = 0.02, 10
# Validation images below which chance chooses the best checkpoint. An image
# has several objects or many pixels, but only one class.
ENOUGH_VAL = dict(boxes=50, masks=50, folders=100)
# The default of tools/data.py split, and the most that is advised.
VAL, MOST_VAL = 0.2, 0.4
# Classes in a line, and pairs of images in a file.
MOST_NAMES, MOST_PAIRS = 5, 100


class Advice(NamedTuple):
    """An advice.

    Attributes:
        topic (str): What it is about.
        text (str): A sentence, with the options to use.
        values (dict): The numbers in it.
        title (str): What the command does.
        command (tuple[str, ...]): Arguments of ``tools/data.py``.
    """

    topic: str
    text: str
    values: dict[str, Any]
    title: str = ''
    command: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A record of a JSON file."""
        return dict(
            topic=self.topic, text=self.text, **self.values,
            command=shlex.join(['python', 'tools/data.py', *self.command])
            if self.command else '')


class DataSet(NamedTuple):
    """What advice is about.

    Attributes:
        kind (str): That of ``tools/data.py config``.
        source (str): What is inspected.
        counts (dict[str, int]): Examples of each class.
        images (ImageFolder): Where the images are.
        options (tuple[str, ...]): Of commands that need this folder.
        parts (dict[str, list]): Names of the images of each part, if the data
            are split.
        scenes (list[str]): The image of which each one is a tile, if they are
            tiles; it stays in one part.
    """

    kind: str
    source: str
    counts: Mapping[str, int]
    images: ImageFolder
    options: tuple[str, ...]
    parts: Mapping[str, Sequence[str]]
    scenes: Sequence[str] = ()

    def val_fraction(self, count: int) -> float | None:
        """How many of the images to split off, None if they are split."""
        if self.parts:
            return None
        enough = math.ceil(20 * ENOUGH_VAL[self.kind] / max(1, count)) / 20
        return min(max(VAL, enough), MOST_VAL)

    def sizes(self, count: int) -> tuple[int, int]:
        """Number of images for training and for validation, of so many."""
        fraction = self.val_fraction(count)
        if fraction is None:
            return (len(self.parts.get('train', ())),
                    len(self.parts.get('val', ())))
        if len(set(self.scenes)) > 1:
            split = group_split(self.scenes, dict(val=fraction), seed=0)
            return len(split['train']), len(split['val'])
        val = max(1, round(fraction * count))
        return count - val, val


def advise_boxes(data: DataSet, annotated: Sequence[AnnotatedImage],
                 records: Mapping[str, Sequence[dict]], cfg: Config
                 ) -> list[Advice]:
    """Advice for the images of a COCO file; ``records`` has its parts."""
    sizes = box_sizes(annotated)
    if sizes is None:
        return []
    side = usual_side([image[1:3] for image in annotated])
    smallest = smallest_fitting(cfg)
    tiles = choose_tiles(side, sizes, smallest)
    if tiles and not data.parts:
        out = unused(Path(data.source).with_name('tiles'))
        return [_advise_tiles(data, sizes, side, smallest, str(out)),
                *_advise_classes(data)]
    size = choose_image_size('boxes', side, sizes, smallest)
    scenes = [tile[0] for image in annotated
              if (tile := tile_of(record_of(image)))]
    one_scene = len(scenes) > len(set(scenes)) == 1
    return [_advise_box_size(sizes, size, smallest),
            _advise_training(data, len(annotated), size),
            *_advise_classes(data), *_advise_duplicates(data),
            *_advise_regions(data, records),
            *_advise_parts(data, len(annotated), one_scene)]


def advise_masks(data: DataSet, pixels: Mapping[str, int]) -> list[Advice]:
    """Advice for masks with so many pixels of each class."""
    sizes = sampled_sizes(data.images)
    size = choose_image_size('masks', usual_side(sizes))
    width, height = max(sizes, key=max, default=(0, 0))
    note = describe_resizing(width, height, (size, size))
    return [Advice('size', f'--size {size}. {note}'.strip(), dict(
                image_size=size, largest_image=[width, height])),
            _advise_training(data, len(data.images.names), size),
            *_advise_classes(data), *_advise_weights(pixels),
            *_advise_duplicates(data),
            *_advise_parts(data, len(data.images.names))]


def advise_folders(data: DataSet) -> list[Advice]:
    """Advice for a folder per class."""
    size = choose_image_size('folders', 0)
    count = sum(data.counts.values())
    return [_advise_training(data, count, size), *_advise_classes(data),
            *_advise_duplicates(data), *_advise_parts(data, count)]


def _advise_tiles(data: DataSet, sizes: BoxSizes, side: int, smallest: float,
                  out: str) -> Advice:
    size = choose_image_size('boxes', side, sizes, smallest)
    tiles = choose_tiles(side, sizes, smallest)
    assert tiles is not None
    low, high = sizes.quantiles(0.1, 0.9)
    whole = sizes.quantiles_at(size, 0.1, 0.9)
    options = ('--tile-size', str(tiles.size), '--overlap-ratio',
               f'{tiles.overlap:g}')
    return Advice(
        'tiles', f'{" ".join(options)}: p10 to p90 of the boxes are '
        f'{_span(low, high)} in the images, but {_span(*whole)} if whole '
        f'images are resized to {size}',
        dict(tile_size=tiles.size, overlap_ratio=tiles.overlap,
             p10=low, p90=high, whole_image_size=size, whole_p10=whole[0],
             whole_p90=whole[1],
             whole_below_8=sizes.below(HARDLY_SEEN, size)),
        'Cut the images into tiles, then inspect those',
        ('tile', data.source, *options, '--out', out, *data.options))


def _advise_box_size(sizes: BoxSizes, size: int, smallest: float) -> Advice:
    low, high = sizes.quantiles_at(size, 0.1, 0.9)
    tiny = sizes.below(HARDLY_SEEN, size)
    text = (f'--size {size}: there, p10 to p90 of the boxes are '
            f'{_span(low, high)}; anchors fit from {smallest:.0f}')
    if tiny > 0.5:
        text += (f'. {tiny:.0%} are below {HARDLY_SEEN} pixels, where a '
                 'detector hardly sees them: larger pictures of the objects '
                 'are needed')
    return Advice('size', text, dict(
        image_size=size, p10=low, p90=high, below_8=tiny,
        smallest_fitting=smallest))


def _span(low: float, high: float) -> str:
    return f'{low:.0f} to {high:.0f} pixels'


def _advise_training(data: DataSet, count: int, size: int) -> Advice:
    count, _ = data.sizes(count)
    chosen = choose_settings(data.kind, count, (size, size))
    return Advice(
        'training', f'{chosen.describe()} of {counted(count, "image")}', dict(
            chosen._asdict(), images=count, image_size=size,
            total_iterations=chosen.epochs * chosen.iterations))


def _advise_classes(data: DataSet) -> list[Advice]:
    what = 'boxes' if data.kind == 'boxes' else 'images'
    unused_names = [name for name, count in data.counts.items() if not count]
    few = {name: count for name, count in data.counts.items()
           if 0 < count < FEW}
    advice: list[Advice] = []
    if unused_names:
        advice.append(_advise_unused(data, unused_names, what))
    if few:
        advice.append(Advice(
            'few', f'fewer than {FEW} {what} of {_counted_names(few)}: add '
            'some' + (', or merge classes with tools/data.py convert --rename'
                      if data.kind == 'boxes' else ''),
            dict(few=few, enough=FEW)))
    used = [(count, name) for name, count in data.counts.items() if count]
    if used and (ratio := max(used)[0] / min(used)[0]) >= IMBALANCED:
        (_, most), (_, least) = max(used), min(used)
        advice.append(Advice(
            'imbalance', f'{_quoted(most)} has {ratio:.0f} times the {what} '
            f'of {_quoted(least)}: add those of rare classes, and look at '
            'the scores by class', dict(most=most, least=least, ratio=ratio)))
    return advice


def _advise_unused(data: DataSet, names: Sequence[str], what: str) -> Advice:
    text = f'no {what} of {_some(map(_quoted, names))}'
    values = dict(unused=list(names))
    if data.kind != 'boxes' or data.parts:
        return Advice('unused', f'{text}: add some, or remove the class',
                      values)
    source = Path(data.source)
    out = unused(source.with_name(f'{source.stem}-used.json'))
    return Advice(
        'unused', text, values, 'Leave out unused classes',
        ('convert', 'coco', data.source, '--out', str(out), '--drop-unused',
         *data.options))


def _advise_weights(pixels: Mapping[str, int]) -> list[Advice]:
    total = sum(pixels.values())
    shares = {name: count / total for name, count in pixels.items() if count}
    rare = {name: share for name, share in shares.items() if share < RARE}
    if not rare:
        return []
    # Damped, as full weights let a network see the rare class everywhere.
    mean = 1 / len(shares)
    weights = [round(min(math.sqrt(mean / shares[name]), MOST_WEIGHT), 2)
               if name in shares else 1. for name in pixels]
    option = ('model.decode_head.loss_decode.class_weight='
              + ','.join(f'{weight:g}' for weight in weights))
    named = [f'{_quoted(name)} {share:.1%}' for name, share in rare.items()]
    return [Advice(
        'imbalance', f'few pixels of {_some(named)}: train.py ... '
        f'--cfg-options {option}', dict(
            fractions=shares, class_weight=weights,
            option=f'--cfg-options {option}'))]


def _advise_duplicates(data: DataSet) -> list[Advice]:
    advice: list[Advice] = []
    for found in find_near_duplicates(data.images.folder, data.parts):
        first, second = found.parts
        one, other = found.pairs[0]
        text = (f'{counted(len(found.pairs), "image")} of {second} '
                f'{"resembles" if len(found.pairs) == 1 else "resemble"} '
                f'images of {first}, first {shown(other)} and {shown(one)}: '
                f'scores on {second} are too good. Split again with --similar')
        if not found.complete:
            text += '. Only some images were compared'
        advice.append(Advice(
            'duplicates', text, dict(
                parts=[first, second], images=len(found.pairs),
                pairs=found.pairs[:MOST_PAIRS], complete=found.complete),
            *_split_again(data, '--similar', first=not advice)))
    return advice


def _split_again(data: DataSet, option: str, *, first: bool
                 ) -> tuple[str, tuple[str, ...]]:
    """A title and a command, for the first advice of a topic."""
    if not first:
        return '', ()
    folder = Path(data.source).parent
    if data.kind == 'boxes':
        return f'Merge the parts, then split them with {option}', (
            'merge', *(str(folder / f'{part}.json') for part in data.parts),
            '--out', str(unused(folder / 'merged.json')), *data.options)
    return f'Delete the lists of the parts, then split with {option}', (
        'split', data.images.folder, option)


def _advise_regions(data: DataSet, records: Mapping[str, Sequence[dict]]
                    ) -> list[Advice]:
    """Tell of tiles whose pixels another part has, too."""
    advice: list[Advice] = []
    for part in records:
        shared = part != 'train' and len(list(overlapping(
            records[part], records.get('train', ()))))
        if shared:
            advice.append(Advice(
                'regions', f'{counted(shared, "tile")} of {part} share pixels '
                f'with tiles of train: scores on {part} are too good. Split '
                'all tiles again with --regions', dict(
                    part=part, overlapping_tiles=shared),
                *_split_again(data, '--regions', first=not advice)))
    return advice


def _advise_parts(data: DataSet, count: int, one_scene: bool = False
                  ) -> list[Advice]:
    """Advice on validation images, and the command that comes next."""
    enough = ENOUGH_VAL[data.kind]
    fraction, (_, val) = data.val_fraction(count), data.sizes(count)
    if fraction is None:
        title = 'It is split: write a config'
        command: tuple[str, ...] = (
            'config', data.kind, str(Path(data.source).parent), *data.options)
    else:
        title = 'Split it'
        command = (
            'split',
            data.images.folder if data.kind == 'masks' else data.source,
            *(('--val', f'{fraction:g}') if fraction != VAL else ()),
            *(('--regions', ) if one_scene else ()), *_out_of(data),
            *data.options)
    # The standard error of a rate of one half.
    points = 50 / math.sqrt(max(1, val))
    text = f'{counted(val, "image")}'
    if fraction is not None:
        whole = len(set(data.scenes)) > 1
        text = f'--val {fraction:g}: {text}{", of whole scenes" * whole}'
    if val < enough:
        text += (f'; below {enough}, chance chooses the best checkpoint: a '
                 f'score varies by about {points:.0f} points')
    if one_scene and not data.parts:
        text += ('. All tiles are of one image: --regions keeps parts apart '
                 'that share pixels')
    return [Advice('validation', text, dict(
        images=val, enough=enough, val=fraction, points=points,
        regions=one_scene), title, command)]


def _out_of(data: DataSet) -> tuple[str, ...]:
    """Where to write the parts if others are beside the file."""
    folder = Path(data.source).parent
    known = any((folder / f'{part}.json').exists() for part in PARTS)
    if data.kind != 'boxes' or not known:
        return ()
    return '--out', str(unused(folder / 'parts'))


def _quoted(name: str) -> str:
    return repr(shown(name, 30))


def _counted_names(counts: Mapping[str, int]) -> str:
    return _some(f'{_quoted(name)} ({count})' for name, count in
                 sorted(counts.items(), key=lambda item: item[1]))


def _some(texts) -> str:
    texts = list(texts)
    more = len(texts) - MOST_NAMES
    return ', '.join(texts[:MOST_NAMES]) + (
        f' and {more} more' if more > 0 else '')
