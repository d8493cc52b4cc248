"""What the README says is computed anew."""
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from mmlowformer import LowFormer, get_config

from .conftest import ROOT

README = (ROOT / 'README.md').read_text(encoding='utf-8')
ROWS = re.findall(r'^\| `(\w+)`.*$', README, re.M)


def macs(model, size):
    with torch.device('meta'), torch.no_grad(), \
            FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size))
    return counter.get_total_flops() / 2e6


def test_all_variants_are_in_the_table():
    assert list(LowFormer.arch_settings) == ROWS


@pytest.mark.parametrize('arch', ROWS)
def test_variants_table(arch):
    row = re.search(rf'^\| `{arch}`.*$', README, re.M).group()
    cells = [cell.strip() for cell in row.split('|')[2:-2]]
    with torch.device('meta'):
        model = LowFormer(arch).eval()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    assert cells == [f'{parameters:.2f}', f'{macs(model, 224):.0f}',
                     f'{macs(model, 512):.0f}',
                     ', '.join(map(str, model.out_channels))]


def test_ten_lines_for_ones_own_config():
    snippet = re.search(r'executed by .*?```python\n(.*?)```', README,
                        re.S).group(1)
    assert len(snippet.splitlines()) <= 10
    cfg = Config(dict(model=ConfigDict(
        get_config('retinanet_lowformer_b3_coco').model.to_dict())))
    cfg.merge_from_dict(Config.fromstring(snippet, '.py').to_dict())
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    assert isinstance(model.backbone, LowFormer)
    outputs = model.extract_feat(torch.rand(1, 3, 64, 64))
    assert [output.shape[-1] for output in outputs] == [8, 4, 2, 1, 1]


def test_files_named_in_the_readme_exist():
    for path in re.findall(r'(?:tools|tests|docs)/[\w./]+\w', README):
        assert (ROOT / path).exists(), path
