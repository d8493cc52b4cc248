"""Track one object (SOT), or all objects (MOT), through a video."""
from importlib import import_module

_MODULES = dict(
    tracker='LowFormerTracker SOTState',
    predict_sot='BOXES Frames SOTResult draw_box open_frames parse_box '
                'require_tracker track_object',
    predict_mot='MOTResult MultiObjectTracker TRACKS track_objects')
_HOMES = {name: module for module, names in _MODULES.items()
          for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_HOMES[name]}', __name__), name)
