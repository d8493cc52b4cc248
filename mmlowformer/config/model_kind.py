"""The kind of model in a config."""

from mmengine.config import Config

from .loading import kind_of


def follows_many(cfg: Config) -> bool:
    """Whether the model of a config tracks several objects (MOT)."""
    model = cfg.get('model') or {}
    return bool(model.get('tracker') or model.get('track_head'))


def is_tracker(cfg: Config) -> bool:
    """Whether a config is of a model that follows one object."""
    return kind_of(cfg.model) == 'LowFormerTracker'
