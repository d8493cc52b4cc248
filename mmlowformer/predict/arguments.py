"""Command-line arguments of the model, for all tools that predict."""
import argparse
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ..checkpoint.download import local_checkpoint
from ..config.loading import find_config, read_config
from ..datasets.paths import IMAGES
from ..deployment.arguments import add_deploy_arguments, deploy_settings
from ..errors import UserError
from ..runtime.model_spec import FILE, is_exported, sha256
from ..utils.arguments import rename_option
from ..utils.files import check_new
from .predictor import Predictor
from .results_folder import LINES, RUN


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a predictor, except the checkpoint."""
    parser.add_argument('--config', metavar='C',
                        help='config file, or name of a config of '
                        'mmlowformer (default: the config in the checkpoint)')
    add_trust_argument(parser)
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help="score threshold of boxes (default: the "
                        "config's, or 0.3)")
    parser.add_argument('--batch-size', type=int, default=1, metavar='N',
                        help='images of one size, or tiles, in a call of the '
                        'model (default: %(default)s)')
    parser.add_argument('--device', metavar='D',
                        help='cpu, cuda, cuda:1 and so on (default: a GPU if '
                        'one exists)')
    add_deploy_arguments(parser)
    parser.add_argument('--tile-size', type=int, metavar='SIZE',
                        help='cut large images into overlapping tiles of '
                        'this size, in pixels')
    parser.add_argument('--overlap-ratio', type=float, default=0.25,
                        metavar='R', help='overlap of neighboring tiles, as '
                        'a fraction of the tile; objects should fit into it '
                        '(default: %(default)s)')
    rename_option(parser, '--tile', '--tile-size')
    rename_option(parser, '--overlap', '--overlap-ratio')
    parser.add_argument('--gallery', metavar='DIR',
                        help='folder of the images that a retriever searches')


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Let the config in a checkpoint build anything."""
    parser.add_argument('--trust-config', action='store_true',
                        help='build any type that the config in the '
                        "checkpoint names, which can run its author's code "
                        '(default: only the types of docs/drop_in.md)')


def build_predictor(args: argparse.Namespace) -> Predictor:
    """Build the predictor."""
    return Predictor(
        args.checkpoint, args.config, device=args.device,
        score_thr=args.score_thr, batch_size=args.batch_size,
        deploy=deploy_settings(args), tile=args.tile_size,
        overlap=args.overlap_ratio, gallery=args.gallery,
        trust_config=args.trust_config)


def check_shard_options(args: argparse.Namespace) -> None:
    """Refuse what several processes cannot do together."""
    launched = args.launcher != 'none'
    if not launched and not args.shard:
        return
    option = f'--launcher {args.launcher}' if launched else '--shard'
    if launched and args.shard:
        raise UserError(f'{option} deals the inputs out: omit --shard')
    if not launched and not args.out:
        raise UserError('--shard needs the folder of the run: name it with '
                        '--out')
    for name in ('profile', 'track', 'box', 'detector'):
        if getattr(args, name):
            raise UserError(f'--{name} is for one process: omit {option}')
    if '-' in args.inputs:
        raise UserError(f'{option}: each process reads all inputs; write '
                        'those of the standard input to a file')


def check_json_file(args: argparse.Namespace) -> None:
    """Replace nothing but the list of the run that is resumed."""
    if not args.json:
        return
    if os.path.basename(args.json) in (RUN, LINES):
        raise UserError(f'--json {args.json} has the name of a file of the '
                        'run: choose another name')
    if not args.resume or not os.path.exists(os.path.join(args.out, RUN)):
        check_new(args.json)


def run_settings(args: argparse.Namespace, inputs: Iterable[str],
                 options: Iterable[str]) -> dict:
    """What the results of a run depend on, in plain values."""
    listed, number = hashlib.sha256(), 0
    for path in inputs:
        listed.update(os.fsencode(path) + b'\0')
        number += 1
    config = args.config and read_config(find_config(args.config)).pretty_text
    return dict(
        checkpoint=_checksum(Path(args.checkpoint, FILE)
                             if is_exported(args.checkpoint)
                             else local_checkpoint(args.checkpoint)),
        config=config and hashlib.sha256(config.encode()).hexdigest(),
        inputs=listed.hexdigest(), count=number,
        ann_file=args.ann_file and _checksum(args.ann_file),
        gallery=args.gallery and _checksum_of_images(args.gallery),
        deploy=deploy_settings(args),
        **{option: getattr(args, option) for option in (
            'score_thr', 'tile_size', 'overlap_ratio', *options)})


def _checksum(file: str | Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise UserError(f'{file} cannot be read: {error.strerror}') from error


def _checksum_of_images(folder: str) -> str:
    """Checksum of the images below a folder, and of their paths."""
    found = hashlib.sha256()
    for path in sorted(Path(folder).rglob('*')):
        if path.suffix.lower() in IMAGES and path.is_file():
            found.update(os.fsencode(path) + b'\0'
                         + _checksum(path).encode())
    return found.hexdigest()
