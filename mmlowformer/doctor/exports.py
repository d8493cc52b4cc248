"""Checks of what models can be exported to."""
from collections.abc import Iterator

from ..export.requirements import (
    INT8_PACKAGES,
    NOT_RUNNABLE,
    PACKAGES,
    TORCH_VERSIONS,
)
from .facts import Facts
from .results import Result, missing, ok, warning
from .stack import release


def check_formats(facts: Facts) -> Iterator[Result]:
    """The formats that tools/export.py can write, and verify, here."""
    for name, needs in PACKAGES.items():
        yield _format(name, [pin for _, pin in needs], facts)
    for name, needs in INT8_PACKAGES.items():
        yield _format(f'{name}, 8 bits', [pin for _, pin in needs], facts)


def _format(name: str, pins: list[str], facts: Facts) -> Result:
    found = {pin: facts.versions.get(pin.split('==')[0]) for pin in pins}
    lacking = [pin for pin, version in found.items() if version is None]
    if lacking:
        module = lacking[0].split('==')[0]
        return missing(name, f'export.py: error: --format needs {module}',
                       f'pip install {" ".join(lacking)}',
                       f'not without {", ".join(lacking)}')
    others = [pin for pin, version in found.items()
              if not pin.endswith(f'=={version}')]
    if others:
        return warning(name, 'tried with other versions only: '
                       f'{", ".join(others)}', 'an export that fails',
                       f'pip install {" ".join(others)}')
    if (pin := TORCH_VERSIONS.get(name)) and not _of_the_same_minor(
            pin, facts.versions.get('torch')):
        return warning(name, f'made for {pin}', 'the runtime fails',
                       f'pip install {pin}')
    what = ('can be converted, not verified' if name in NOT_RUNNABLE else
            'can be exported and verified')
    return ok(name, what)


def _of_the_same_minor(pin: str, version: str | None) -> bool:
    return release(pin.split('==')[1])[:2] == release(version)[:2]
