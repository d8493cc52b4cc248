"""Exporting models to other formats, with a numerical verification."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporter import export

__all__ = ['export']


def __getattr__(name: str):
    # The doctor imports this package without torch.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from .exporter import export
    return export
