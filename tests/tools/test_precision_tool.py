"""The tool, run as users run it."""
import re

import pytest
import timm
import torch

from mmlowformer import LowFormer
from mmlowformer.analysis import precision

from ..helpers import ROOT, run_program

TOOL = ROOT / 'tools' / 'precision.py'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp('weights') / 'b0.pth'
    torch.manual_seed(0)
    torch.save(timm.create_model('lowformer_b0', num_classes=4).state_dict(),
               file)
    return file


@pytest.fixture(scope='module')
def options(shapes):
    return ['--cfg-options', f'data_root={shapes}/folders/',
            'test_dataloader.batch_size=2']


def tables_of(output):
    """Rows of the printed tables, by title and by first word."""
    tables = {}
    for text in output.split('\n\n')[1:]:
        title, *rows = text.splitlines()
        tables[title] = {row.split()[0]: row.split()[1:] for row in rows}
    return tables


def test_errors_and_metrics(weights, options, tmp_path):
    """The stem and stage 1 are kept in float32."""
    result = run_program(
        TOOL, 'lowformer_b0_shapes', weights, '--images', 3, '--metrics',
        '--float32', r'^stem|stages\.0', *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    tables = tables_of(result.stdout)
    bf16, fp16 = (next(rows for title, rows in tables.items() if re.match(
        f'{dtype} on cpu .*, 2 images', title)) for dtype in ('bf16', 'fp16'))
    names = list(precision.named_blocks(LowFormer('b0')))
    for rows in (bf16, fp16):
        assert rows.pop('block') == ['largest', 'accumulated', 'alone']
        assert list(rows) == names
        assert [float(error) for name in ('stem.0', 'stages.0.0')
                for error in rows[name][1:]] == [0, 0, 0, 0]
    for name in names[2:]:
        assert bf16[name][0] == fp16[name][0]
        assert 0 < float(fp16[name][2]) < float(bf16[name][2]) < 0.1
    metrics = next(rows for title, rows in tables.items()
                   if title.split() == ['metric', 'float32', 'bf16', 'fp16'])
    assert len(metrics['accuracy/top1']) == 3
    assert (tmp_path / 'work_dirs' / 'lowformer_b0_shapes' / 'precision'
            ).is_dir()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--images', '0'], '--images: has to be at least 1, not 0'),
    (['--launcher', 'pytorch'], 'omit --launcher'),
])
def test_errors_are_one_line(weights, options, error_here, tmp_path, arguments,
                             message):
    output = error_here(TOOL, 'lowformer_b0_shapes', weights, *arguments,
                        *options, cwd=tmp_path)
    assert message in output.splitlines()[-1]
    assert not list(tmp_path.iterdir())
