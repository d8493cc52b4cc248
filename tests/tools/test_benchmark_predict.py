"""tools/benchmark_predict.py, with a model that is small enough."""
import re

from ..helpers import ROOT

TOOL = ROOT / 'tools/benchmark_predict.py'
SMALL = ('retinanet_lowformer_b0_shapes', '--size', 64, '--images', 5,
         '--repeats', 1, '--device', 'cpu')


def test_rates_and_batches(run_here, tmp_path):
    result = run_here(TOOL, *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    # The last of five goes alone.
    assert 'images in each call: 1 to 2' in result.stdout
    rates = re.findall(r'([\d.]+) images/s', result.stdout)
    assert len(rates) == 2
    assert all(float(rate) > 0 for rate in rates)
    assert not list(tmp_path.iterdir())


def test_a_share_that_is_asked_for(error_here, tmp_path):
    said = error_here(TOOL, *SMALL, '--min-share', 10000, cwd=tmp_path)
    assert 'is less than 10000 %' in said


def test_one_line_for_mistakes(error_here, tmp_path):
    assert '--repeats: has to be' in error_here(TOOL, '--repeats', 0,
                                               cwd=tmp_path)
    assert 'config not found' in error_here(TOOL, 'retinanet_b99',
                                            cwd=tmp_path)
