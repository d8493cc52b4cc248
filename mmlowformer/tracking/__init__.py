"""Track one object (SOT), or all objects (MOT), through a video."""
from importlib import import_module

_MODULES = dict(
    LowFormerTracker='tracker', SOTState='tracker',
    SOTResult='predict_sot', track_object='predict_sot',
    MOTResult='predict_mot', MultiObjectTracker='predict_mot',
    track_objects='predict_mot')

__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_MODULES[name]}', __name__), name)
