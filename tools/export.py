"""Export a trained model to other formats, and verify each numerically."""
import argparse
import os
import sys
from dataclasses import fields

import _ctrl_c  # noqa: F401

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.export import export
from mmlowformer.export.config import ExportConfig
from mmlowformer.export.formats import FORMATS, PRECISIONS
from mmlowformer.predict import add_trust_argument


def size_of(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition('x')
    if not (cross and height.isdigit() and width.isdigit()) or min(
            int(height), int(width)) < 32:
        raise argparse.ArgumentTypeError(
            f'{text!r} has to be height x width, like 512x512, at least 32')
    return int(height), int(width)


def batch_of(text: str) -> int | str:
    if text == 'dynamic':
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f'{text!r} has to be a positive number, or dynamic')
    return int(text)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a training, with '
                        'its config in it')
    parser.add_argument('--format', required=True, metavar='F,F',
                        help=f'formats to write: {", ".join(FORMATS)}')
    parser.add_argument('--config', metavar='C',
                        help="config to use instead of the checkpoint's: a "
                        'path, or a name that comes with mmlowformer')
    add_trust_argument(parser)
    parser.add_argument('--out', metavar='DIR',
                        help='folder for a folder of each format (default: '
                        "the checkpoint's name with -export)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--size', type=size_of, metavar='HxW',
                      help='fix the image size (default: any size, where the '
                      'format supports that)')
    size.add_argument('--dynamic', action='store_true',
                      help='require support of any image size')
    parser.add_argument('--batch', type=batch_of, metavar='N',
                        help='images in a call, or dynamic (default: dynamic '
                        'where the format supports that, else 1)')
    nms = parser.add_mutually_exclusive_group()
    nms.add_argument('--nms', action='store_true', default=None,
                     help='a detector outputs boxes (default where the '
                     'format supports that)')
    nms.add_argument('--no-nms', action='store_false', dest='nms',
                     default=None,
                     help='a detector outputs the feature maps of its head')
    engine.rename_option(nms, '--raw', '--no-nms')
    parser.add_argument('--backbone', action='store_true',
                        help='export the backbone alone')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help="minimum score of a box (default: the config's "
                        'for tests)')
    parser.add_argument('--max-dets', type=engine.at_least(1), metavar='N',
                        help='maximum number of boxes in an image (default: '
                        "the config's)")
    parser.add_argument('--quantize', dest='bits', type=int, default=32,
                        metavar='BITS', choices=PRECISIONS,
                        help='bits of the weights: 32 (default), 16 or 8')
    parser.add_argument('--calibration', nargs='+', metavar='IMAGES',
                        help='images or folders to calibrate 8 bits with '
                        '(default: training images of the config)')
    parser.add_argument('--calibration-images', type=engine.at_least(1),
                        default=300, metavar='N', help='maximum number of '
                        'calibration images (default: %(default)s)')
    parser.add_argument('--max-metric-drop', type=float, default=0.005,
                        metavar='D', help='maximum allowed metric drop for '
                        '16- and 8-bit exports, metric in [0, 1] (default: '
                        '%(default)s)')
    engine.rename_option(parser, '--max-drop', '--max-metric-drop')
    parser.add_argument('--verify', dest='images', nargs='+', metavar='IMAGES',
                        help='images or folders to compare outputs on '
                        "(default: the config's test images, else generated "
                        'ones)')
    parser.add_argument('--no-metric', dest='metric', action='store_false',
                        help='compare outputs only, which is quicker')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show tracebacks of errors')
    return parser.parse_args()


def run(args: argparse.Namespace) -> bool:
    """Export, and return whether a format failed."""
    if args.calibration and args.bits != 8:
        raise UserError('--calibration is for --quantize 8')
    results = export(
        args.checkpoint, args.format, args.out, config=args.config,
        trust_config=args.trust_config,
        on_load=lambda model: engine.describe_model(model, args.checkpoint),
        **{item.name: getattr(args, item.name)
           for item in fields(ExportConfig) if item.name != 'formats'})
    return any(result.verdict == 'failed' for result in results)


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.one_line_errors('export.py'),
          engine.exit_on_interrupt(lambda: 'Interrupted: formats without a '
                                   'result above are not verified.'),
          engine.quiet_screen()):
        sys.exit(run(args))


if __name__ == '__main__':
    main()
