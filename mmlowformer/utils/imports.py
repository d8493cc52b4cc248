"""Lazy imports, optional packages, and the versions in ``requirements/``."""
import importlib
import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller's caller of an old name."""
    # Python does not show users a DeprecationWarning.
    warnings.warn(f'{old} is called {new} now; the old name works until the '
                  'next release', FutureWarning, stacklevel=3)


def lazy_names(package: str, modules: dict[str, str] | None = None,
               **renamed: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which imports other modules on first use.

    ``modules`` has the names of each module, ``renamed`` has old names; new
    ones that no module has are the module's own.
    """
    homes = dict.fromkeys(renamed.values(), package)
    homes.update((name, module) for module, names in (modules or {}).items()
                 for name in names.split())

    def __getattr__(name: str) -> Any:
        if name in renamed:
            warn_renamed(f'{package}.{name}', renamed[name])
            name = renamed[name]
        if name not in homes:
            raise AttributeError(
                f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(homes[name], package), name)

    return __getattr__


def need(module: str, packages: str) -> ModuleType:
    """Import a module that may not be installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'{module} is missing: pip install {packages}') \
            from error


def shipped_folder(name: str) -> Path:
    """A folder of the checkout, or the one that a wheel installs."""
    installed = PACKAGE / '.mim' / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def pinned(*distributions: str) -> str:
    """Arguments of ``pip install``, with the versions of ``requirements/``."""
    lines = (_requirements().get(name, name) for name in distributions)
    return ' '.join(f'"{line}"' if '<' in line else line for line in lines)


@cache
def _requirements() -> dict[str, str]:
    files = sorted(shipped_folder('requirements').glob('*.txt'),
                   key=lambda file: file.name != 'constraints.txt')
    found: dict[str, str] = {}
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            if name := re.match(r'[\w.-]+', line):
                found.setdefault(name.group(), line.partition(';')[0].strip())
    return found
