"""Serves the page on a port of this machine."""
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from ..errors import UserError, first_line, printable
from ..predict.predictor import Predictor
from ..runtime.results import Result
from ..utils.console import show, warn
from .app import create_app
from .limits import Limits, is_address
from .protocol import LimitedProtocol

# Seconds for requests to finish after Ctrl-C.
SHUTDOWN_SECONDS = 3
# Bytes of headers.
HEADERS = 16 * 1024
# The least score of a box that the page can show.
LEAST_SCORE = 0.05


def serve(predictor: Predictor, *, checkpoint: str = '',
          host: str = '127.0.0.1', port: int = 8000,
          allow_hosts: Sequence[str] = (), limits: Limits | None = None,
          on_result: Callable[[Result | str], None] = lambda result: None,
          sock: socket.socket | None = None) -> None:
    """Serve a page with the predictions of a model until Ctrl-C.

    Args:
        predictor (Predictor): The model. Its ``score_thr`` is lowered, as the
            page filters boxes itself.
        checkpoint (str): Path of the checkpoint, whose name the page shows.
        host (str): Address to listen on. Defaults to ``127.0.0.1``, which only
            this machine can reach.
        port (int): Port to listen on; 0 takes a free one. Defaults to 8000.
        allow_hosts (Sequence[str]): Names by which browsers may reach this
            machine, besides localhost, its host name and IP addresses.
        limits (Limits, optional): Limits of requests.
        on_result (Callable): Called with each result, or the reason why an
            image was refused.
        sock (socket.socket, optional): A socket from :func:`listen`, instead
            of ``port``.

    Raises:
        UserError: If the port cannot be used.
    """
    threshold = predictor.score_thr
    predictor.score_thr = min(LEAST_SCORE, threshold)
    about = dict(checkpoint=printable(os.path.basename(checkpoint)),
                 model=type(predictor.module).__name__, threshold=threshold,
                 least=predictor.score_thr)
    limits = limits or Limits()
    app = create_app(
        predictor, about, limits=limits,
        names=('localhost', host, socket.gethostname(), *allow_hosts),
        on_result=on_result)
    with sock or listen(host, port) as taken:
        Server(app, taken, limits,
               lambda: _announce(host, address(taken))).run()


def _announce(host: str, url: str) -> None:
    if not is_local(host):
        warn(f'--host {host}: every machine that reaches this one can use the '
             'model; there is no password and no encryption')
    show(f'\nOpen {url} in a browser, and drop an image. Press Ctrl-C to '
         'stop.')


def listen(host: str, port: int) -> socket.socket:
    """Open a port."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or first_line(error)
        raise UserError(f'cannot listen on port {port} of {host} ({reason}): '
                        'name another with --port, or use --port 0 for a free '
                        'one') from error


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host in ('localhost', '::1') or (
        is_address(host) and host.startswith('127.'))


def address(sock: socket.socket) -> str:
    """The URL of the page."""
    host, port = sock.getsockname()[:2]
    if host in ('0.0.0.0', '::'):
        host = socket.gethostname()
    return f'http://{f"[{host}]" if ":" in host else host}:{port}/'


class Server(uvicorn.Server):
    """Answers requests until Ctrl-C."""

    def __init__(self, app: ASGIApp, sock: socket.socket, limits: Limits,
                 on_ready: Callable[[], None]):
        # The simplest implementations, without features that are not needed.
        super().__init__(uvicorn.Config(
            app, loop='asyncio', ws='none', lifespan='off',
            http=partial(LimitedProtocol, limits),  # type: ignore[arg-type]
            log_config=None, log_level='critical', access_log=False,
            server_header=False, proxy_headers=False,
            h11_max_incomplete_event_size=HEADERS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS))
        self._sock, self._on_ready = sock, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None
                      ) -> None:
        """Start to answer."""
        await super().startup(sockets)
        self._on_ready()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until Ctrl-C, or until ``should_exit`` is set."""
        super().run(sockets or [self._sock])
