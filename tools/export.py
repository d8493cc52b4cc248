"""Write a trained model in other formats, and verify what was written."""
import argparse
import os
import sys
from pathlib import Path

import _ctrl_c  # noqa: F401

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.export.comparison import Row
from mmlowformer.export.evaluation import deciding
from mmlowformer.export.exporter import FAILED, PICTURE, Exporter, unverified
from mmlowformer.export.formats import FORMATS, PRECISIONS, find_formats
from mmlowformer.export.plan import Outcome, Progress, Wishes
from mmlowformer.predict.arguments import add_trust_argument
from mmlowformer.predict.inputs import collect_inputs
from mmlowformer.utils.files import check_new


def size_of(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition('x')
    if not (cross and height.isdigit() and width.isdigit()) or min(
            int(height), int(width)) < 32:
        raise argparse.ArgumentTypeError(
            f'{text!r} has to be height x width, like 512x512, at least 32')
    return int(height), int(width)


def batch_of(text: str) -> int | None:
    if text == 'dynamic':
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f'{text!r} has to be a positive number, or dynamic')
    return int(text)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='the checkpoint of a training, '
                        'which has its config in it')
    parser.add_argument('--format', required=True, metavar='F,F',
                        help=f'some of {", ".join(FORMATS)}')
    parser.add_argument('--config', metavar='C',
                        help="instead of the checkpoint's own: a config, or "
                        'the name of one that comes with mmlowformer')
    add_trust_argument(parser)
    parser.add_argument('--out', metavar='DIR',
                        help='folder for a folder of each format (default: '
                        "the checkpoint's name with -export)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--size', type=size_of, metavar='HxW',
                      help='images of this size only (default: of any, where '
                      'the format can do that)')
    size.add_argument('--dynamic', action='store_true',
                      help='images of any size, or an error')
    parser.add_argument('--batch', type=batch_of, default=0, metavar='N',
                        help='images in a call, or dynamic (default: dynamic '
                        'where that can be done, and else 1)')
    boxes = parser.add_mutually_exclusive_group()
    boxes.add_argument('--nms', action='store_true',
                       help='a detector gives boxes (the default where the '
                       'format can do that)')
    boxes.add_argument('--raw', action='store_true',
                       help='a detector gives the maps of its head')
    parser.add_argument('--backbone', action='store_true',
                        help='export the backbone alone')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help="the least score of a box (default: that of the "
                        "config's tests)")
    parser.add_argument('--max-dets', type=int, metavar='N',
                        help="boxes of an image (default: the config's)")
    parser.add_argument('--quantize', type=int, default=32, metavar='BITS',
                        choices=PRECISIONS, help='32 (default), 16 or 8')
    parser.add_argument('--calibration', nargs='+', metavar='IMAGES',
                        help='for 8 bits: images or folders (default: the '
                        'training images of the config)')
    parser.add_argument('--calibration-images', type=int, default=300,
                        metavar='N', help='at most so many (%(default)s)')
    parser.add_argument('--max-drop', type=float, default=0.005, metavar='D',
                        help='what 16 and 8 bits may take from the metric, '
                        'which goes from 0 to 1 (%(default)s)')
    parser.add_argument('--verify', nargs='+', metavar='IMAGES',
                        help="images or folders to compare on (default: the "
                        "config's test images, or generated ones)")
    parser.add_argument('--no-metric', action='store_true',
                        help='compare outputs only, which is quicker')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show the tracebacks of errors, too')
    return parser.parse_args()


class Screen(Progress):
    """A progress bar at a terminal."""

    def __init__(self):
        self._step = lambda: None
        self._bar = None

    def say(self, label: str, text: str) -> None:
        engine.show(engine.line(label, text))

    def phase(self, text: str, steps: int | None) -> None:
        self.end()
        self._bar = engine.counting_bar(text, steps)
        self._step = self._bar.__enter__()

    def step(self) -> None:
        self._step()

    def end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def images_of(named: list[str] | None) -> list[str]:
    return collect_inputs(named).images if named else []


def wishes_of(args: argparse.Namespace) -> Wishes:
    for option in ('max_dets', 'calibration_images'):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise UserError(f'--{option.replace("_", "-")} has to be '
                            'positive')
    if args.calibration and args.quantize != 8:
        raise UserError('--calibration is for --quantize 8')
    return Wishes(
        formats=find_formats(args.format), size=args.size,
        dynamic=args.dynamic, batch=args.batch or None,
        any_batch=args.batch is None, boxes=args.nms, raw=args.raw,
        backbone=args.backbone, score_thr=args.score_thr,
        max_dets=args.max_dets, bits=args.quantize,
        calibration=images_of(args.calibration),
        calibration_images=args.calibration_images, max_drop=args.max_drop,
        images=images_of(args.verify), metric=not args.no_metric)


def folders_of(args: argparse.Namespace, wishes: Wishes) -> list[Path]:
    """Earlier exports stay: their folders may not be there."""
    stem = Path(args.checkpoint).name.removesuffix('.pth')
    root = Path(args.out or f'{stem}-export')
    suffix = {32: '', 16: '-float16', 8: '-int8'}[wishes.bits]
    folders = [root / f'{item.name}{suffix}' for item in wishes.formats]
    for folder in folders:
        check_new(folder)
        if (left := unverified(folder)).exists():
            raise UserError(f'{left} is there, of an export that was ended '
                            'or is still going on: delete it, or name '
                            'another --out')
    return folders


def compared(rows: list[Row]) -> str:
    """The worst of some comparisons, and what they were made on."""
    worst = max(rows, key=lambda row: (row.share, row.error))
    limit = '' if worst.limit is None else f' (allowed {worst.limit:g})'
    return (f'{worst.check} differs by at most {worst.error:.1e}{limit}, on '
            f'{", ".join(dict.fromkeys(row.where for row in rows))}')


def report(outcome: Outcome) -> None:
    of_files = [row for row in outcome.rows if row.where.endswith('images')]
    outputs = [row for row in outcome.rows if row not in of_files]
    groups = [outputs] if outputs else []
    groups += [[row] for row in of_files]
    for rows in groups:
        engine.show(engine.line('Compared', compared(rows)))
    if outcome.metrics:
        before, after = (deciding(outcome.metrics[whose]) for whose in
                         ('checkpoint', 'export'))
        if before and after:
            engine.show(engine.line(
                'Metric', f'{before[0]} {before[1]:.4f}, exported '
                f'{after[1]:.4f}'))
    for item in outcome.speed:
        weights = f', {item["weights"]} weights' if item['weights'] else ''
        engine.show(engine.line(
            'Speed', f'{item["milliseconds"]:.1f} ms an image, '
            f'{item["name"]}{weights}'))
    if slower := outcome.slower:
        engine.show(engine.line('Note', slower), 'yellow')
    verdict = f'{outcome.verdict}' + (
        f' ({outcome.reason})' if outcome.reason else '')
    engine.show(engine.line('Result', f'{verdict}: '
                            f'{engine.short(outcome.folder)}'),
                'red' if outcome.verdict == FAILED else 'green')


def print_summary(outcomes: list[Outcome]) -> None:
    usable = [outcome for outcome in outcomes if outcome.verdict != FAILED]
    for outcome in usable:
        if (outcome.folder / PICTURE).exists():
            engine.show(engine.line('Picture', engine.short(
                outcome.folder / PICTURE)))
    # Nothing was compared where there is no runtime.
    running = [outcome for outcome in usable if outcome.rows]
    if running:
        folder = engine.short(running[0].folder)
        engine.show('Use it, without OpenMMLab:\n  '
                    f'python -m mmlowformer.runtime {folder} PHOTO')


def export(args: argparse.Namespace) -> list[Outcome]:
    wishes = wishes_of(args)
    folders = folders_of(args, wishes)
    screen = Screen()
    exporter = Exporter(args.checkpoint, args.config, wishes, screen,
                        trust_config=args.trust_config)
    engine.describe_model(exporter.trained.module, args.checkpoint)
    outcomes = []
    for item, folder in zip(wishes.formats, folders):
        try:
            outcomes.append(exporter.export(item, folder))
        finally:
            screen.end()
        report(outcomes[-1])
    return outcomes


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.one_line_errors('export.py'),
          engine.exit_on_interrupt(lambda: 'Interrupted: what was not '
                                   'reported above is not verified.'),
          engine.quiet_screen()):
        outcomes = export(args)
        print_summary(outcomes)
        sys.exit(any(outcome.verdict == FAILED for outcome in outcomes))


if __name__ == '__main__':
    main()
