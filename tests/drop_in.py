"""The snippets of docs/drop_in.md, applied to the libraries' configs."""
import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest

from mmlowformer import engine

from .helpers import ROOT

PAGE = (ROOT / 'docs' / 'drop_in.md').read_text(encoding='utf-8')
SIZES = dict(mmdet=64, mmseg=32, mmpretrain=64)
LIBRARIES = dict(mmsegmentation='mmseg')
TOP = re.search(r"_base_ = \[.*?\]\n(.*?)```", PAGE, re.S).group(1)
# Names of models, their base configs, and the lines that go below `_base_`.
LINES = re.compile(r'^\*\*[^*]+\*\*:\s((?:`[^`]+`,?\s)+)\n'
                   r'(?:```python\n(.*?)```|Use the lines at the top)',
                   re.M | re.S)


def snippets(heading):
    """The library and the lines of each base config below a heading."""
    section = re.search(rf'^## {heading}\n(.*?)(?=^## )', PAGE, re.M | re.S)
    library = LIBRARIES.get(heading, heading.split()[0])
    return {base: (library, lines_of(base, lines or TOP))
            for bases, lines in LINES.findall(section.group(1))
            for base in re.findall('`(.+?)`', bases)}


def lines_of(base, lines):
    """DeepLabV3+ has a line of its own."""
    comment = '# c1_in_channels' if 'deeplabv3plus' in base else ''
    return lines.replace(comment, comment[2:]) if comment else lines


SNIPPETS = {(library, base): lines for heading in
            ('mmdet', 'mmsegmentation', 'mmpretrain')
            for base, (library, lines) in snippets(heading).items()}
OF_VIDEOS = {(library, base): lines for base, (library, lines) in
             snippets('mmdet for videos').items()}


def named(bases):
    """Parameters of a test: all base configs."""
    return pytest.mark.parametrize('base', bases, ids='/'.join)


def base_named(family):
    """The first base config in a folder, such as ``mmseg/swin``."""
    library, folder = family.split('/')
    return next(base for base in SNIPPETS
                if base[0] == library and base[1].startswith(f'{folder}/'))


def write_config(folder, base, old='', new=''):
    """Write the config of somebody who has changed ``old`` in a snippet."""
    library, path = base
    snippet = (SNIPPETS | OF_VIDEOS)[base]
    assert old in snippet
    file = folder / 'my_config.py'
    root = Path(import_module(library).__path__[0], '.mim', 'configs')
    file.write_text(f'_base_ = [{str(root / path)!r}]\n'
                    + snippet.replace(old, new))
    return file


def user_config(folder, base, old='', new=''):
    """That config, made smaller for images of a few pixels."""
    cfg = engine.load_config(argparse.Namespace(
        config=str(write_config(folder, base, old, new)), cfg_options={},
        launcher='none', work_dir=None, local_rank=0))
    if base[0] == 'mmseg':
        cfg.model.data_preprocessor.size = (SIZES['mmseg'], ) * 2
    return on_cpu(smaller(cfg))


# What a model computes on an image, and how often.
AMOUNTS = dict(
    num_queries=50, num_dn_queries=10, num_points=64, max_per_img=50,
    max_per_image=20, nms_pre=50, num=50, num_layers=1, queue_len=64)
SIDES = ('size', 'random_size_range')


def smaller(cfg):
    """Few proposals, queries and layers, and small images."""
    cfg.merge_from_dict({
        setting: min(value, AMOUNTS[name])
        for setting, value in items(cfg.model).items()
        if (name := setting.rsplit('.', 1)[-1]) in AMOUNTS})
    for step in cfg.model.get('data_preprocessor', {}).get(
            'batch_augments') or ():
        step.update({name: (64, 64) for name in SIDES if name in step})
    return cfg


def on_cpu(cfg):
    """Without automatic mixed precision, which needs a GPU."""
    cfg.optim_wrapper.type = 'OptimWrapper'
    cfg.optim_wrapper.pop('loss_scale', None)
    return cfg


def items(node, path='model'):
    """All settings below a part of a config, with the path to each."""
    if not isinstance(node, (dict, list)):
        return {path: node}
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    return {key: value for name, child in pairs
            for key, value in items(child, f'{path}.{name}').items()}
