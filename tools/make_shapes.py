"""Write the synthetic shapes data set, as COCO and as ADE20K."""
import argparse
import sys

from mmlowformer.data.shapes import make_dataset


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('out', help='folder to create')
    parser.add_argument('--train', type=int, default=320, metavar='N',
                        help='number of training images')
    parser.add_argument('--val', type=int, default=64, metavar='N',
                        help='number of validation images')
    parser.add_argument('--size', type=int, default=256, metavar='S',
                        help='height and width in pixels')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='seed of the scenes')
    args = parser.parse_args()
    try:
        written = make_dataset(**vars(args))
    except (ValueError, OSError) as error:
        sys.exit(f'make_shapes.py: error: {error}')
    print(f'\n{args.out}: {args.train} + {args.val} images, '
          + ('written' if written else 'there already'))


if __name__ == '__main__':
    main()
