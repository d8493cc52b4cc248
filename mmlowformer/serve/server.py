"""Runs the page on a port of this machine."""
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from ..errors import UserError, first_line
from .limits import is_address

# Connections, most of which wait.
CONNECTIONS = 64
# That requests have left for their end after Ctrl-C, in seconds.
FAREWELL = 3
# Of headers, in bytes.
HEADERS = 16 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Take a port."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(f'cannot listen on port {port} of {host} '
                        f'({_reason(error)}): name another with --port, or '
                        'any that is free with --port 0') from error


def _reason(error: Exception) -> str:
    return getattr(error, 'strerror', None) or first_line(error)


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host in ('localhost', '::1') or (
        is_address(host) and host.startswith('127.'))


def address(taken: socket.socket) -> str:
    """What to type into a browser."""
    host, port = taken.getsockname()[:2]
    if host in ('0.0.0.0', '::'):
        host = socket.gethostname()
    return f'http://{f"[{host}]" if ":" in host else host}:{port}/'


class Server(uvicorn.Server):
    """Answers requests until Ctrl-C."""

    def __init__(self, app: ASGIApp, taken: socket.socket,
                 ready: Callable[[], None]):
        # The plainest of each, and none of what is not needed.
        super().__init__(uvicorn.Config(
            app, loop='asyncio', http='h11', ws='none', lifespan='off',
            log_config=None, log_level='critical', access_log=False,
            server_header=False, proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEADERS,
            timeout_graceful_shutdown=FAREWELL))
        self._taken, self._ready = taken, ready

    async def startup(self, sockets: list[socket.socket] | None = None
                      ) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._ready()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until Ctrl-C, or until ``should_exit`` is set."""
        super().run(sockets or [self._taken])
