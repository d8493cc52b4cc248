"""``tools/data.py convert`` and ``merge``."""
import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import (
    AnnotationErrors,
    UserError,
    is_printable,
    shown,
    some_of,
)
from ...utils.console import warn
from ...utils.files import check_new, check_new_folder, write_json
from ...utils.terminal import counting_bar, show, show_line
from ...utils.text import short, wrapped
from ..checks.coco import find_in_coco
from ..checks.coco_annotations import parts_of
from ..formats import (
    BEYOND,
    AnnotatedImage,
    ImageFolder,
    ReadErrors,
    as_coco,
    check_annotations,
    read_annotations,
)
from ..inspection.report import hidden_note
from ..paths import check_distinct
from ..polygon_masks import write_masks
from ..splitting import missing_classes
from .conversion import (
    PARTS,
    edit_classes,
    existing_parts,
    merge_files,
    parse_renames,
)

REMEDY = 'Fix the files'
# A title and the words of a command that comes next.
Next = list[tuple[str, ...]]


def convert(args: argparse.Namespace, images: ImageFolder) -> Next:
    """Convert annotations, and return the commands that come next."""
    _check_outputs(args.out, args.masks)
    errors = ReadErrors()
    annotated, classes, dropped = _read(args, images, errors)
    content = as_coco(annotated, classes)
    parts = existing_parts(annotated)
    writes_parts = bool(args.out) and not args.out.endswith('.json')
    if writes_parts and not {'train', 'val'} <= parts.keys():
        raise UserError(
            f'{args.source} has no folders train and val of images: let --out '
            'name a .json file, then split it')
    if args.masks:
        with counting_bar('Masks', len(annotated)) as step:
            names = write_masks(annotated, classes, args.masks,
                                args.background, step)
    describe(content, dropped, hidden_note(images), errors)
    if args.masks:
        show_line('Masks', f'{len(annotated)} in {args.masks}, values 0 to '
                  f'{len(names) - 1} are {some_of(names)}')
    if writes_parts:
        return _write_parts(args.out, parts, classes, images.folder)
    if args.out:
        _write(args.out, content, args.source)
        if parts:
            warn(f'{some_of(parts)} of {args.source} are in one file now: let '
                 '--out name a folder to keep them apart')
    return [('Inspect it', 'inspect', args.masks or args.out, '--images',
             images.folder)]


def _check_outputs(out: str | None, masks: str | None) -> None:
    if not out and not masks:
        raise UserError('nothing to write: name a file with --out, or a '
                        'folder with --masks')
    if out and out.endswith('.json'):
        check_new(out)
    elif out and Path(out).suffix and not os.path.isdir(out):
        raise UserError(f'--out {out} must end in .json, or be a folder for '
                        'the files train.json, val.json and test.json')
    elif out:
        check_new(*(Path(out) / f'{part}.json'
                    for part in dict.fromkeys(PARTS.values())))
    if masks:
        check_new_folder(masks)


def _read(args: argparse.Namespace, images: ImageFolder, errors: ReadErrors
          ) -> tuple[list[AnnotatedImage], list[str], int]:
    """Checked images, the classes, and the number of dropped objects."""
    renames = parse_renames(args.rename)
    annotated, known = read_annotations(
        args.format, args.source, images, errors,
        classes_file=args.classes_file, labeled_only=args.labeled_only,
        zero_based=args.zero_based, polygons=args.polygons,
        attribute=args.label_attribute)
    if renames or args.drop:
        annotated, known = edit_classes(annotated, known, renames, args.drop,
                                        args.source, errors.notes)
    classes = args.classes or known
    checked, dropped = check_annotations(annotated, classes, errors,
                                         clip=args.clip)
    errors.check(args.source, REMEDY + (
        '' if BEYOND not in errors.counts else
        ', or clip boxes to their images with --clip'))
    if classes is None:
        classes = sorted({item.label for image in checked
                          for item in image.annotations})
    if args.drop_unused:
        used = {item.label for image in checked for item in image.annotations}
        classes = [name for name in classes if name in used]
    check_distinct(classes, args.source)
    for name in classes:
        if not name.strip() or not is_printable(name):
            raise UserError(f'{args.source} has a class {shown(repr(name))}, '
                            'whose name must be printable text: --rename or '
                            '--drop it')
    if not classes:
        raise UserError(f'{args.source} holds no annotations')
    return checked, list(classes), dropped


def describe(content: dict, dropped: int, note: str = '',
             errors: ReadErrors | None = None) -> None:
    """Show what a file in COCO's format holds."""
    images, annotations = content['images'], content['annotations']
    empty = len(images) - len({item['image_id'] for item in annotations})
    ignored = sum(item['iscrowd'] for item in annotations)
    names = [category['name'] for category in content['categories']]
    show_line('Images', f'{len(images)}, {empty} without annotations{note}')
    show_line('Objects', f'{len(annotations)}, {ignored} of them ignored; '
              f'{dropped} without an area left out')
    show_line('Classes', f'{len(names)}: {some_of(names)}')
    for text in errors.notes.lines() if errors else ():
        show_line('Note', text)
    if unused := missing_classes(content):
        show_line('Note', f'no object of {some_of(unused)}: leave out such '
                  'classes with tools/data.py convert --drop-unused')


def _write(file: str | Path, content: dict, source: str) -> None:
    """Write a file, and warn if a training would refuse it."""
    write_json(file, content)
    show_line('Written', str(file))
    found = find_in_coco(parts_of(content, source), str(file))
    if found.findings('error'):
        warn('a training would refuse it')
    show_findings(found)


def show_findings(found: AnnotationErrors) -> None:
    """Print errors and warnings, and a command that fixes them."""
    for severity, color in (('error', 'red'), ('warning', 'yellow')):
        lines = found.lines(severity)
        if lines:
            show(f'{severity.capitalize()}s')
        for text in lines:
            show(wrapped(f'  {text}', '    '), color)
    if command := found.fix(*found.counts):
        what = 'Fix them' if all(map(found.fix, found.counts)) else \
            'Fix some of them'
        show(f'{what}:\n  {command}')


def _write_parts(out: str, parts: dict[str, list[AnnotatedImage]],
                 classes: Sequence[str], folder: str) -> Next:
    Path(out).mkdir(parents=True, exist_ok=True)
    for part, annotated in parts.items():
        content = as_coco(annotated, classes)
        show(f'{part}: {len(content["images"])} images, '
             f'{len(content["annotations"])} objects')
        file = os.path.join(out, f'{part}.json')
        _write(file, content, file)
    # What these commands assume.
    known = os.path.realpath(folder) == os.path.realpath(
        os.path.join(out, 'images'))
    option = () if known else ('--images', folder)
    return [('Inspect it', 'inspect', os.path.join(out, 'train.json'),
             *option),
            ('It is split: write a config', 'config', 'boxes', out, *option)]


def merge(args: argparse.Namespace) -> Next:
    """Merge COCO files, and return the commands that come next."""
    if not args.out.endswith('.json'):
        raise UserError(f'--out {args.out} must end in .json')
    check_new(args.out)
    errors, source = ReadErrors(), some_of(args.sources)
    merged, classes, folder = merge_files(args.sources, args.images, errors)
    checked, dropped = check_annotations(merged, classes, errors)
    errors.check(source, REMEDY)
    check_distinct(classes, source)
    content = as_coco(checked, classes)
    describe(content, dropped, errors=errors)
    _write(args.out, content, source)
    return [('Inspect it', 'inspect', args.out, '--images', short(folder))]
