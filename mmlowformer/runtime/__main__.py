"""Predict images with an exported model; prints a JSON record for each."""
import argparse
import json
import sys
import time

from ..errors import LONGEST_MESSAGE, UserError, one_line_errors, printable
from .predictor import ExportedPredictor


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mmlowformer.runtime', description=__doc__)
    parser.add_argument('folder', help='folder that tools/export.py wrote')
    parser.add_argument('images', nargs='+', metavar='IMAGE')
    parser.add_argument('--score-thr', type=float, default=0.3, metavar='S',
                        help='minimum score of a box (default: %(default)s)')
    parser.add_argument('--threads', type=int, metavar='N')
    parser.add_argument('--precision', default='float32',
                        choices=('float32', 'default'),
                        help="float32, or the runtime's default, which may be "
                        'faster and less exact (default: %(default)s)')
    parser.add_argument('--trust', action='store_true',
                        help='open a model of the format pt2, which may run '
                        'code of its author')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the predictions; returns 1 if an image was skipped."""
    args, failed = parse_args(arguments), False
    with one_line_errors('mmlowformer.runtime'):
        predictor = ExportedPredictor(
            args.folder, threads=args.threads, precision=args.precision,
            score_thr=args.score_thr, trust=args.trust)
        print(predictor.session.name, file=sys.stderr)
        for path in args.images:
            start = time.perf_counter()
            try:
                found = predictor(path)
            except UserError as error:
                failed = True
                message = printable(str(error), limit=LONGEST_MESSAGE)
                print(f'Skipped: {message}', file=sys.stderr)
                continue
            print(json.dumps(dict(
                file_name=path, found=found.json(masks=False),
                milliseconds=round(1e3 * (time.perf_counter() - start), 1))))
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
