"""The page and its routes."""
import asyncio
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
from ..predict import Predictor, Result
from .answers import response_data
from .limits import Limits, host_of, is_own_host
from .photos import check_image

# What is sent of this machine's files: these, read once.
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
               names: tuple[str, ...], tell: Callable[[Result | str], None]
               ) -> Starlette:
    """The application that a server runs."""
    desk = Desk(predictor, limits, tell)
    about = dict(about, limits=dict(
        bytes=limits.body, megabytes=limits.megabytes,
        megapixels=limits.megapixels))

    async def model(request: Request) -> Response:
        return JSONResponse(about)

    return Starlette(
        routes=[*(_file(path, *file) for path, file in FILES.items()),
                Route('/model', model),
                Route('/predict', desk.predict, methods=['POST'])],
        middleware=[Middleware(Guarded, names=names)],
        exception_handlers={HTTPException: _refuse})


def _file(path: str, name: str, kind: str) -> Route:
    content = (PAGE / name).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, send)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(dict(error=error.detail), error.status_code,
                        headers=error.headers)


class Guarded:
    """Lets only requests through that are meant for this server."""

    def __init__(self, app: ASGIApp, names: tuple[str, ...]):
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send
                       ) -> None:
        async def send_guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [
                    *message['headers'],
                    *((key.lower().encode(), value.encode())
                      for key, value in HEADERS.items())]
            await send(message)

        answer = self.app
        if scope['type'] == 'http':
            problem = self._problem(Request(scope))
            if problem:
                answer = JSONResponse(dict(error=problem), 403)
        await answer(scope, receive, send_guarded)

    def _problem(self, request: Request) -> str | None:
        host = request.headers.get('host', '')
        if not is_own_host(host, self.names):
            return (f'this server is not called {host_of(host)}; '
                    '--allow-host lets it be')
        origin = request.headers.get('origin')
        if origin and origin.partition('://')[2] != host:
            return 'another site may not ask'
        return None


class Desk:
    """Takes photos in, one after the other."""

    def __init__(self, predictor: Predictor, limits: Limits,
                 tell: Callable[[Result | str], None]):
        self.predictor, self.limits, self.tell = predictor, limits, tell
        self._inside = 0
        self._turn = asyncio.Lock()
        # Of one thread: OpenMP starts its own for each that computes.
        self._pool = ThreadPoolExecutor(1)

    async def predict(self, request: Request) -> Response:
        """Answer with what is in a photo."""
        if self._inside >= self.limits.waiting:
            raise HTTPException(503, 'too many photos at once: try again',
                                {'Retry-After': '1'})
        self._inside += 1
        try:
            content = await self._received(request)
            async with self._turn:
                # Whoever has left need not be served.
                if await request.is_disconnected():
                    return Response(status_code=204)
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._answer, content)
        except ClientDisconnect:
            return Response(status_code=204)
        finally:
            self._inside -= 1

    async def _received(self, request: Request) -> bytes:
        """The body, unless it is too large or comes too slowly."""
        largest = self.limits.body
        told = request.headers.get('content-length', '0')
        content = bytearray()
        try:
            with anyio.fail_after(self.limits.seconds):
                if told.isdigit() and int(told) <= largest:
                    async for part in request.stream():
                        content += part
                        if len(content) > largest:
                            break
                    else:
                        return bytes(content)
        except TimeoutError:
            raise HTTPException(408, 'the photo came too slowly') from None
        raise HTTPException(413, 'the file is too large: '
                            f'{self.limits.megabytes:g} MB are the limit')

    def _answer(self, content: bytes) -> Response:
        try:
            result = self._result(content)
            self.tell(result)
            return JSONResponse(response_data(result))
        except UserError as error:
            return self._failed(422, str(error))
        # The next photo may be served all the same.
        except Exception as error:
            return self._failed(500, f'{type(error).__name__}: '
                                f'{first_line(error)}')

    def _result(self, content: bytes) -> Result:
        check_image(content, self.limits)
        answer, = self.predictor.stream([content], ['you sent'])
        if answer.result is None:
            raise answer.error or UserError('nothing was predicted')
        return answer.result

    def _failed(self, status: int, problem: str) -> Response:
        problem = printable(problem, limit=LONGEST_MESSAGE)
        self.tell(problem)
        return JSONResponse(dict(error=problem), status)
