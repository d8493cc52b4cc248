"""What the README shows works. Its table: tests/tools/test_model_zoo.py."""
import re

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmlowformer import LowFormer, get_config

from .helpers import ROOT

README = (ROOT / 'README.md').read_text(encoding='utf-8')


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
