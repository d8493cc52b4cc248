"""tools/benchmark_start.py, on data that are small enough."""
import re

import pytest
from benchmark_start import make_boxes, make_masks, write_config
from mmengine.config import Config

from mmlowformer import engine

from ..helpers import ROOT

TOOL = ROOT / 'tools/benchmark_start.py'


@pytest.mark.parametrize('make', [make_boxes, make_masks])
def test_the_data_pass_the_checks(make, tmp_path):
    config = write_config(make(tmp_path, dict(train=20, val=2)), tmp_path)
    cfg = Config.fromfile(config)
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader'])
    assert not [hook for hook in cfg.default_hooks.values()
                if hook.type.startswith('mmlowformer.')]


@pytest.mark.slow
def test_starts_are_compared(run_here, tmp_path):
    result = run_here(TOOL, '--images', 10, '--repeats', 1, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    ratios = re.findall(r'CPU seconds +([\d.]+) x +\d+ MiB', result.stdout)
    assert len(ratios) == 3
    assert float(ratios[0]) == 1
    assert not list(tmp_path.iterdir())


def test_one_line_for_mistakes(error_here, tmp_path):
    for option in ('--images', '--repeats'):
        assert f'{option}: has to be' in error_here(TOOL, option, 0,
                                                    cwd=tmp_path)
