"""Inspect, convert, tile and split custom data, and write a config for it."""
import argparse
import os
import sys
from pathlib import Path

import _ctrl_c  # noqa: F401
from PIL import Image

from mmlowformer import engine
from mmlowformer.datasets.arguments import PREVIEW, TILES, add_commands
from mmlowformer.datasets.checks.check_datasets import datasets_in
from mmlowformer.datasets.checks.coco import check_trainable
from mmlowformer.datasets.checks.coco_annotations import parts_of, read_coco
from mmlowformer.datasets.config_writer import Settings, write_config
from mmlowformer.datasets.formats import (
    ImageFolder,
    as_coco,
    check_annotations,
    read_annotations,
)
from mmlowformer.datasets.formats.annotations import BEYOND
from mmlowformer.datasets.inspection import (
    Findings,
    class_lines,
    hidden_note,
    inspect_boxes,
    inspect_folders,
    inspect_masks,
    write_preview,
)
from mmlowformer.datasets.paths import CLASSES_FILE, check_distinct
from mmlowformer.datasets.polygon_masks import write_masks
from mmlowformer.datasets.splitting import (
    missing_classes,
    split_content,
    split_images,
)
from mmlowformer.datasets.tiling import slice_images
from mmlowformer.engine import (
    AnnotationErrors,
    UserError,
    check_new,
    check_new_folder,
    check_tiling,
    find_config,
    new_folder,
    read_config,
    shown,
    some_of,
    write_json,
    write_lines,
)

# A large image, which Pillow would take for a decompression bomb.
MAX_PIXELS = 2**31
REMEDY = 'Fix the files'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for command in add_commands(parser):
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show tracebacks of errors')
    return parser.parse_args()


def images_of(args: argparse.Namespace) -> ImageFolder:
    """The folder of --images, or images/ beside the source."""
    folder = args.images or engine.short(os.path.join(
        os.path.dirname(os.path.abspath(args.source)), 'images'))
    if not args.images and not os.path.isdir(folder):
        raise UserError(f'no folder {folder}: name the folder of the images '
                        'with --images')
    return ImageFolder(folder)


def convert(args: argparse.Namespace) -> None:
    check_convert_outputs(args)
    images, errors = images_of(args), AnnotationErrors()
    annotated, known = read_annotations(
        args.format, args.source, images, errors,
        classes_file=args.classes_file, labeled_only=args.labeled_only,
        zero_based=args.zero_based, polygons=args.polygons)
    classes = args.classes or known
    annotated, dropped = check_annotations(annotated, classes, errors,
                                           clip=args.clip)
    errors.check(args.source, REMEDY + (
        '' if BEYOND not in errors.counts else
        ', or clip boxes to their images with --clip'))
    if classes is None:
        classes = sorted({item.label for image in annotated
                          for item in image.annotations})
    check_distinct(classes, args.source)
    if not classes:
        raise UserError(f'{args.source} holds no annotations')
    content = as_coco(annotated, classes)
    refusal = training_error(parts_of(content, args.source), args.source)
    if args.masks:
        with engine.counting_bar('Masks', len(annotated)) as step:
            names = write_masks(annotated, classes, args.masks,
                                args.background, step)
    describe(content, dropped, hidden_note(images))
    if args.masks:
        engine.show(engine.line('Masks', f'{len(annotated)} in {args.masks}, '
                                f'values 0 to {len(names) - 1} are '
                                f'{some_of(names)}'))
    if args.out:
        write_json(args.out, content)
        engine.show(engine.line('Written', args.out))
        if refusal:
            engine.warn(f'a training would refuse it: {refusal}')
    suggest('Inspect it', 'inspect', args.masks or args.out, '--images',
            images.folder)


def check_convert_outputs(args: argparse.Namespace) -> None:
    if not args.out and not args.masks:
        raise UserError('nothing to write: name a file with --out, or a '
                        'folder with --masks')
    if args.out and not args.out.endswith('.json'):
        raise UserError(f'--out {args.out} must end in .json')
    if args.out:
        check_new(args.out)
    if args.masks:
        check_new_folder(args.masks)


def training_error(parts: dict, source: str, *options) -> str | None:
    """The error that a training would raise for annotations."""
    try:
        check_trainable(parts, source, *options)
    except UserError as error:
        return shown(error, 1000)
    return None


def require_trainable(content: dict, source: str, remedy: str = '',
                      *options) -> None:
    """Write nothing that a training would refuse."""
    refusal = training_error(parts_of(content, source), source, *options)
    if refusal:
        raise UserError(f'{refusal}. {remedy}' if remedy else refusal)


def describe(content: dict, dropped: int, note: str = '') -> None:
    images, annotations = content['images'], content['annotations']
    empty = len(images) - len({item['image_id'] for item in annotations})
    ignored = sum(item['iscrowd'] for item in annotations)
    names = [category['name'] for category in content['categories']]
    engine.show(engine.line(
        'Images', f'{len(images)}, {empty} without annotations{note}'))
    engine.show(engine.line(
        'Objects', f'{len(annotations)}, {ignored} of them ignored; {dropped} '
        'without an area left out'))
    engine.show(engine.line('Classes', f'{len(names)}: {some_of(names)}'))


def suggest(what: str, *words: str) -> None:
    program = engine.short(Path(sys.argv[0]).resolve())
    engine.show(f'{what}:\n  ' + engine.command('python', program, *words))


def inspect(args: argparse.Namespace) -> None:
    preview = new_preview(args.preview)
    findings = find(args)
    for label, text in findings.lines:
        engine.show(engine.line(label, text))
    engine.show('Classes')
    for text in class_lines(findings.counts):
        engine.show(f'  {text}')
    if findings.panels:
        write_preview(findings.panels, preview)
        images = engine.counted(len(findings.panels), 'image')
        engine.show(engine.line('Preview', f'{images} in {preview}'))
    lines = findings.errors.lines() or training_errors(args)
    engine.show('Errors' if lines else 'No errors')
    for text in lines:
        engine.show(engine.wrapped(f'  {text}', '    '), 'red')
    if lines:
        sys.exit(1)
    if findings.panels and args.source.endswith('.json'):
        suggest('Split it', 'split', args.source)


def training_errors(args: argparse.Namespace) -> list[str]:
    """Find errors that only a training refuses."""
    if os.path.isdir(args.source):
        return []
    loader = config_of(args).get('train_dataloader') if args.config else None
    dataset = next(datasets_in(loader)) if loader else {}
    refusal = training_error(read_coco(args.source), args.source,
                             images_of(args).folder, dataset.get('filter_cfg'))
    return [refusal] if refusal else []


def new_preview(named: str | None) -> str:
    if named:
        check_new(named)
        return named
    path, number = Path(PREVIEW), 1
    while path.exists():
        number += 1
        path = Path(PREVIEW).with_stem(f'{Path(PREVIEW).stem}-{number}')
    return str(path)


def find(args: argparse.Namespace) -> Findings:
    if os.path.isfile(args.source):
        images, errors, annotated, classes = read_source(args)
        with engine.counting_bar('Preview', None) as step:
            return inspect_boxes(annotated, classes, images, errors,
                                 config_of(args), step)
    if not os.path.isdir(args.source):
        raise UserError(f'{args.source} does not exist')
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


def read_source(args: argparse.Namespace):
    images, errors = images_of(args), AnnotationErrors()
    annotated, classes = read_annotations('coco', args.source, images, errors)
    annotated, _ = check_annotations(annotated, classes, errors)
    return images, errors, annotated, classes


def tile(args: argparse.Namespace) -> None:
    check_new_folder(args.out)
    check_tiling(args.tile_size, args.overlap_ratio)
    if not 0 <= args.min_visible <= 1 or args.negatives < 0:
        raise UserError('--min-visible must be from 0 to 1, and --negatives '
                        'at least 0')
    images, errors, annotated, classes = read_source(args)
    errors.check(args.source, REMEDY)
    require_trainable(as_coco(annotated, classes), args.source)
    with (new_folder(args.out) as folder,
          engine.counting_bar('Images', len(annotated)) as step):
        tiles = slice_images(
            annotated, images, folder / 'images', size=args.tile_size,
            overlap=args.overlap_ratio, min_visible=args.min_visible,
            negatives=args.negatives, seed=args.seed, step=step)
        content = as_coco(tiles, classes)
        require_trainable(content, f'{args.source}, tiled',
                          'Try another --min-visible')
        write_json(folder / TILES, content)
    file = Path(args.out, TILES)
    engine.show(engine.line('Originals', f'{len(annotated)}'))
    describe(content, 0)
    engine.show(engine.line('Written', f'{file}, and images beside it'))
    suggest('Split it, image by image', 'split', str(file))


def split(args: argparse.Namespace) -> None:
    fractions = dict(val=args.val, **({} if args.test is None else
                                      dict(test=args.test)))
    if min(fractions.values()) <= 0 or sum(fractions.values()) >= 1:
        raise UserError('--val and --test must be above 0, and below 1 '
                        'together')
    folder = Path(args.out or Path(args.source).parent)
    check_new(*(folder / f'{part}.{suffix}' for part in ('train', *fractions)
                for suffix in ('json', 'txt')))
    if os.path.isfile(args.source):
        split_coco(args, folder, fractions)
    elif os.path.isdir(args.source):
        images = ImageFolder(args.source)
        if images.hidden:
            engine.warn('left out: '
                        + engine.counted(images.hidden, 'hidden image'))
        for part, lines in split_images(images, fractions, args.group,
                                        args.seed).items():
            write_lines(folder / f'{part}.txt', lines)
            engine.show(engine.line(
                part, f'{engine.counted(len(lines), "image")} in '
                f'{folder / part}.txt'))
    else:
        raise UserError(f'{args.source} does not exist')


def split_coco(args: argparse.Namespace, folder: Path, fractions: dict
               ) -> None:
    known = read_coco(args.source)
    images = None
    if args.images or (Path(args.source).resolve().parent / 'images').is_dir():
        images, errors, *_ = read_source(args)
        errors.check(args.source, REMEDY)
    refusal = training_error(known, args.source, images and images.folder)
    if refusal:
        raise UserError(refusal)
    parts = split_content(args.source, known['annotations'], fractions,
                          args.group, args.seed)
    for part in ('train', 'val'):
        require_trainable(parts[part], f'{part} of {args.source}',
                          'Try another --seed, or a larger fraction')
    for part, content in parts.items():
        write_json(folder / f'{part}.json', content)
        write_lines(folder / f'{part}.txt',
                    [image['file_name'] for image in content['images']])
        engine.show(engine.line(
            part, f'{engine.counted(len(content["images"]), "image")}, '
            f'{engine.counted(len(content["annotations"]), "object")} in '
            f'{folder / part}.json, names in {part}.txt'))
        missing = missing_classes(content)
        if missing:
            engine.warn(f'{part} has no {some_of(missing)}: try another '
                        '--seed, or a larger fraction')


def config(args: argparse.Namespace) -> None:
    size = args.size and (args.size[0], args.size[-1])
    if args.size and len(args.size) > 2:
        raise UserError('--size takes one number, or width and height')
    file, diff = write_config(
        args.kind, args.folder, Settings(
            args.arch, size, args.epochs, args.batch_size, args.weights,
            args.gpus), args.out, overwrite=args.overwrite)
    if diff:
        engine.show(diff)
    if diff and not args.overwrite:
        engine.show(f'{file} is kept; replace it with --overwrite')
        return
    engine.show(engine.line('Written', file))
    train = Path(sys.argv[0]).resolve().with_name('train.py')
    engine.show('Train:\n  ' + engine.command('python', engine.short(train),
                                              file))


COMMANDS = dict(inspect=inspect, convert=convert, tile=tile, split=split,
                config=config)


def main() -> None:
    args = parse_args()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with (engine.one_line_errors('data.py'),
          engine.exit_on_interrupt(
              lambda: 'Interrupted: no incomplete files are left.'),
          engine.quiet_screen()):
        COMMANDS[args.command](args)


if __name__ == '__main__':
    main()
