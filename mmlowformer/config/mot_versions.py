"""What trackers of many objects are tested with; nothing is imported here.

Versions are those of ``requirements/mot.txt``, which an installed package
lacks.
"""
from collections.abc import Iterable

VERSIONS = dict(lap='lap==0.5.13', motmetrics='motmetrics==1.4.0',
                trackeval='trackeval==1.3.0')
# TrackEval wants a newer numpy than this project is tested with, and
# MMPreTrain an older one than the newest.
NUMPY = '"numpy<2.4"'


def install_command(modules: Iterable[str]) -> str:
    """How to install modules."""
    return ' '.join(['pip install', *(VERSIONS[name] for name in modules),
                     NUMPY])
