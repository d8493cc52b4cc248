"""Show in a browser what a trained model finds in a photo."""
import argparse
import os
import socket
from importlib.util import find_spec

import _ctrl_c  # noqa: F401

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.errors import printable
from mmlowformer.predict import Predictor, Result
from mmlowformer.predict.arguments import add_model_arguments, build_predictor
from mmlowformer.serve import Limits

# The least score of a box that the page can show.
LEAST = 0.05


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='the checkpoint of a training, '
                        'which has its config in it')
    add_model_arguments(parser)
    parser.add_argument('--host', default='127.0.0.1', metavar='H',
                        help='address to listen on (default: %(default)s, '
                        'which only this machine can reach)')
    parser.add_argument('--port', type=int, default=8000, metavar='P',
                        help='0 is any that is free (default: %(default)s)')
    parser.add_argument('--allow-host', nargs='+', default=[], metavar='NAME',
                        help='names by which browsers reach this machine, '
                        'beside localhost, its host name and addresses in '
                        'numbers')
    parser.add_argument('--max-megabytes', type=float, default=32.,
                        metavar='N', help='the largest file '
                        '(default: %(default)g)')
    parser.add_argument('--max-megapixels', type=float, default=64.,
                        metavar='N', help='the largest image '
                        '(default: %(default)g)')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show the tracebacks of errors, too')
    return parser.parse_args()


class Counter:
    """Shows a line for each photo, and counts them."""

    def __init__(self):
        self.photos = 0

    def __call__(self, news: Result | str) -> None:
        if isinstance(news, Result):
            self.photos += 1
            engine.show(engine.wrapped(news.line(), '  '))
        else:
            engine.show(engine.wrapped(f'Refused: {news}', '  '), 'red')


def check(args: argparse.Namespace) -> None:
    for name in ('max_megabytes', 'max_megapixels'):
        if getattr(args, name) <= 0:
            raise UserError(f'--{name.replace("_", "-")} has to be positive')
    for module in ('starlette', 'uvicorn'):
        if not find_spec(module):
            raise UserError(f'{module} is missing: pip install starlette '
                            'uvicorn')


def about(args: argparse.Namespace, predictor: Predictor) -> dict:
    """What the page says about the model, which finds more from now on."""
    threshold = predictor.score_thr
    predictor.score_thr = min(LEAST, threshold)
    return dict(checkpoint=printable(os.path.basename(args.checkpoint)),
                model=type(predictor.module).__name__, threshold=threshold,
                least=predictor.score_thr)


def announce(args: argparse.Namespace, url: str, only_here: bool) -> None:
    if not only_here:
        engine.warn(f'--host {args.host}: every machine that reaches this one '
                    'can use the model; there is no password and no '
                    'encryption')
    engine.show(f'\nOpen {url} in a browser, and drop a photo. Ctrl-C ends '
                'it.')


def serve(args: argparse.Namespace, counter: Counter) -> None:
    check(args)
    from mmlowformer.serve.app import create_app
    from mmlowformer.serve.server import Server, address, is_local, listen
    # What takes long comes after what can fail at once.
    with listen(args.host, args.port) as port:
        predictor = build_predictor(args)
        engine.describe_model(predictor.module, args.checkpoint)
        app = create_app(
            predictor, about(args, predictor),
            limits=Limits(args.max_megabytes, args.max_megapixels),
            names=('localhost', args.host, socket.gethostname(),
                   *args.allow_host), tell=counter)
        Server(app, port, lambda: announce(
            args, address(port), is_local(args.host))).run()


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    counter = Counter()
    with (engine.one_line_errors('serve.py'),
          engine.exit_on_interrupt(
              lambda: f'Stopped after {counter.photos} photo(s).'),
          engine.quiet_screen()):
        serve(args, counter)


if __name__ == '__main__':
    main()
