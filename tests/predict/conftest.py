"""Shared predictor."""
import pytest

from mmlowformer import Predictor


@pytest.fixture(scope='session')
def find_boxes(detector):
    return Predictor(detector, score_thr=0., device='cpu')
