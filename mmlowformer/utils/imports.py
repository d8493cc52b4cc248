"""Packages that not every use needs."""
import importlib
from types import ModuleType

from ..errors import UserError


def need(module: str, packages: str) -> ModuleType:
    """Import a module that an installation may lack."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'{module} is missing: pip install {packages}') \
            from error
