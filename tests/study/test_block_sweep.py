"""Where fused blocks are faster, and which places of a grid are measured."""
import pytest

from mmlowformer.study import block_sweep as layers
from mmlowformer.study.block_types import common_work


def study(rates):
    """Rates of fused and unfused blocks by their channels."""
    return dict(cells=[dict(
        key=dict(channels=channels, size=14, batch_size=1),
        rows=[dict(block_type=name, failure=None, gmacs_per_second=rate)
              for name, rate in zip((layers.FUSED, layers.UNFUSED), pair)])
        for channels, pair in rates.items()])


@pytest.mark.parametrize(('rates', 'below', 'advice'), [
    ({32: (17, 5), 128: (27, 17), 512: (8, 16)}, 512,
     'fuse below 512 channels (3.40 at 32, 1.59 at 128, 0.50 at 512)'),
    ({32: (17, 5), 64: (34, 15)}, None, 'fuse, up to 64 channels at least'),
    ({64: (5, 17)}, 64, 'do not fuse, from 64 channels on'),
])
def test_fuse_below(rates, below, advice):
    gain, = layers.fusion_gains(study(rates))
    assert gain.below == below
    assert gain.advice.startswith(f'14x14, batch size 1: {advice}')


def test_a_block_that_failed_is_not_compared():
    content = study({32: (17, 5)})
    content['cells'][0]['rows'][0]['failure'] = 'out of memory'
    assert layers.fusion_gains(content) == []


def test_large_places_are_left_out():
    grid = layers.Grid(channels=(32, 64), sizes=(7, 14), batch_sizes=(1, 8),
                       max_macs=common_work(64, 14))
    assert grid.points == [(1, 32, 7), (1, 64, 7), (1, 32, 14), (1, 64, 14),
                           (8, 32, 7)]
