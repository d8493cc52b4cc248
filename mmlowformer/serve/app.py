"""The page and its routes."""
import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import LONGEST_MESSAGE, UserError, first_line, printable
from ..predict.predictor import Predictor
from ..runtime.results import Result
from .limits import Limits, check_image, host_of, is_own_host, network_of
from .responses import response_data

# The only files that are sent; read once.
PAGE = Path(__file__).parent / 'page'
FILES = {'/': ('index.html', 'text/html'),
         '/page.css': ('page.css', 'text/css'),
         '/page.js': ('page.js', 'text/javascript')}
HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cache-Control': 'no-store',
}


def create_app(predictor: Predictor, about: dict, *, limits: Limits,
               names: tuple[str, ...],
               on_result: Callable[[Result | str], None]) -> Starlette:
    """The application of the server."""
    queue = PredictionQueue(predictor, limits, on_result)
    about = dict(about, limits=dict(
        bytes=limits.body, megabytes=limits.megabytes,
        megapixels=limits.megapixels))
    fixed = {path: Response((PAGE / name).read_bytes(), media_type=kind)
             for path, (name, kind) in FILES.items()}
    fixed['/model'] = JSONResponse(about)
    return Starlette(
        routes=[*(Route(path, response, methods=['GET'])
                  for path, response in fixed.items()),
                Route('/predict', queue.predict, methods=['POST'])],
        middleware=[Middleware(HostCheck, names=names)],
        exception_handlers={HTTPException: _refuse})


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(dict(error=error.detail), error.status_code,
                        headers=error.headers)


class HostCheck:
    """Refuses requests for other hosts, and adds security headers."""

    def __init__(self, app: ASGIApp, names: tuple[str, ...]):
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send
                       ) -> None:
        async def send_with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [
                    *message['headers'],
                    *((key.lower().encode(), value.encode())
                      for key, value in HEADERS.items())]
            await send(message)

        app = self.app
        problem = scope['type'] == 'http' and self._problem(Request(scope))
        if problem:
            app = JSONResponse(dict(error=problem), 403)
        await app(scope, receive, send_with_headers)

    def _problem(self, request: Request) -> str | None:
        host = request.headers.get('host', '')
        if not is_own_host(host, self.names):
            return (f'this server is not called {host_of(host)}: allow the '
                    'name with --allow-host')
        origin = request.headers.get('origin')
        if origin and origin.partition('://')[2] != host:
            return 'requests of another site are not allowed'
        return None


class PredictionQueue:
    """Predicts images one after the other."""

    def __init__(self, predictor: Predictor, limits: Limits,
                 on_result: Callable[[Result | str], None]):
        self.predictor, self.limits = predictor, limits
        self.on_result = on_result
        # Images that are sent, wait or are predicted, by address.
        self._inside: Counter[str | None] = Counter()
        self._turn = asyncio.Lock()
        # A single thread, as OpenMP starts its own for each that computes.
        self._pool = ThreadPoolExecutor(1)

    async def predict(self, request: Request) -> Response:
        """Respond with the predictions for an image."""
        client = network_of(request.client)
        if (self._inside.total() >= self.limits.waiting
                or self._inside[client] >= self.limits.waiting_per_address):
            raise HTTPException(503, 'too many images at once: try again',
                                {'Retry-After': '1'})
        self._inside[client] += 1
        try:
            content = await self._received(request)
            async with self._turn:
                # The client may have left meanwhile.
                if await request.is_disconnected():
                    return Response(status_code=204)
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._answer, content)
        except ClientDisconnect:
            return Response(status_code=204)
        finally:
            self._inside -= Counter([client])

    async def _received(self, request: Request) -> bytes:
        """The body, unless it is too large or too slow."""
        largest = self.limits.body
        length = request.headers.get('content-length', '0')
        content = bytearray()
        try:
            end = anyio.current_time() + self.limits.seconds
            with anyio.fail_after(self.limits.idle_seconds) as timeout:
                if length.isdigit() and int(length) <= largest:
                    async for part in request.stream():
                        timeout.deadline = min(
                            end, anyio.current_time()
                            + self.limits.idle_seconds)
                        content += part
                        if len(content) > largest:
                            break
                    else:
                        return bytes(content)
        except TimeoutError:
            raise HTTPException(408, 'sending the image took too long'
                                ) from None
        raise HTTPException(413, 'the file is too large: '
                            f'the limit is {self.limits.megabytes:g} MB')

    def _answer(self, content: bytes) -> Response:
        try:
            result = self._result(content)
            self.on_result(result)
            return JSONResponse(response_data(result))
        except UserError as error:
            return self._failed(422, str(error))
        # An unexpected error must not stop the server.
        except Exception as error:
            return self._failed(500, f'{type(error).__name__}: '
                                f'{first_line(error)}')

    def _result(self, content: bytes) -> Result:
        check_image(content, self.limits)
        item, = self.predictor.stream([content], ['you sent'])
        if item.result is None:
            raise item.error or UserError('nothing was predicted')
        return item.result

    def _failed(self, status: int, problem: str) -> Response:
        problem = printable(problem, limit=LONGEST_MESSAGE)
        self.on_result(problem)
        return JSONResponse(dict(error=problem), status)
