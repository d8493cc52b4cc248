"""Packages that MMDetection's multi-object trackers need."""
import importlib.util

from mmengine.config import Config

from ..errors import UserError
from ..utils.imports import pinned
from .loading import dicts_in, kind_of

# Classes of MMDetection, and the modules they cannot be built without.
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
        # Without the bound on numpy, TrackEval would install a newer one.
        raise UserError(
            f'multi-object tracking needs {" and ".join(missing)}, which '
            f'{"is" if len(missing) == 1 else "are"} not installed: '
            f'pip install {pinned(*missing, "numpy")}')
