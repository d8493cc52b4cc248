"""Write synthetic images of shapes, or videos."""
import argparse

import _ctrl_c  # noqa: F401

from mmlowformer.datasets.synthetic.mot_videos import make_mot_videos
from mmlowformer.datasets.synthetic.shapes import make_dataset
from mmlowformer.datasets.synthetic.sot_videos import make_sot_videos
from mmlowformer.errors import UserError, one_line_errors
from mmlowformer.utils.arguments import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder to create')
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument('--videos', action='store_const', dest='make',
                       const=make_sot_videos, default=make_dataset,
                       help="videos of a moving shape in GOT-10k's format")
    kinds.add_argument('--mot', action='store_const', dest='make',
                       const=make_mot_videos,
                       help="videos of many shapes in MOT17's format")
    parser.add_argument('--train', type=int, metavar='N',
                        help='number of training images (default: 320) or '
                        'videos (240; with --mot 20)')
    parser.add_argument('--val', type=int, metavar='N',
                        help='number of validation images (default: 64) or '
                        'videos (20; with --mot 10)')
    parser.add_argument('--test', type=at_least(1), metavar='N',
                        help='with --videos: number of test videos without '
                        'ground truth (default: none)')
    parser.add_argument('--size', type=int, metavar='S',
                        help='height in pixels (default: 256, as wide; videos '
                        '240, with --mot 144, and 4/3 as wide)')
    parser.add_argument('--frames', type=int, metavar='N',
                        help='frames of each video (default: 60)')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='seed of the scenes (default: %(default)s)')
    args = parser.parse_args()
    if args.frames is not None and args.make is make_dataset:
        parser.error('--frames is for videos')
    if args.test is not None and args.make is not make_sot_videos:
        parser.error('--test is for --videos')
    return args


def main() -> None:
    args = parse_args()
    options = {name: value for name, value in vars(args).items()
               if name != 'make' and value is not None}
    with one_line_errors('make_shapes.py'):
        try:
            written = args.make(**options)
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error
    what = 'images' if args.make is make_dataset else 'videos'
    done = 'written' if written else 'exist already'
    print(f'\n{args.out}: {what}, {done}')


if __name__ == '__main__':
    main()
