"""A web page that shows the predictions of a model for an image."""
from typing import TYPE_CHECKING

from ..utils.imports import need
from .limits import Limits

if TYPE_CHECKING:
    from .server import listen, serve

__all__ = ['Limits', 'listen', 'serve']


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    for module in ('starlette', 'uvicorn'):
        need(module, 'starlette uvicorn')
    from . import server
    return getattr(server, name)
