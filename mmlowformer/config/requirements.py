"""Packages that a config needs."""
import importlib.util

from mmengine.config import Config

from ..errors import UserError
from ..utils.imports import pinned
from .loading import dicts_in, kind_of

INSTALL = dict(mmdet='mmdet', mmseg='mmsegmentation', mmpretrain='mmpretrain')
# Classes of MMDetection, and the modules they cannot be built without.
NEEDS: dict[str, tuple[str, ...]] = dict(
    ByteTracker=('lap', ), ClassAgnosticByteTracker=('lap', ),
    OCSORTTracker=('lap', 'motmetrics'),
    SORTTracker=('motmetrics', ), StrongSORTTracker=('motmetrics', ),
    MOTChallengeMetric=('trackeval', ))


def require_scope(cfg: Config) -> str:
    """The library that a config is for."""
    scope = cfg.get('default_scope')
    if not scope:
        raise UserError('the config has no default_scope, so it is not clear '
                        "which library it is for; add default_scope='mmdet'")
    if not _is_installed(scope):
        raise UserError(f'the config is for {scope}, which is not installed: '
                        f'pip install {INSTALL.get(scope, scope)}')
    return scope


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    # Of "a.b", a is imported; "a..b" is no name.
    except (ImportError, ValueError):
        return False


def require_packages(cfg: Config | dict) -> None:
    """Make sure that a config's tracker and metric can be built."""
    needed = {module for _, part in dicts_in(cfg)
              for module in NEEDS.get(kind_of(part), ())}
    missing = sorted(name for name in needed
                     if not _is_installed(name))
    if missing:
        # Without the bound on numpy, TrackEval would install a newer one.
        raise UserError(
            f'multi-object tracking needs {" and ".join(missing)}, which '
            f'{"is" if len(missing) == 1 else "are"} not installed: '
            f'pip install {pinned(*missing, "numpy")}')
