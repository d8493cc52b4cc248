"""Show the predictions of a trained model for images in a browser."""
import argparse
import os

import _ctrl_c  # noqa: F401

from mmlowformer import engine, serve
from mmlowformer.engine import counted
from mmlowformer.predict import Result, add_model_arguments, build_predictor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint with its config')
    add_model_arguments(parser)
    parser.add_argument('--host', default='127.0.0.1', metavar='H',
                        help='address to listen on (default: %(default)s, '
                        'which only this machine can reach)')
    parser.add_argument('--port', type=int, default=8000, metavar='P',
                        help='port to listen on; 0 takes a free one '
                        '(default: %(default)s)')
    parser.add_argument('--allow-host', nargs='+', default=[], metavar='NAME',
                        help='names by which browsers reach this machine, '
                        'besides localhost, its host name and IP addresses')
    parser.add_argument('--max-megabytes', type=engine.positive, metavar='N',
                        default=32., help='the largest file '
                        '(default: %(default)g)')
    parser.add_argument('--max-megapixels', type=engine.positive, metavar='N',
                        default=64., help='the largest image '
                        '(default: %(default)g)')
    parser.add_argument('--max-connections-per-address', metavar='N',
                        type=engine.at_least(0), default=16,
                        help='connections of one IP address at a time; 0 '
                        'sets no limit, for a reverse proxy (default: '
                        '%(default)s)')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show tracebacks of errors')
    return parser.parse_args()


class Counter:
    """Prints a line for each image, and counts them."""

    def __init__(self):
        self.images = 0

    def __call__(self, result: Result | str) -> None:
        if isinstance(result, Result):
            self.images += 1
            engine.show(engine.wrapped(result.line(), '  '))
        else:
            engine.show(engine.wrapped(f'Refused: {result}', '  '), 'red')


def run(args: argparse.Namespace, counter: Counter) -> None:
    # Before the model is loaded, which takes long.
    with serve.listen(args.host, args.port) as sock:
        predictor = build_predictor(args)
        engine.describe_model(predictor.module, args.checkpoint)
        serve.serve(
            predictor, checkpoint=args.checkpoint, host=args.host,
            allow_hosts=args.allow_host, on_result=counter, sock=sock,
            limits=serve.Limits(
                args.max_megabytes, args.max_megapixels,
                connections_per_address=args.max_connections_per_address))


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    counter = Counter()
    with (engine.one_line_errors('serve.py'),
          engine.exit_on_interrupt(lambda: 'Stopped after '
                                   f'{counted(counter.images, "image")}.'),
          engine.quiet_screen()):
        run(args, counter)


if __name__ == '__main__':
    main()
