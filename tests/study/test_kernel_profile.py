"""Kernels that hold parts of layers, layers, and several."""
import pytest

from mmlowformer.errors import UserError
from mmlowformer.study.kernel_profile import (
    Kernel,
    blocks_of,
    enclosing,
    rows_of,
)

NAMES = ('', 'stem', 'stem.0', 'stages.2', 'stages.2.1', 'stages.2.1.mlp',
         'stages.2.1.mlp.branch', 'stages.2.1.mlp.branch.0')


@pytest.mark.parametrize(('path', 'name'), [
    ((), ''),
    (('stem', 'stem.0'), 'stem.0'),
    (('stages.2', 'stages.2.1', 'mlp', 'branch', 'branch.0'),
     'stages.2.1.mlp.branch.0'),
    # A list of layers that is not called itself, and a function.
    (('stages', 'stages.2', 'stages.2.1', 'gelu'), 'stages.2.1'),
])
def test_layer_of_an_exporters_path(path, name):
    assert enclosing(NAMES, path) == name


def times(kind, layers=(), multiplies=False, seconds=(1., 1., 1.)):
    return Kernel(kind, tuple(layers), multiplies, list(seconds))


def rows(kernels, macs, batch_size=1):
    found = rows_of(kernels, macs, lambda name: (f'kind of {name}', 10),
                    batch_size)
    return {row.pop('name'): row for row in found}


def test_kernels_of_a_layer_are_one_row():
    found = rows([times('Conv', ['a'], True, (1., 2., 9.)),
                  times('Softmax', ['b'], seconds=(1., 5., 1.)),
                  times('MatMul', ['b'], True, (2., 2., 2.))],
                 dict(a=3, b=4), batch_size=2)
    assert found == dict(
        a=dict(kind='kind of a', macs=6, bytes=10, milliseconds=2000.),
        # The median of the sums, not the sum of medians.
        b=dict(kind='kind of b', macs=8, bytes=10, milliseconds=3000.))


def test_layers_whose_multiplications_share_a_kernel_are_one_block():
    kernels = [times('Conv', ['x.a'], True),
               times('Two', ['x.a', 'x.b'], True), times('Add', ['x.b']),
               times('Conv', ['y'], True),
               times('Three', ['x.b', 'z.c'], True)]
    assert blocks_of(kernels) == {
        **dict.fromkeys(('x.a', 'x.b', 'z.c'), ('x.a', 'x.b', 'z.c')),
        'y': ('y', )}
    found = rows(kernels, {'x.a': 1, 'x.b': 2, 'z.c': 4, 'y': 8})
    assert list(found) == ['x.a + x.b + z.c', 'y']
    assert found['x.a + x.b + z.c'] == dict(
        kind='kind of x.a + kind of x.b + kind of z.c', macs=7, bytes=30,
        milliseconds=4000.)


def test_what_only_joins_layers_is_a_row_of_its_own():
    found = rows([times('Conv', ['s.a'], True),
                  times('fused', ['s.a', 's.norm']),
                  times('Reorder'), times('Reorder')], {'s.a': 5})
    assert {name: row['macs'] for name, row in found.items()} == {
        's.a': 5, 's a + norm': 0, '(Reorder)': 0}
    assert found['(Reorder)'] == dict(kind='Reorder', macs=0, bytes=0,
                                      milliseconds=2000.)


def test_work_that_an_outer_layer_took_over():
    found = rows([times('Conv', ['block'], True)],
                 {'block.one': 3, 'block.two': 4})
    assert found['block']['macs'] == 7


def test_work_in_no_kernel():
    """As of an attention that a runtime fused under a name of its own."""
    with pytest.raises(UserError, match="which kernels compute 'block.one'"):
        rows([times('Conv', ['stem'], True), times('Add', ['block']),
              times('Attention', (), True)], {'stem': 1, 'block.one': 3})
