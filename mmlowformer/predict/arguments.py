"""What the tools that predict are told about the model."""
import argparse

from ..deployment.arguments import add_deploy_arguments, deploy_settings
from .predictor import Predictor


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that a predictor is built from, but for the checkpoint."""
    parser.add_argument('--config', metavar='C',
                        help="instead of the checkpoint's own: a config, or "
                        'the name of one that comes with mmlowformer')
    add_trust_argument(parser)
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help="the least score of a box (default: the "
                        "config's, or 0.3)")
    parser.add_argument('--batch-size', type=int, default=1, metavar='N',
                        help='images of one size, or tiles, in a call of the '
                        'model (default: %(default)s)')
    parser.add_argument('--device', metavar='D',
                        help='cpu, cuda, cuda:1 and so on (default: a GPU if '
                        'there is one)')
    add_deploy_arguments(parser)
    parser.add_argument('--tile', type=int, metavar='SIZE',
                        help='cut large images into overlapping tiles of so '
                        'many pixels')
    parser.add_argument('--overlap', type=float, default=0.25, metavar='F',
                        help='share of a tile that lies in its neighbour; '
                        'objects should fit into it (default: %(default)s)')
    parser.add_argument('--gallery', metavar='DIR',
                        help='for a retriever: the images among which to look '
                        'for similar ones')


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that lets the config in a checkpoint build anything."""
    parser.add_argument('--trust-config', action='store_true',
                        help='build whatever the config in the checkpoint '
                        'names, which can run code of whoever made the file '
                        '(default: only what docs/drop_in.md needs)')


def predictor_of(args: argparse.Namespace) -> Predictor:
    """Build the predictor."""
    return Predictor(
        args.checkpoint, args.config, device=args.device,
        score_thr=args.score_thr, batch_size=args.batch_size,
        deploy=deploy_settings(args), tile=args.tile, overlap=args.overlap,
        gallery=args.gallery, trust_config=args.trust_config)
