"""What is measured: data of three sizes, a tool's command, and a library's."""
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from PIL import Image

from ...datasets.synthetic.large import (
    HEIGHT,
    WIDTH,
    link_class_folders,
    link_images,
    write_coco,
)
from .networks import CLASSES

LIBRARIES = Path(__file__).with_name('libraries.py')
IMAGENET, COCO = 1_281_167, 118_287
# A scene's pixels; they compress well.
SCENE = 20_000**2
# Sides of tiles: of a scene, and of images.
SCENE_TILE, TILE = 1024, 256
OVERLAP = 0.25
# Objects of a video, and boxes in an image or tile.
OBJECTS, BOXES = 20, 3
# Small: images are decoded by the tool and by the library.
SMALL = (64, 48)
# No program of ours collects inputs and stops.
COLLECT = """
import sys
from mmlowformer import predict
predict.collect_inputs(sys.argv[1:])
"""
Command = Callable[[Path, Path, int], Sequence]


class Case(NamedTuple):
    """A command on data of several sizes.

    Attributes:
        title (str): What is measured, in tables.
        unit (str): What is counted.
        size (int): The real number of them; a tenth and a hundredth are
            measured, too.
        data (Callable): Makes the data in a folder.
        tool (Callable): The command of a tool, for the folder of the data,
            one for results and the size.
        library (Callable): The command of the library alone.
        does (str): What the library does.
        disk (int): Bytes of data and results for each item.
        library_sizes (int): How many of the sizes the library gets.
    """

    title: str
    unit: str
    size: int
    data: Callable[[Path, int], object]
    tool: Command
    library: Command
    does: str
    disk: int
    library_sizes: int = 3

    def sizes(self, divisor: int = 1) -> list[int]:
        """The sizes, divided by a number, but large enough to be split."""
        return [max(LEAST, self.size // divisor // part)
                for part in (100, 10, 1)]

    def description(self) -> dict:
        """The texts of a table."""
        return dict(title=self.title, unit=self.unit, does=self.does)


# For training, validation and test parts of each class.
LEAST = 12


def write_config(folder: Path, kind: str, scope: str, pack: str, classes: int,
                 **arguments) -> None:
    """Write a network without weights, and its config."""
    Config(dict(
        default_scope=scope,
        custom_imports=dict(imports=['mmlowformer.benchmark.scale.networks']),
        model=dict(type=f'mmlowformer.{kind}', **arguments),
        test_dataloader=dict(dataset=dict(
            metainfo=dict(classes=[f'class {number}'
                                   for number in range(classes)]),
            pipeline=[dict(type='LoadImageFromFile'), dict(type=pack)])),
    )).dump(folder / 'network.py')
    torch.save(dict(state_dict=dict(weight=torch.zeros(1)), meta={}),
               folder / 'network.pth')


def write_detector(folder: Path, boxes: int = BOXES) -> None:
    write_config(folder, 'ConstantDetector', 'mmdet', 'PackDetInputs', 1,
                 boxes=boxes)


def write_segmentor(folder: Path) -> None:
    write_config(folder, 'ConstantSegmentor', 'mmseg', 'PackSegInputs',
                 CLASSES)


def write_image(folder: Path, size: tuple[int, int]) -> Path:
    Image.new('RGB', size).save(folder / 'image.jpg')
    return folder / 'image.jpg'


def make_images(folder: Path, count: int) -> None:
    write_detector(folder)
    link_images(write_image(folder, SMALL), folder / 'images', count)


def make_video(folder: Path, count: int) -> None:
    write_detector(folder, OBJECTS)
    link_images(write_image(folder, SMALL), folder / 'images', count)


def make_class_folders(folder: Path, count: int) -> None:
    names = link_class_folders(write_image(folder, SMALL), folder / 'classes',
                               count)
    (folder / 'list.txt').write_text(''.join(
        f'{folder}/classes/{name}\n' for name in names))


def make_coco(folder: Path, count: int) -> None:
    names = link_images(write_image(folder, (WIDTH, HEIGHT)),
                        folder / 'images', count)
    write_coco(folder / 'boxes.json', names)


def make_scene(folder: Path, pixels: int) -> None:
    side = math.isqrt(pixels)
    write_image(folder, (side, side))


def make_boxes_scene(folder: Path, pixels: int) -> None:
    make_scene(folder, pixels)
    write_detector(folder)


def make_masks_scene(folder: Path, pixels: int) -> None:
    make_scene(folder, pixels)
    write_segmentor(folder)


def predict(source: str, *options) -> Command:
    """tools/predict.py with a network that takes no time."""
    return lambda data, out, _: [
        'predict.py', data / 'network.pth', data / source, '--config',
        data / 'network.py', '--device', 'cpu', '--out', out, *options]


def alone(name: str, *sources: str) -> Command:
    return lambda data, *_: [
        LIBRARIES, name, *(data / source for source in sources)]


SCENE_OPTIONS = ('--tile-size', SCENE_TILE, '--overlap-ratio', OVERLAP)
CASES = dict(
    track=Case(
        f'track {OBJECTS} objects', 'frame', 100_000, make_video,
        predict('images', '--track', '--no-pictures'),
        lambda data, _, size: [LIBRARIES, 'track', size, OBJECTS],
        "MMDetection's ByteTrack, no images are read", 4000,
        # Its memory at 100,000 frames is that of a large machine.
        library_sizes=2),
    predict=Case(
        'predict images', 'image', 200_000, make_images,
        predict('images', '--no-pictures'), alone('decode', 'images'),
        'OpenCV decodes the images', 1500),
    inputs=Case(
        'collect listed images', 'path', IMAGENET, make_class_folders,
        lambda data, *_: ['-c', COLLECT, data / 'list.txt'],
        alone('check_paths', 'list.txt'), '`os.path.isfile` of each path',
        400),
    split_folders=Case(
        'split class folders', 'image', IMAGENET, make_class_folders,
        lambda data, out, _: ['data.py', 'split', data / 'classes', '--out',
                              out],
        alone('list_folders', 'classes'),
        "torchvision's `ImageFolder` lists them", 400),
    inspect=Case(
        "inspect COCO's annotations", 'image', COCO, make_coco,
        lambda data, out, _: ['data.py', 'inspect', data / 'boxes.json',
                              '--preview', out / 'preview.jpg'],
        alone('read_json', 'boxes.json'), '`json.load`', 12_000),
    split=Case(
        "split COCO's annotations", 'image', COCO, make_coco,
        lambda data, out, _: ['data.py', 'split', data / 'boxes.json',
                              '--out', out],
        alone('read_json', 'boxes.json'), '`json.load`', 12_000),
    tile=Case(
        'cut images into tiles', 'image', 2000, make_coco,
        lambda data, out, _: [
            'data.py', 'tile', data / 'boxes.json', '--tile-size', TILE,
            '--overlap-ratio', OVERLAP, '--out', out / 'tiles'],
        lambda data, out, _: [
            LIBRARIES, 'crop', data / 'images', out / 'tiles', TILE,
            round(TILE * (1 - OVERLAP))],
        'Pillow cuts and writes them', 60_000),
    scene_boxes=Case(
        'a scene with boxes', 'pixel', SCENE, make_boxes_scene,
        predict('image.jpg', *SCENE_OPTIONS, '--no-pictures'),
        alone('decode', 'image.jpg'), 'OpenCV decodes it', 1),
    scene_masks=Case(
        'a scene with masks, drawn', 'pixel', SCENE, make_masks_scene,
        predict('image.jpg', *SCENE_OPTIONS), alone('decode', 'image.jpg'),
        'OpenCV decodes it', 1),
)
