"""Draw the losses, learning rate and metrics of trainings."""
import argparse
from pathlib import Path

import _ctrl_c  # noqa: F401

from mmlowformer.analysis.curves import choose_keys, draw_curves, read_logs
from mmlowformer.engine import UserError, one_line_errors
from mmlowformer.utils.files import check_new

DEFAULT_NAME = 'curves.png'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR',
                        help='work dirs of trainings to compare')
    parser.add_argument('--out', metavar='F.png',
                        help='a new image file (default: '
                        f'{DEFAULT_NAME} in the work dir, overwritten)')
    parser.add_argument('--keys', nargs='+', metavar='KEY',
                        help='curves to draw, for example loss coco/bbox_mAP '
                        '(default: losses, learning rate and metrics; for '
                        'several trainings the total loss and the main metric)'
                        )
    return parser.parse_args()


def output_file(args: argparse.Namespace) -> Path:
    if args.out is None:
        if len(args.work_dirs) > 1:
            raise UserError('several work dirs need --out F.png')
        return Path(args.work_dirs[0]) / DEFAULT_NAME
    if not args.out.lower().endswith('.png'):
        raise UserError(f'--out {args.out} has to end in .png')
    check_new(args.out)
    return Path(args.out)


def main() -> None:
    args = parse_args()
    with one_line_errors('analyze_log.py'):
        out = output_file(args)
        logs = read_logs(args.work_dirs)
        figure = draw_curves(logs, choose_keys(logs, args.keys))
        try:
            figure.savefig(out, dpi=120)
        except OSError as error:
            raise UserError(f'{out} cannot be written ({error.strerror}); '
                            'name another file with --out') from error
        print(*logs, f'Written: {out}', sep='\n')


if __name__ == '__main__':
    main()
