"""Hooks of MMEngine's Runner."""
from typing import Any

from mmengine.hooks import Hook


class SwitchableHook(Hook):
    """A hook that ``enabled=False`` in a config switches off.

    MMEngine's ``default_hooks`` takes None for its own hooks only.
    """

    def __new__(cls, *args: Any, enabled: bool = True, **kwargs: Any):
        """Create the hook, or one that does nothing."""
        return super().__new__(cls if enabled else Hook)

    def __init__(self, enabled: bool = True):
        super().__init__()
