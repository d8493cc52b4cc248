"""Options of ``tools/data.py``."""
import argparse

from ..utils.arguments import at_least, rename_option
from .config_writer import TASKS
from .formats import FORMATS
from .paths import CLASSES_FILE

_positive = at_least(1)
PREVIEW = 'preview.png'
TILES = 'annotations.json'


def add_commands(parser: argparse.ArgumentParser
                 ) -> list[argparse.ArgumentParser]:
    """Add all commands."""
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    parsers = []
    for name, (add, text) in COMMANDS.items():
        parsers.append(commands.add_parser(name, help=text, description=text))
        add(parsers[-1])
    return parsers


def _add_source(command: argparse.ArgumentParser, source: str) -> None:
    command.add_argument('source', help=source)
    command.add_argument('--images', metavar='DIR', help='folder of the '
                         'images (default: images in the source or beside '
                         'it, or the source)')


def _add_inspect(command: argparse.ArgumentParser) -> None:
    _add_source(command, f'a COCO annotation file, a folder of masks with '
                f'{CLASSES_FILE}, or a folder with a folder per class')
    command.add_argument('--config', metavar='C', help='config whose anchors '
                         'are compared (default: retinanet_lowformer_b0_coco '
                         'at the advised size)')
    command.add_argument('--preview', metavar='F', help='file of the preview '
                         f'(default: {PREVIEW}, or preview-2.png and so on)')
    command.add_argument('--json', metavar='F', help='write everything that '
                         'is printed to a new file, too')
    rename_option(command, '--sheet', '--preview')


def _add_fix(command: argparse.ArgumentParser) -> None:
    _add_source(command, 'a COCO annotation file')
    command.add_argument('out', help='.json file to write')
    command.add_argument('--clip', action='store_true', help='clip boxes to '
                         'their images, and remove those without an area')
    command.add_argument('--drop-duplicates', action='store_true',
                         help='remove boxes that an image has already')
    command.add_argument('--overwrite', action='store_true', help='replace '
                         'an existing file, which may be the source')


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.add_argument('format', choices=sorted(FORMATS),
                         help='format of the annotations')
    _add_source(command, 'file or folder of annotations')
    command.add_argument('--out', metavar='F', help='.json file to write, or '
                         'for a source with the parts train, val and test '
                         'the folder of a file for each part')
    command.add_argument('--masks', metavar='DIR', help='folder of masks to '
                         f'write, with {CLASSES_FILE}')
    command.add_argument('--background', default='background', metavar='NAME',
                         help='class of the pixels outside all polygons, '
                         'value 0 (default: %(default)s); "" marks them as '
                         '255, no class')
    command.add_argument('--classes', nargs='+', metavar='NAME',
                         help='all classes in order (default: the order of '
                         'the format, or alphabetical)')
    command.add_argument('--rename', action='append', default=[],
                         metavar='OLD=NEW', help='rename a class; several old '
                         'classes with one new name are merged')
    command.add_argument('--drop', action='append', default=[],
                         metavar='NAME', help='leave out a class and its '
                         'objects')
    command.add_argument('--drop-unused', action='store_true', help='leave '
                         'out classes without objects')
    command.add_argument('--classes-file', metavar='F', help='YOLO: data.yaml '
                         'or a file with a class per line; Open Images: '
                         'class-descriptions-boxable.csv')
    command.add_argument('--label-attribute', metavar='NAME', help='VIA: '
                         'attribute of the regions that is the class')
    command.add_argument('--polygons', action='store_true', help='YOLO: read '
                         'lines that may be a box with key points as polygons')
    command.add_argument('--labeled-only', action='store_true', help='leave '
                         'out images without annotations, the negatives')
    rename_option(command, '--labelled-only', '--labeled-only')
    command.add_argument('--clip', action='store_true', help='clip boxes to '
                         'their images, and leave out those outside')
    command.add_argument('--zero-based', action='store_true',
                         help='VOC: pixels are counted from 0')


def _add_merge(command: argparse.ArgumentParser) -> None:
    command.add_argument('sources', nargs='+', metavar='FILE',
                         help='COCO annotation files')
    command.add_argument('--images', metavar='DIR', help='folder of the '
                         'images of all files (default: of each file images, '
                         'beside it)')
    command.add_argument('--out', required=True, metavar='F',
                         help='.json file to write')


def _add_tile(command: argparse.ArgumentParser) -> None:
    _add_source(command, 'a COCO annotation file')
    command.add_argument('--out', required=True, metavar='DIR', help='folder '
                         f'to write: images/ and {TILES}')
    command.add_argument('--tile-size', type=int, default=512, metavar='N',
                         help='side in pixels (default: %(default)s)')
    command.add_argument('--overlap-ratio', type=float, default=0.25,
                         metavar='F', help='overlap of neighboring tiles, '
                         'relative to their size (default: %(default)s)')
    command.add_argument('--min-visible', type=float, default=0.3,
                         metavar='F', help='boxes of which a tile holds less '
                         'are ignored there (default: %(default)s)')
    command.add_argument('--negatives', type=float, default=1., metavar='F',
                         help='tiles without boxes to keep, per tile with '
                         'boxes (default: %(default)s)')
    command.add_argument('-j', '--workers', type=_positive, metavar='N',
                         help='processes, each with an image in memory '
                         '(default: at most one for each CPU)')
    command.add_argument('--resume', action='store_true', help='continue '
                         'after an interruption')
    _add_seed(command)
    rename_option(command, '--size', '--tile-size')
    rename_option(command, '--overlap', '--overlap-ratio')


def _add_split(command: argparse.ArgumentParser) -> None:
    _add_source(command, 'a COCO annotation file, a folder of images, or a '
                'folder with a folder per class')
    command.add_argument('--val', type=float, default=0.2, metavar='F',
                         help='fraction for validation (default: %(default)s)')
    command.add_argument('--test', type=float, metavar='F',
                         help='fraction for test (default: no test split)')
    groups = command.add_mutually_exclusive_group()
    groups.add_argument('--group', metavar='REGEX', help='keep images '
                        "together whose names match alike: '^[^_]+' for the "
                        'part before the first _ (default: tiles of an '
                        'image)')
    groups.add_argument('--similar', action='store_true', help='keep near '
                        'duplicates together, such as the frames of a video')
    groups.add_argument('--regions', action='store_true', help='split the '
                        'tiles of each image by straight cuts; tiles that '
                        'overlap or touch another part are left out')
    command.add_argument('--out', metavar='DIR', help='folder to write to '
                         '(default: the folder of the source)')
    _add_seed(command)


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument('--seed', type=int, default=0, metavar='N',
                         help='of the random choice (default: %(default)s)')


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument('kind', choices=sorted(TASKS), help='detection, '
                         'classification, or segmentation data')
    command.add_argument('folder', metavar='DIR', help='folder with the data '
                         'and the files that split writes')
    command.add_argument('--arch', default='b1', metavar='A',
                         help='variant of LowFormer (default: %(default)s)')
    command.add_argument('--size', type=_positive, nargs='+', metavar='N',
                         help='image size, or width and height (default: as '
                         'inspect advises, by the sizes of boxes and images)')
    command.add_argument('--epochs', type=_positive, metavar='N',
                         help='length of the training (default: as inspect '
                         'advises, by the number of iterations)')
    command.add_argument('--batch-size', type=_positive, metavar='N',
                         help='images per GPU (default: as inspect advises, '
                         'by the image size and the number of images)')
    command.add_argument('--gpus', type=_positive, default=1, metavar='N',
                         help='number of GPUs, or processes (default: 1)')
    command.add_argument('--weights', metavar='W', help='what the backbone '
                         'starts from: published (ImageNet weights of its '
                         'variant), none (from scratch), a file, a URL or '
                         'hf-hub:REPOSITORY (default: published, if they '
                         'are)')
    command.add_argument('--images', metavar='DIR', help='boxes: folder of '
                         'the images for training and validation, if it is '
                         'not in the folder with the data')
    command.add_argument('--out', metavar='F', help='.py file to write '
                         '(default: ..._custom.py in DIR)')
    command.add_argument('--overwrite', action='store_true',
                         help='replace an existing file')


COMMANDS = dict(
    inspect=(_add_inspect, 'count images, classes and boxes, compare the '
             'boxes with the anchors, find errors, and draw a preview'),
    fix=(_add_fix, 'fix what needs no decision in a COCO annotation file: '
         'missing or duplicate ids, missing areas and iscrowd, sizes and '
         'paths of images, and boxes up to a pixel beyond their image'),
    convert=(_add_convert, "convert annotations to COCO's format, or polygons "
             'to masks; images stay where they are'),
    merge=(_add_merge, 'merge COCO annotation files; classes of one name '
           'become one'),
    tile=(_add_tile, 'cut large images and their annotations into tiles'),
    split=(_add_split, 'list the images for training, validation and test, '
           'and split a COCO annotation file; images stay where they are'),
    config=(_add_config, 'write a config for training on custom data beside '
            'it; an existing file is compared and kept'))
