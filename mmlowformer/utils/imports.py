"""Lazy imports, optional packages, and the versions in ``requirements/``."""
import importlib
import importlib.util
import pkgutil
import re
import sys
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


def provide_find_loader() -> None:
    """Define what MMEngine and mmcv call and Python 3.14 removed."""
    def find_loader(fullname: str) -> Any:
        return getattr(importlib.util.find_spec(fullname), 'loader', None)

    if not hasattr(pkgutil, 'find_loader'):
        pkgutil.find_loader = find_loader


def fits_python(condition: str) -> bool:
    """Whether this Python is one of, for example, ``>=3.10,<3.15``."""
    bounds = re.findall(r'(<|>=)\s*"?3\.(\d+)', condition)
    return all((sys.version_info[:2] < (3, int(minor))) == (sign == '<')
               for sign, minor in bounds)


def pinned(*distributions: str) -> str:
    """Arguments of ``pip install``, with the versions of ``requirements/``."""
    lines = (_requirements().get(name) or name for name in distributions)
    return ' '.join(f'"{line}"' if '<' in line else line for line in lines)


def without_wheel(*distributions: str) -> list[str]:
    """Those that ``requirements/`` names for another Python only."""
    return [name for name in distributions
            if not _requirements().get(name, name)]


@cache
def _requirements() -> dict[str, str]:
    files = sorted(shipped_folder('requirements').glob('*.txt'),
                   key=lambda file: file.name != 'constraints.txt')
    found: dict[str, str] = {}
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            if name := re.match(r'[\w.-]+', line):
                requirement, _, condition = line.partition(';')
                if not fits_python(condition):
                    requirement = ''
                found[name.group()] = (found.get(name.group())
                                       or requirement.strip())
    return found
