"""Look at data of your own, convert annotations, cut tiles, split."""
import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

import _ctrl_c  # noqa: F401
from PIL import Image

from mmlowformer import engine
from mmlowformer.config.loading import find_config, read_config
from mmlowformer.datasets.checks.check_datasets import datasets_in
from mmlowformer.datasets.checks.class_folders import class_folders
from mmlowformer.datasets.checks.coco import check_trainable
from mmlowformer.datasets.checks.coco_file import parts_of, read_coco
from mmlowformer.datasets.formats import (
    READERS,
    Faults,
    ImageFolder,
    as_coco,
    checked_pictures,
)
from mmlowformer.datasets.formats.annotations import BEYOND
from mmlowformer.datasets.inspection import (
    Findings,
    class_lines,
    hidden_note,
    inspect_boxes,
    inspect_folders,
    inspect_masks,
    write_sheet,
)
from mmlowformer.datasets.paths import CLASSES_FILE, check_names, check_unlike
from mmlowformer.datasets.polygon_masks import write_masks
from mmlowformer.datasets.splitting import deal_out, group_by
from mmlowformer.datasets.tiling import cut_pictures
from mmlowformer.engine import UserError
from mmlowformer.errors import shown, some_of
from mmlowformer.utils.files import (
    check_new,
    check_new_folder,
    new_folder,
    write_json,
    write_lines,
)
from mmlowformer.utils.tiles import check_tiling

# What Pillow takes for an attack is a large scene here.
MOST_PIXELS = 2**31
REMEDY = 'Mend the files'
SHEET = 'sheet.png'
TILES = 'annotations.json'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    for add in (add_inspect, add_convert, add_tile, add_split):
        command = add(commands)
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show the tracebacks of errors, too')
    return parser.parse_args()


def add_inspect(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'inspect', help='count, measure, find errors, draw a sheet',
        description='Count images, classes and boxes, compare sizes with '
        "the anchors, find errors, and draw a sheet of what is marked.")
    command.set_defaults(run=inspect)
    command.add_argument('source', help="a file in COCO's format, a folder of "
                         f'masks with {CLASSES_FILE}, or one that has a '
                         'folder for each class')
    add_images(command)
    command.add_argument('--config', metavar='C', help='the config whose '
                         'anchors are compared (default: '
                         'retinanet_lowformer_b0_coco, at 512x512)')
    command.add_argument('--sheet', metavar='F', help='file of the pictures '
                         f'(default: {SHEET}, or sheet-2.png and so on)')
    return command


def add_images(command: argparse.ArgumentParser) -> None:
    command.add_argument('--images', metavar='DIR', help='folder of the '
                         'images (default: images, beside the source)')


def add_convert(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'convert', help="other tools' annotations to COCO's format, or masks",
        description="Convert annotations to a file in COCO's format, or "
        'polygons to masks. Images stay where they are.')
    command.set_defaults(run=convert)
    command.add_argument('format', choices=sorted(READERS))
    command.add_argument('source', help='the file or folder of annotations')
    add_images(command)
    command.add_argument('--out', metavar='F', help='file to write, .json')
    command.add_argument('--masks', metavar='DIR', help='folder of masks to '
                         f'write, with {CLASSES_FILE}')
    command.add_argument('--background', default='background', metavar='NAME',
                         help='class of the pixels in no polygon, value 0 of '
                         'masks (default: %(default)s); "" gives them none')
    command.add_argument('--classes', nargs='+', metavar='NAME',
                         help='all classes, in their order (default: as the '
                         'format has them, or by name)')
    command.add_argument('--classes-file', metavar='F', help='for YOLO: '
                         'data.yaml, or a file with a class in each line')
    command.add_argument('--polygons', action='store_true', help='for YOLO: '
                         'lines that may be a box and key points are polygons')
    command.add_argument('--labelled-only', action='store_true',
                         help='leave out images that no annotation is about; '
                         'else they count as images in which there is nothing')
    command.add_argument('--clip', action='store_true', help='cut boxes '
                         'that stick out at the borders of their images, and '
                         'leave out those that are beyond')
    command.add_argument('--zero-based', action='store_true',
                         help='for VOC: pixels are counted from 0')
    return command


def add_tile(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'tile', help='cut large images and their boxes',
        description='Cut large images and their boxes into tiles.')
    command.set_defaults(run=tile)
    command.add_argument('source', help="a file in COCO's format")
    add_images(command)
    command.add_argument('--out', required=True, metavar='DIR', help='folder '
                         f'to write: images/ and {TILES}')
    command.add_argument('--size', type=int, default=512, metavar='N',
                         help='side of a tile, in pixels (default: '
                         '%(default)s)')
    command.add_argument('--overlap', type=float, default=0.25, metavar='F',
                         help='share of a tile that lies in its neighbour '
                         '(default: %(default)s)')
    command.add_argument('--min-visible', type=float, default=0.3,
                         metavar='F', help='share of a box that a tile has to '
                         'hold to teach it (default: %(default)s)')
    command.add_argument('--negatives', type=float, default=1., metavar='F',
                         help='tiles without boxes to keep, for each with '
                         'some (default: %(default)s)')
    add_seed(command)
    return command


def add_split(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'split', help='deal images out to training, validation and test',
        description='Write train and val (and test): lists of images, and '
        "of a file in COCO's format such files, too. Images stay where they "
        'are.')
    command.set_defaults(run=split)
    command.add_argument('source', help="a file in COCO's format, a folder "
                         'of images, or one that has a folder for each class')
    add_images(command)
    command.add_argument('--val', type=float, default=0.2, metavar='F',
                         help='share of the validation (default: %(default)s)')
    command.add_argument('--test', type=float, metavar='F',
                         help='share of the test (default: there is none)')
    command.add_argument('--group', metavar='REGEX', help='what images that '
                         "belong together share in their names: '^[^_]+' for "
                         'all before the first _ (default: tiles of a scene)')
    command.add_argument('--out', metavar='DIR', help='folder to write to '
                         '(default: that of the source)')
    add_seed(command)
    return command


def add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument('--seed', type=int, default=0, metavar='N',
                         help='another gives another choice (default: '
                         '%(default)s)')


def images_of(args: argparse.Namespace) -> ImageFolder:
    """The folder that is named, or the one beside the source."""
    if args.images:
        return ImageFolder(args.images)
    beside = os.path.join(os.path.dirname(os.path.abspath(args.source)),
                          'images')
    if not os.path.isdir(beside):
        raise UserError(f'there is no folder {engine.short(beside)}: name '
                        'that of the images with --images')
    return ImageFolder(engine.short(beside))


def check_converted(args: argparse.Namespace) -> None:
    if not args.out and not args.masks:
        raise UserError('nothing to write: name a file with --out, or a '
                        'folder with --masks')
    if args.out and not args.out.endswith('.json'):
        raise UserError(f'--out {args.out} has to end in .json')
    if args.out:
        check_new(args.out)
    if args.masks:
        check_new_folder(args.masks)


def convert(args: argparse.Namespace) -> None:
    check_converted(args)
    images, faults = images_of(args), Faults()
    pictures, known = READERS[args.format](
        args.source, images, faults, classes_file=args.classes_file,
        labelled_only=args.labelled_only, zero_based=args.zero_based,
        polygons=args.polygons)
    classes = args.classes or known
    pictures, dropped = checked_pictures(pictures, classes, faults,
                                         clip=args.clip)
    faults.check(args.source, REMEDY + (
        '' if BEYOND not in faults.counts else
        ', or cut boxes at the borders of their images with --clip'))
    if classes is None:
        classes = sorted({shape.label for picture in pictures
                          for shape in picture.shapes})
    check_unlike(classes, args.source)
    if not classes:
        raise UserError(f'{args.source}: nothing is marked in any image')
    content = as_coco(pictures, classes)
    refusal = refusal_of(made(content, args.source), args.source)
    if args.masks:
        with engine.counting_bar('Masks', len(pictures)) as step:
            names = write_masks(pictures, classes, args.masks,
                                args.background, step)
    describe(content, dropped, hidden_note(images))
    if args.masks:
        engine.show(engine.line('Masks', f'{len(pictures)} in {args.masks}, '
                                f'values 0 to {len(names) - 1} are '
                                f'{some_of(names)}'))
    if args.out:
        write_json(args.out, content)
        engine.show(engine.line('Written', args.out))
        if refusal:
            engine.warn(f'a training would refuse it: {refusal}')
    source = args.masks or args.out
    suggest('Look at it', 'inspect', source, '--images', images.folder)


def refusal_of(parts: dict, source: str, *options) -> str | None:
    """What a training would say about annotations that it refuses."""
    try:
        check_trainable(parts, source, *options)
    except UserError as error:
        return shown(error, 1000)
    return None


def made(content: dict, source: str) -> dict:
    """The parts of annotations that are going to be written."""
    try:
        return parts_of(content, source)
    except ValueError as error:
        raise UserError(f'{source}: {error}') from error


def describe(content: dict, dropped: int, note: str = '') -> None:
    marked = {record['image_id'] for record in content['annotations']}
    names = [category['name'] for category in content['categories']]
    ignored = sum(record['iscrowd'] for record in content['annotations'])
    engine.show(engine.line(
        'Images', f'{len(content["images"])}, '
        f'{len(content["images"]) - len(marked)} of them with nothing marked'
        f'{note}'))
    engine.show(engine.line(
        'Objects', f'{len(content["annotations"])}, {ignored} of them to be '
        f'ignored, {dropped} left out for lack of an area'))
    engine.show(engine.line('Classes', f'{len(names)}: {some_of(names)}'))


def suggest(what: str, *words: str) -> None:
    program = engine.short(Path(sys.argv[0]).resolve())
    engine.show(f'{what}:\n  ' + engine.command('python', program, *words))


def inspect(args: argparse.Namespace) -> None:
    sheet = new_sheet(args.sheet)
    findings = find(args)
    for label, text in findings.lines:
        engine.show(engine.line(label, text))
    engine.show('Classes')
    for text in class_lines(findings.counts):
        engine.show(f'  {text}')
    if findings.panels:
        write_sheet(findings.panels, sheet)
        engine.show(engine.line('Pictures', f'{len(findings.panels)} in '
                                f'{sheet}'))
    lines = findings.faults.lines() or refusals(args)
    engine.show('Errors' if lines else 'No errors')
    for text in lines:
        engine.show(engine.wrapped(f'  {text}', '    '), 'red')
    if lines:
        sys.exit(1)
    if findings.panels and args.source.endswith('.json'):
        suggest('Split it', 'split', args.source)


def refusals(args: argparse.Namespace) -> list[str]:
    """What a training would still refuse, in a line."""
    if os.path.isdir(args.source):
        return []
    loader = config_of(args).get('train_dataloader') if args.config else None
    dataset = next(datasets_in(loader)) if loader else {}
    refusal = refusal_of(read_coco(args.source), args.source,
                         images_of(args).folder, dataset.get('filter_cfg'))
    return [refusal] if refusal else []


def new_sheet(named: str | None) -> str:
    if named:
        check_new(named)
        return named
    path, number = Path(SHEET), 1
    while path.exists():
        number += 1
        path = Path(SHEET).with_stem(f'{Path(SHEET).stem}-{number}')
    return str(path)


def find(args: argparse.Namespace) -> Findings:
    if os.path.isfile(args.source):
        images, faults = images_of(args), Faults()
        pictures, classes = READERS['coco'](args.source, images, faults)
        pictures, _ = checked_pictures(pictures, classes, faults)
        with engine.counting_bar('Pictures', None) as step:
            return inspect_boxes(pictures, classes, images, faults,
                                 config_of(args), step)
    if not os.path.isdir(args.source):
        raise UserError(f'{args.source} is not there')
    with engine.counting_bar('Images', None) as step:
        if os.path.exists(os.path.join(args.source, CLASSES_FILE)):
            return inspect_masks(args.source, images_of(args), step)
        return inspect_folders(args.source, step)


def config_of(args: argparse.Namespace):
    if args.config:
        return read_config(find_config(args.config))
    cfg = read_config(find_config('retinanet_lowformer_b0_coco'))
    cfg.test_pipeline = [dict(type='Resize', scale=(512, 512))]
    return cfg


def read_coco_file(args: argparse.Namespace):
    images, faults = images_of(args), Faults()
    pictures, classes = READERS['coco'](args.source, images, faults)
    pictures, _ = checked_pictures(pictures, classes, faults)
    faults.check(args.source, REMEDY)
    return images, pictures, classes


def refuse(content: dict, source: str, remedy: str = '', *options) -> None:
    """Write nothing that a training would refuse."""
    refusal = refusal_of(made(content, source), source, *options)
    if refusal:
        raise UserError(f'{refusal}. {remedy}' if remedy else refusal)


def tile(args: argparse.Namespace) -> None:
    check_new_folder(args.out)
    check_tiling(args.size, args.overlap)
    if not 0 <= args.min_visible <= 1 or args.negatives < 0:
        raise UserError('--min-visible is a share, 0 to 1, and --negatives '
                        'at least 0')
    images, pictures, classes = read_coco_file(args)
    refuse(as_coco(pictures, classes), args.source)
    with (new_folder(args.out) as folder,
          engine.counting_bar('Images', len(pictures)) as step):
        tiles = cut_pictures(
            pictures, images, folder / 'images', size=args.size,
            overlap=args.overlap, min_visible=args.min_visible,
            negatives=args.negatives, seed=args.seed, step=step)
        content = as_coco(tiles, classes)
        refuse(content, f'{args.source}, tiled', 'Try another --min-visible')
        write_json(folder / TILES, content)
    file = Path(args.out, TILES)
    engine.show(engine.line('Scenes', f'{len(pictures)}'))
    describe(content, 0)
    engine.show(engine.line('Written', f'{file}, and images beside it'))
    suggest('Split it, scene by scene', 'split', str(file))


def split(args: argparse.Namespace) -> None:
    shares = dict(val=args.val, **({} if args.test is None else
                                   dict(test=args.test)))
    if not all(0 < share < 1 for share in shares.values()) \
            or sum(shares.values()) >= 1:
        raise UserError('--val and --test are shares of the images, above 0 '
                        'and below 1 together')
    folder = Path(args.out or Path(args.source).parent)
    check_new(*(folder / f'{part}.{suffix}' for part in ('train', *shares)
                for suffix in ('json', 'txt')))
    if os.path.isfile(args.source):
        split_coco(args, folder, shares)
    elif os.path.isdir(args.source):
        split_folder(args, folder, shares)
    else:
        raise UserError(f'{args.source} is not there')


def split_coco(args: argparse.Namespace, folder: Path, shares: dict) -> None:
    known = read_coco(args.source)
    content = dict(json.loads(Path(args.source).read_text(encoding='utf-8')),
                   annotations=known['annotations'])
    beside = Path(args.source).resolve().parent / 'images'
    there = bool(args.images) or beside.is_dir()
    if there:
        read_coco_file(args)
    refuse(content, args.source, '', images_of(args).folder if there else None)
    group = group_by(args.group)
    records = content['images']
    parts = deal_out([
        group(record['file_name']) if args.group else
        str(record.get('source', record['file_name'])) for record in records],
        shares, args.seed)
    names = {category['id']: category['name']
             for category in content['categories']}
    dealt = {part: part_of(content, indices)
             for part, indices in parts.items()}
    for part in ('train', 'val'):
        refuse(dealt[part], f'{part} of {args.source}',
               'Try another --seed, or a larger share')
    for part, own in dealt.items():
        images, annotations = own['images'], own['annotations']
        write_json(folder / f'{part}.json', own)
        write_lines(folder / f'{part}.txt',
                    [image['file_name'] for image in images])
        counts = Counter(names[record['category_id']]
                         for record in annotations)
        engine.show(engine.line(
            part, f'{len(images)} images, {len(annotations)} objects in '
            f'{folder / part}.json, names in {part}.txt'))
        lacking = [name for name in names.values() if not counts[name]]
        if lacking:
            engine.warn(f'{part} has no {some_of(lacking)}: another --seed, '
                        'or a larger share')


def part_of(content: dict, indices: list[int]) -> dict:
    images = [content['images'][index] for index in indices]
    chosen = {image['id'] for image in images}
    return dict(content, images=images, annotations=[
        record for record in content['annotations']
        if record['image_id'] in chosen])


def split_folder(args: argparse.Namespace, folder: Path, shares: dict
                 ) -> None:
    found = ImageFolder(args.source)
    if found.hidden:
        engine.warn(f'{found.hidden} hidden images are left out')
    names = found.names
    check_names(names, args.source)
    labelled = all('/' in name for name in names)
    # As training numbers them: a folder without images counts, too.
    classes = class_folders(args.source) if labelled else []
    group = group_by(args.group)
    parts: dict[str, list[str]] = {part: [] for part in ('train', *shares)}
    # Of each class the same share.
    for label in classes if labelled else ['']:
        own = [name for name in names
               if not labelled or name.split('/')[0] == label]
        try:
            dealt = deal_out([group(name) for name in own], shares, args.seed)
        except UserError as error:
            raise UserError(f'{args.source}/{label}: {error}') from error
        suffix = f' {classes.index(label)}' if labelled else ''
        for part, indices in dealt.items():
            parts[part] += [own[index] + suffix for index in indices]
    for part, lines in parts.items():
        write_lines(folder / f'{part}.txt', lines)
        engine.show(engine.line(part, f'{len(lines)} images in '
                                f'{folder / part}.txt'))


def main() -> None:
    args = parse_args()
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with (engine.one_line_errors('data.py'),
          engine.exit_on_interrupt(
              lambda: 'Interrupted: nothing that is half done is left.'),
          engine.quiet_screen()):
        args.run(args)


if __name__ == '__main__':
    main()
