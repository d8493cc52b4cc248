"""Boxes drawn with the mouse."""
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mmlowformer.errors import UserError
from mmlowformer.tracking import predict_sot

FRAME = np.zeros((40, 60, 3), np.uint8)


@pytest.mark.skipif(sys.platform != 'linux', reason='Windows and macOS have '
                    'displays that no variable takes away')
def test_without_a_display(monkeypatch):
    """Qt ends the process that opens a window."""
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match='--box window needs a display'):
        predict_sot.draw_box(FRAME)


@pytest.fixture
def drawn(monkeypatch):
    """Let somebody draw this box."""
    def draw(*box):
        monkeypatch.setattr(predict_sot.subprocess, 'run', lambda *args,
                            **kwargs: SimpleNamespace(returncode=0))
        monkeypatch.setattr(predict_sot.cv2, 'selectROI', lambda *args: box)
        monkeypatch.setattr(predict_sot.cv2, 'destroyAllWindows', lambda: None)

    return draw


def test_what_was_drawn(drawn):
    drawn(3, 4, 10, 20)
    assert predict_sot.draw_box(FRAME) == [3., 4., 10., 20.]


def test_nothing_was_drawn(drawn):
    drawn(0, 0, 0, 0)
    with pytest.raises(UserError, match='no box was drawn'):
        predict_sot.draw_box(FRAME)
