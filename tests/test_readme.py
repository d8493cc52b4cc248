"""What the README shows works. Its table: tests/tools/test_model_zoo.py."""
import re

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmlowformer import LowFormer, get_config

from .helpers import ROOT

README = (ROOT / 'README.md').read_text(encoding='utf-8')
CONFIG, SCRIPT = re.findall(r'executed by .*?```python\n(.*?)```', README,
                            re.S)


def test_ten_lines_for_ones_own_config():
    assert len(CONFIG.splitlines()) <= 10
    cfg = Config(dict(model=ConfigDict(
        get_config('retinanet_lowformer_b3_coco').model.to_dict())))
    cfg.merge_from_dict(Config.fromstring(CONFIG, '.py').to_dict())
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    assert isinstance(model.backbone, LowFormer)
    outputs = model.extract_feat(torch.rand(1, 3, 64, 64))
    assert [output.shape[-1] for output in outputs] == [8, 4, 2, 1, 1]


def test_python_prints_what_it_says(capsys):
    names = {}
    exec(SCRIPT, names)
    printed = re.search(r'# (.*)', SCRIPT).group(1)
    assert capsys.readouterr().out == f'{printed}\n'
    assert names['cfg'].model.backbone.arch == 'b1'


def test_files_and_sections_that_the_readme_links_exist():
    for path in re.findall(r'(?:tools|tests|docs)/[\w./]+\w', README):
        assert (ROOT / path).exists(), path
    for path, section in re.findall(r'\]\(([\w./]+)(?:#([\w-]+))?\)', README):
        assert (ROOT / path).exists(), path
        if section:
            headings = re.findall(r'^#+ (.*)$', (ROOT / path).read_text(
                encoding='utf-8'), re.M)
            assert section in [heading.lower().replace(' ', '-')
                               for heading in headings], f'{path}#{section}'


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200
    assert README.count('![') == 1
    for table in re.findall(r'(?:^\|.*\n)+', README, re.M):
        assert len(table.splitlines()) <= 2 + 8
