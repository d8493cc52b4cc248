"""What MMDetection's trackers of many objects need beside it.

Versions are those of ``requirements/mot.txt``, which an installed package
lacks.
"""
import importlib.util

from mmengine.config import Config

from ..configs import dicts_in, kind_of
from ..errors import UserError

VERSIONS = dict(lap='lap==0.5.13', motmetrics='motmetrics==1.4.0',
                trackeval='trackeval==1.3.0')
# MMDetection's classes, and the modules that they refuse to be built without.
NEEDS: dict[str, tuple[str, ...]] = dict(
    ByteTracker=('lap', ), OCSORTTracker=('lap', 'motmetrics'),
    SORTTracker=('motmetrics', ), StrongSORTTracker=('motmetrics', ),
    MOTChallengeMetric=('trackeval', ))
# TrackEval wants a newer numpy than this project is tested with, and
# MMPreTrain an older one than the newest.
NUMPY = '"numpy<2.4"'


def missing_packages(cfg: Config | dict) -> list[str]:
    """Modules that a config needs for many objects, and that are not there.

    Args:
        cfg (Config | dict): The config, or a part of it.

    Returns:
        list[str]: Their names.
    """
    needed = {module for _, part in dicts_in(cfg)
              for module in NEEDS.get(kind_of(part), ())}
    return sorted(name for name in needed
                  if importlib.util.find_spec(name) is None)


def install_command(modules: list[str]) -> str:
    """How to install modules.

    Args:
        modules (list[str]): Their names.

    Returns:
        str: The command.
    """
    wanted = [VERSIONS[name] for name in modules]
    return ' '.join(['pip install', *wanted, NUMPY])


def require_packages(cfg: Config | dict) -> None:
    """Make sure that a config's tracker and metric can be built.

    Args:
        cfg (Config | dict): The config, or a part of it.

    Raises:
        UserError: If a package is missing; the message says how to install
            it.
    """
    missing = missing_packages(cfg)
    if missing:
        raise UserError(
            f'tracking many objects needs {" and ".join(missing)}, which '
            f'{"is" if len(missing) == 1 else "are"} not installed: '
            + install_command(missing))
