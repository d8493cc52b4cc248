"""Packages that not every use needs."""
import importlib
from types import ModuleType

from ..errors import UserError


def need(module: str, packages: str) -> ModuleType:
    """Import a module that an installation may lack.

    Args:
        module (str): Its name.
        packages (str): The distributions that provide it.

    Returns:
        ModuleType: The module.

    Raises:
        UserError: If it is missing; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'{module} is missing: pip install {packages}') \
            from error
