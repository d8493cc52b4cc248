"""HTTP that does not wait for clients that are silent, slow or many."""
import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits, network_of


class LimitedProtocol(H11Protocol):
    """A connection, which is closed when its client exceeds the limits."""

    def __init__(self, limits: Limits, **kwargs):
        super().__init__(**kwargs)
        self.limits = limits
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport  # type: ignore
                        ) -> None:
        """Start to wait for a header, unless there are too many clients."""
        super().connection_made(transport)
        # Writing pauses until the client has taken everything.
        transport.set_write_buffer_limits(0)
        self._limit_reading()
        if problem := self._too_many():
            self._refuse(problem)

    def data_received(self, data: bytes) -> None:
        """Handle a part of a request."""
        super().data_received(data)
        self._limit_reading()

    def on_response_complete(self) -> None:
        """Wait for the rest of a refused request, or for the next one."""
        super().on_response_complete()
        self._limit_reading()

    def pause_writing(self) -> None:
        """Limit the time in which the client takes the response."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.seconds,
                                             self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken the response."""
        super().resume_writing()
        if self._writing:
            self._writing.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        for timer in filter(None, (self._reading, self._writing)):
            timer.cancel()

    def _limit_reading(self) -> None:
        """Limit the time for a header, and for a body that nobody reads."""
        # The application limits the time for a body that it reads.
        waiting = (self.conn.their_state is h11.IDLE
                   or self.conn.our_state is h11.DONE)
        if not waiting and self._reading:
            self._reading.cancel()
            self._reading = None
        elif waiting and not self._reading:
            self._reading = self.loop.call_later(
                self.limits.idle_seconds, self.transport.close)

    def _too_many(self) -> str | None:
        if len(self.connections) > self.limits.connections:
            return 'too many connections: try again'
        most = self.limits.connections_per_address
        clients = [network_of(each.client) for each in self.connections
                   if isinstance(each, H11Protocol)]
        if most and clients.count(network_of(self.client)) > most:
            return (f'more than {most} connections from one address; behind a '
                    'reverse proxy, see --max-connections-per-address')
        return None

    def _refuse(self, problem: str) -> None:
        body = json.dumps(dict(error=problem)).encode()
        self.transport.write(
            b'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n'
            b'Connection: close\r\nContent-Type: application/json\r\n'
            b'Content-Length: %d\r\n\r\n' % len(body) + body)
        self.transport.close()
