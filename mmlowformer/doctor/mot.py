"""Checks of what trackers of many objects need."""
from collections.abc import Iterator

from ..config.mot_versions import VERSIONS, install_command
from .facts import Facts
from .results import Result, missing, ok


def check_packages(facts: Facts) -> Iterator[Result]:
    """What MMDetection's trackers and their measures are built with."""
    lacking = [name for name in VERSIONS if name not in facts.versions]
    if lacking:
        yield missing('many objects', 'tracking many objects needs '
                      f'{" and ".join(lacking)}', install_command(lacking),
                      f'not without {", ".join(lacking)}')
    else:
        yield ok('many objects', ', '.join(VERSIONS) + ' are there')
