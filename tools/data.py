"""Inspect, convert, tile and split custom data, and write a config for it."""
import argparse
import os
import shutil
import sys
from pathlib import Path

import _ctrl_c  # noqa: F401
from PIL import Image

from mmlowformer import datasets, engine
from mmlowformer.engine import UserError, show_line, some_of

# A large image, which Pillow would take for a decompression bomb.
MAX_PIXELS = 2**31
REMEDY = 'Fix the files'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for command in datasets.add_commands(parser):
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show tracebacks of errors')
    return parser.parse_args()


def images_of(args: argparse.Namespace) -> datasets.ImageFolder:
    """The folder of --images, or images/ beside the source."""
    folder = args.images or engine.short(os.path.join(
        os.path.dirname(os.path.abspath(args.source)), 'images'))
    if not args.images and not os.path.isdir(folder):
        raise UserError(f'no folder {folder}: name the folder of the images '
                        'with --images')
    return datasets.ImageFolder(folder)


def convert(args: argparse.Namespace) -> None:
    check_convert_outputs(args)
    images, errors = images_of(args), engine.AnnotationErrors()
    annotated, known = datasets.read_annotations(
        args.format, args.source, images, errors,
        classes_file=args.classes_file, labeled_only=args.labeled_only,
        zero_based=args.zero_based, polygons=args.polygons)
    classes = args.classes or known
    annotated, dropped = datasets.check_annotations(
        annotated, classes, errors, clip=args.clip)
    errors.check(args.source, REMEDY + (
        '' if datasets.BEYOND not in errors.counts else
        ', or clip boxes to their images with --clip'))
    if classes is None:
        classes = sorted({item.label for image in annotated
                          for item in image.annotations})
    datasets.check_distinct(classes, args.source)
    if not classes:
        raise UserError(f'{args.source} holds no annotations')
    content = datasets.as_coco(annotated, classes)
    refusal = training_error(datasets.parts_of(content, args.source),
                             args.source)
    if args.masks:
        with engine.counting_bar('Masks', len(annotated)) as step:
            names = datasets.write_masks(annotated, classes, args.masks,
                                         args.background, step)
    describe(content, dropped, datasets.hidden_note(images))
    if args.masks:
        show_line('Masks', f'{len(annotated)} in {args.masks}, values 0 to '
                  f'{len(names) - 1} are {some_of(names)}')
    if args.out:
        engine.write_json(args.out, content)
        show_line('Written', args.out)
        if refusal:
            engine.warn(f'a training would refuse it: {refusal}')
    suggest('Inspect it', 'inspect', args.masks or args.out, '--images',
            images.folder)


def check_convert_outputs(args: argparse.Namespace) -> None:
    if not args.out and not args.masks:
        raise UserError('nothing to write: name a file with --out, or a '
                        'folder with --masks')
    if args.out:
        if not args.out.endswith('.json'):
            raise UserError(f'--out {args.out} must end in .json')
        engine.check_new(args.out)
    if args.masks:
        engine.check_new_folder(args.masks)


def training_error(parts: dict, source: str, *options) -> str | None:
    """The error that a training would raise for annotations."""
    try:
        datasets.check_trainable(parts, source, *options)
    except UserError as error:
        return engine.shown(error, 1000)
    return None


def require_trainable(parts: dict, source: str, *options, remedy: str = ''
                      ) -> None:
    """Write nothing that a training would refuse."""
    refusal = training_error(parts, source, *options)
    if refusal:
        raise UserError(refusal + remedy)


def describe(content: dict, dropped: int, note: str = '') -> None:
    images, annotations = content['images'], content['annotations']
    empty = len(images) - len({item['image_id'] for item in annotations})
    ignored = sum(item['iscrowd'] for item in annotations)
    names = [category['name'] for category in content['categories']]
    show_line('Images', f'{len(images)}, {empty} without annotations{note}')
    show_line('Objects', f'{len(annotations)}, {ignored} of them ignored; '
              f'{dropped} without an area left out')
    show_line('Classes', f'{len(names)}: {some_of(names)}')


def suggest(what: str, *words: str, tool: str = 'data.py') -> None:
    program = engine.short(Path(__file__).resolve().with_name(tool))
    engine.show(f'{what}:\n  ' + engine.command('python', program, *words))


def inspect(args: argparse.Namespace) -> None:
    if args.preview:
        engine.check_new(args.preview)
    preview = args.preview or str(engine.unused(datasets.PREVIEW))
    findings, refusal = find(args)
    for label, text in findings.lines:
        show_line(label, text)
    engine.show('Classes')
    for text in datasets.class_lines(findings.counts):
        engine.show(f'  {text}')
    if findings.panels:
        datasets.write_preview(findings.panels, preview)
        images = engine.counted(len(findings.panels), 'image')
        show_line('Preview', f'{images} in {preview}')
    # Errors that only a training refuses.
    lines = findings.errors.lines() or [refusal] * bool(refusal)
    engine.show('Errors' if lines else 'No errors')
    for text in lines:
        engine.show(engine.wrapped(f'  {text}', '    '), 'red')
    if lines:
        sys.exit(1)
    if findings.panels and args.source.endswith('.json'):
        suggest('Split it', 'split', args.source)


def find(args: argparse.Namespace) -> tuple[datasets.Findings, str | None]:
    if os.path.isfile(args.source):
        return find_in_boxes(args)
    if not os.path.isdir(args.source):
        raise UserError(f'{args.source} does not exist')
    with engine.counting_bar('Images', None) as step:
        if os.path.exists(os.path.join(args.source, datasets.CLASSES_FILE)):
            return datasets.inspect_masks(args.source, images_of(args),
                                          step), None
        return datasets.inspect_folders(args.source, step), None


def find_in_boxes(args: argparse.Namespace
                  ) -> tuple[datasets.Findings, str | None]:
    images = images_of(args)
    content = datasets.read_coco(args.source)
    loader = config_of(args).get('train_dataloader') if args.config else None
    dataset = next(datasets.datasets_in(loader)) if loader else {}
    refusal = training_error(content, args.source, images.folder,
                             dataset.get('filter_cfg'))
    errors, annotated = check_source(args, images, content)
    with engine.counting_bar('Preview', None) as step:
        return datasets.inspect_boxes(
            annotated, content['categories'], images, errors,
            config_of(args), step), refusal


def config_of(args: argparse.Namespace):
    if args.config:
        return engine.read_config(engine.find_config(args.config))
    cfg = engine.read_config(engine.find_config('retinanet_lowformer_b0_coco'))
    cfg.test_pipeline = [dict(type='Resize', scale=(512, 512))]
    return cfg


def check_source(args: argparse.Namespace, images: datasets.ImageFolder,
                 content: dict):
    """The errors, and the images, of which content loses the annotations."""
    errors = engine.AnnotationErrors()
    annotated, _ = datasets.check_annotations(
        datasets.annotated_images(content, args.source, images, errors),
        content['categories'], errors)
    return errors, annotated


def tile(args: argparse.Namespace) -> None:
    engine.check_tiling(args.tile_size, args.overlap_ratio)
    if not 0 <= args.min_visible <= 1 or args.negatives < 0:
        raise UserError('--min-visible must be from 0 to 1, and --negatives '
                        'at least 0')
    folder = Path(args.out)
    if check_tile_folder(folder, resume=args.resume):
        show_line('Finished', f'{folder / datasets.TILES} exists already')
        return
    images = images_of(args)
    content = datasets.read_coco(args.source)
    classes = content['categories']
    errors, annotated = check_source(args, images, content)
    errors.check(args.source, REMEDY)
    content = datasets.as_coco(annotated, classes)
    require_trainable(datasets.parts_of(content, args.source), args.source)
    content = datasets.as_coco(
        write_tiles(args, annotated, images, folder), classes)
    name = f'{args.source}, tiled'
    try:
        require_trainable(datasets.parts_of(content, name), name,
                          remedy='. Try another --min-visible')
    except UserError:
        shutil.rmtree(folder)
        raise
    engine.write_json(folder / datasets.TILES, content)
    for name in (datasets.JOURNAL, datasets.LOCK):
        (folder / name).unlink(missing_ok=True)
    show_line('Originals', f'{len(annotated)}')
    describe(content, 0)
    show_line('Written', f'{folder / datasets.TILES}, and images beside it')
    suggest('Split it, image by image', 'split', str(folder / datasets.TILES))


def check_tile_folder(folder: Path, *, resume: bool) -> bool:
    """Whether all tiles are there."""
    names = {path.name for path in folder.glob('*')} - {datasets.LOCK}
    if datasets.JOURNAL in names:
        if not resume:
            raise UserError(f'{folder} holds the tiles of an interrupted '
                            'command: continue it with --resume, or delete it')
    elif resume and datasets.TILES in names:
        return True
    elif names or not folder.is_dir():
        engine.check_new_folder(folder)
    return False


def write_tiles(args: argparse.Namespace, annotated: list,
                images: datasets.ImageFolder, folder: Path) -> list:
    settings = datasets.TileSettings(
        args.tile_size, args.overlap_ratio, args.min_visible, args.negatives,
        args.seed)
    state = os.stat(args.source)
    with (engine.write_errors(folder / 'images'),
          datasets.open_journal(
              folder, dict(settings._asdict(), source=[
                  state.st_size, state.st_mtime_ns]),
              resume=args.resume) as journal,
          engine.exit_on_interrupt(lambda: (
              f'Interrupted: {len(journal.done)} of {len(annotated)} images '
              f'done, in {folder}. Continue with --resume.')),
          engine.counting_bar('Images', len(annotated)) as step):
        return datasets.write_tiles(
            annotated, images, folder / 'images', settings, journal,
            args.workers, step)


def split(args: argparse.Namespace) -> None:
    fractions = dict(val=args.val, **({} if args.test is None else
                                      dict(test=args.test)))
    if min(fractions.values()) <= 0 or sum(fractions.values()) >= 1:
        raise UserError('--val and --test must be above 0, and below 1 '
                        'together')
    folder = Path(args.out or Path(args.source).parent)
    engine.check_new(*(
        folder / f'{part}.{suffix}' for part in ('train', *fractions)
        for suffix in ('json', 'txt')))
    if os.path.isfile(args.source):
        split_coco(args, folder, fractions)
    elif os.path.isdir(args.source):
        images = datasets.ImageFolder(args.source)
        if images.hidden:
            engine.warn('left out: '
                        + engine.counted(images.hidden, 'hidden image'))
        for part, lines in datasets.split_images(
                images, fractions, args.group, args.seed).items():
            engine.write_lines(folder / f'{part}.txt', lines)
            show_line(part, f'{engine.counted(len(lines), "image")} in '
                      f'{folder / part}.txt')
    else:
        raise UserError(f'{args.source} does not exist')


def split_coco(args: argparse.Namespace, folder: Path, fractions: dict
               ) -> None:
    content = datasets.parse_coco(args.source)
    known = datasets.parts_of(content, args.source)
    images = None
    if args.images or (Path(args.source).resolve().parent / 'images').is_dir():
        images = images_of(args)
        errors, _ = check_source(args, images, dict(known))
        errors.check(args.source, REMEDY)
    require_trainable(known, args.source, images and images.folder)
    parts = datasets.split_content(content, fractions, args.group, args.seed)
    remedy = 'another --seed, or a larger fraction'
    for part in ('train', 'val'):
        name = f'{part} of {args.source}'
        require_trainable(datasets.parts_of(parts[part], name), name,
                          remedy=f'. Try {remedy}')
    for part, content in parts.items():
        engine.write_json(folder / f'{part}.json', content)
        engine.write_lines(folder / f'{part}.txt', [
            image['file_name'] for image in content['images']])
        show_line(part, f'{engine.counted(len(content["images"]), "image")}, '
                  f'{engine.counted(len(content["annotations"]), "object")} '
                  f'in {folder / part}.json, names in {part}.txt')
        if missing := datasets.missing_classes(content):
            engine.warn(f'{part} has no {some_of(missing)}: try {remedy}')


def config(args: argparse.Namespace) -> None:
    size = args.size and (args.size[0], args.size[-1])
    if args.size and len(args.size) > 2:
        raise UserError('--size takes one number, or width and height')
    file, diff = datasets.write_config(
        args.kind, args.folder, datasets.Settings(
            args.arch, size, args.epochs, args.batch_size, args.weights,
            args.gpus), args.out, overwrite=args.overwrite)
    if diff:
        engine.show(diff)
    if diff and not args.overwrite:
        engine.show(f'{file} is kept; replace it with --overwrite')
        return
    show_line('Written', file)
    if args.kind == 'masks' and (
            note := datasets.resizing_note(args.folder, size)):
        engine.warn(note)
    suggest('Train', file, tool='train.py')


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
