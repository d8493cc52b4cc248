"""Import optional packages."""
import importlib
from types import ModuleType

from ..errors import UserError


def need(module: str, packages: str) -> ModuleType:
    """Import a module that may not be installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'{module} is missing: pip install {packages}') \
            from error
