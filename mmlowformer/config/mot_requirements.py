"""What MMDetection's trackers of many objects need beside it."""
import importlib.util

from mmengine.config import Config

from ..errors import UserError
from .loading import dicts_in, kind_of
from .mot_versions import install_command

# MMDetection's classes, and the modules that they refuse to be built without.
NEEDS: dict[str, tuple[str, ...]] = dict(
    ByteTracker=('lap', ), ClassAgnosticByteTracker=('lap', ),
    OCSORTTracker=('lap', 'motmetrics'),
    SORTTracker=('motmetrics', ), StrongSORTTracker=('motmetrics', ),
    MOTChallengeMetric=('trackeval', ))


def require_packages(cfg: Config | dict) -> None:
    """Make sure that a config's tracker and metric can be built."""
    needed = {module for _, part in dicts_in(cfg)
              for module in NEEDS.get(kind_of(part), ())}
    missing = sorted(name for name in needed
                     if importlib.util.find_spec(name) is None)
    if missing:
        raise UserError(
            f'tracking many objects needs {" and ".join(missing)}, which '
            f'{"is" if len(missing) == 1 else "are"} not installed: '
            + install_command(missing))
