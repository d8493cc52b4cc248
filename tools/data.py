"""Inspect, fix, convert, tile and split custom data; write a config for it."""
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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for command in datasets.add_commands(parser):
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show tracebacks of errors')
    return parser.parse_args()


def default_images(source: str) -> str | None:
    """Where the images usually are, None if they are not there."""
    folder = datasets.find_image_folder(source)
    return folder and engine.short(folder)


def known_images(args: argparse.Namespace) -> datasets.ImageFolder | None:
    """The folder of the images, None if it is neither named nor there."""
    folder = args.images or default_images(args.source)
    return datasets.ImageFolder(folder) if folder else None


def images_of(args: argparse.Namespace) -> datasets.ImageFolder:
    """The folder of --images, or where the images usually are."""
    images = known_images(args)
    if images is None:
        folder = engine.short(os.path.join(
            os.path.dirname(os.path.abspath(args.source)), 'images'))
        raise UserError(f'no folder {folder}: name the folder of the images '
                        'with --images')
    return images


def convert(args: argparse.Namespace) -> None:
    for what, *words in datasets.convert(args, images_of(args)):
        suggest(what, *words)


def merge(args: argparse.Namespace) -> None:
    for what, *words in datasets.merge(args):
        suggest(what, *words)


def checked(found: datasets.CocoFindings) -> None:
    """Warn of what a training accepts, and refuse the rest."""
    if warning := found.warning():
        engine.warn(warning)
    found.check()


def suggest(what: str, *words: str, tool: str = 'data.py') -> None:
    program = engine.short(Path(__file__).resolve().with_name(tool))
    engine.show(f'{what}:\n  ' + engine.command('python', program, *words))


def inspect(args: argparse.Namespace) -> None:
    following = datasets.inspect(args, lambda: images_of(args))
    if following is None:
        sys.exit(1)
    for what, *words in following:
        suggest(what, *words)


def fix(args: argparse.Namespace) -> None:
    if not args.out.endswith('.json'):
        raise UserError(f'{args.out} must end in .json')
    if not args.overwrite:
        engine.check_new(args.out)
    images = known_images(args)
    content = datasets.parse_coco(args.source)
    parts = datasets.parts_of(content, args.source)
    with engine.counting_bar('Images', len(parts['images'])) as step:
        fixed = datasets.fix_coco(parts, images, step, clip=args.clip,
                                  drop_duplicates=args.drop_duplicates)
    engine.write_json(args.out, content, overwrite=args.overwrite)
    for kind, count in fixed.items():
        show_line('Fixed', f'{count} x {kind}')
    show_line('Written', args.out if fixed else
              f'{args.out}, as nothing was to be fixed')
    parts = datasets.parts_of(content, args.out)
    datasets.show_findings(datasets.find_in_coco(parts, args.out,
                                        images and images.folder))
    suggest('Inspect it', 'inspect', args.out,
            *(('--images', images.folder) if images else ()))


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
    checked(datasets.find_in_coco(content, args.source, images.folder))
    annotated = datasets.annotated_in(content, args.source, images)
    content = datasets.as_coco(
        write_tiles(args, annotated, images, folder), classes)
    name = f'{args.source}, tiled'
    try:
        datasets.find_in_coco(datasets.parts_of(content, name), name).check(
            remedy='Try another --min-visible')
    except UserError:
        shutil.rmtree(folder)
        raise
    engine.write_json(folder / datasets.TILES, content)
    for name in (datasets.JOURNAL, datasets.LOCK):
        (folder / name).unlink(missing_ok=True)
    show_line('Originals', f'{len(annotated)}')
    datasets.describe(content, 0)
    show_line('Written', f'{folder / datasets.TILES}, and images beside it')
    suggest('Inspect it, for advice on the split', 'inspect',
            str(folder / datasets.TILES))


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
        for suffix in ('json', 'txt')), choose='another folder: --out DIR')
    if os.path.isfile(args.source):
        split_coco(args, folder, fractions)
    elif args.regions:
        raise UserError('--regions is for a COCO annotation file of tiles')
    elif os.path.isdir(args.source):
        images = datasets.ImageFolder(args.source)
        if images.hidden:
            engine.warn('left out: '
                        + engine.counted(images.hidden, 'hidden image'))
        for part, lines in datasets.split_images(
                images, fractions, group_of(args, images, images.names),
                args.seed).items():
            engine.write_lines(folder / f'{part}.txt', lines)
            show_line(part, f'{engine.counted(len(lines), "image")} in '
                      f'{folder / part}.txt')
    else:
        raise UserError(f'{args.source} does not exist')


def group_of(args: argparse.Namespace, images: datasets.ImageFolder | None,
             names: list[str], keys: list[str] | None = None):
    """The function of --group or --similar, if any."""
    if args.group:
        return datasets.group_by(args.group)
    if not args.similar:
        return None
    folder = (images or images_of(args)).folder
    return datasets.similar_groups(folder, names, keys).__getitem__


def split_coco(args: argparse.Namespace, folder: Path, fractions: dict
               ) -> None:
    content = datasets.parse_coco(args.source)
    known = datasets.parts_of(content, args.source)
    images = known_images(args)
    checked(datasets.find_in_coco(known, args.source,
                                  images and images.folder))
    group = group_of(args, images, [
        image['file_name'] for image in content['images']], list(map(
            datasets.source_of, content['images'])))
    parts, left_out = datasets.split_content(
        content, fractions, group, args.seed, regions=args.regions)
    remedy = 'another --seed, or a larger fraction'
    for part in ('train', 'val'):
        name = f'{part} of {args.source}'
        datasets.find_in_coco(datasets.parts_of(parts[part], name), name
                              ).check(remedy=f'Try {remedy}')
    if left_out:
        show_line('Left out', f'{engine.counted(left_out, "tile")} between '
                  'the parts')
    if unused := datasets.missing_classes(content):
        engine.warn(f'no object of {some_of(unused)}: tools/data.py convert '
                    '--drop-unused leaves such classes out')
    for part, content in parts.items():
        engine.write_json(folder / f'{part}.json', content)
        engine.write_lines(folder / f'{part}.txt', [
            image['file_name'] for image in content['images']])
        show_line(part, f'{engine.counted(len(content["images"]), "image")}, '
                  f'{engine.counted(len(content["annotations"]), "object")} '
                  f'in {folder / part}.json, names in {part}.txt')
        if missing := [name for name in datasets.missing_classes(content)
                       if name not in unused]:
            engine.warn(f'{part} has no {some_of(missing)}: try {remedy}')
    suggest('Write a config', 'config', 'boxes', str(folder), *(
        ('--images', images.folder) if args.images else ()))


def config(args: argparse.Namespace) -> None:
    size = args.size and (args.size[0], args.size[-1])
    if args.size and len(args.size) > 2:
        raise UserError('--size takes one number, or width and height')
    written = datasets.write_config(
        args.kind, args.folder, datasets.Settings(
            args.arch, size, args.epochs, args.batch_size, args.weights,
            args.gpus, args.images), args.out, overwrite=args.overwrite)
    if written.diff:
        engine.show(written.diff)
    if written.diff and not args.overwrite:
        engine.show(f'{written.file} is kept; replace it with --overwrite')
        return
    show_line('Written', written.file)
    size, training, note = written.chosen
    show_line('Size', f'{size[0]}x{size[1]}')
    show_line('Training', training.describe())
    if note:
        engine.warn(note)
    suggest('Train', written.file, tool='train.py')


COMMANDS = dict(inspect=inspect, fix=fix, convert=convert, merge=merge,
                tile=tile, split=split, config=config)


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
