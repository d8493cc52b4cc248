"""Options of labels to be corrected."""
import argparse

from ...datasets.formats.writers import WRITERS
from ...errors import UserError
from ...utils.arguments import at_least
from ..inputs import Inputs
from .uncertainty import LIST


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what turns predictions into labels to be corrected."""
    parser.add_argument('--save-as', choices=sorted(WRITERS), metavar='F',
                        help='write labels for a labeling tool, in the format '
                        f'{", ".join(sorted(WRITERS))}, to the folder '
                        'labels-F of the results')
    parser.add_argument('--label-thr', type=float, default=0., metavar='S',
                        help='score threshold of the labels, if it is above '
                        '--score-thr')
    parser.add_argument('--uncertain', type=at_least(1), metavar='N',
                        help='list the N images that are worth labeling '
                        f'next, in {LIST}; --save-as writes only these')


def check_label_options(args: argparse.Namespace) -> None:
    """Refuse labels of what has no images or model."""
    if not args.save_as and not args.uncertain:
        return
    option = '--save-as' if args.save_as else '--uncertain'
    if args.merge:
        raise UserError(f'{option} needs the model and the images: merge '
                        f'first, then add --resume {option} to the command '
                        'that predicts, without --shard')
    for name in ('track', 'box', 'detector', 'gallery'):
        if getattr(args, name):
            raise UserError(f'{option} is for boxes and classes of images, '
                            f'not for --{name}')


def check_label_inputs(args: argparse.Namespace, inputs: Inputs) -> None:
    """Refuse labels of what is no image file."""
    others = inputs.videos + [path for path in inputs.images if '://' in path]
    if others and (args.save_as or args.uncertain):
        raise UserError('--save-as and --uncertain are for image files, not '
                        f'for {others[0]}')
