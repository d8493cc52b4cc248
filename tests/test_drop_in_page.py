"""The tables of docs/drop_in.md, and its snippets without a model."""
import re

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmlowformer import LowFormer

from .drop_in import (
    LINES,
    PAGE,
    SIZES,
    SNIPPETS,
    TOP,
    base_named,
    items,
    named,
    user_config,
)

pytestmark = pytest.mark.no_cover


def test_page_is_read_completely():
    others = 4  # The first example, printing channels and configs, classes
    snippets = [lines for _, lines in LINES.findall(PAGE) if lines]
    assert PAGE.count('```python') == others + len(snippets)
    assert {library for library, _ in SNIPPETS} == set(SIZES)


def test_first_example():
    base = re.search(r"'/path/to/mmdet/configs/(.*?)'", PAGE).group(1)
    assert SNIPPETS['mmdet', base] == TOP


def test_table_of_models():
    """Each model in the table has lines in its section, and the reverse."""
    table = re.search(r'^## What fits\n(.*?)^## ', PAGE, re.M | re.S).group(1)
    listed = [re.sub(r' \(.*?\)', '', row) for row in
              re.findall(r'^\| ([A-Z].*?) \| [\d–]', table, re.M)]
    names = {name.strip() for row in listed for name in row.split(',')}
    explained = {name.strip() for names in
                 re.findall(r'^\*\*([A-Z][^*]+)\*\*:\s', PAGE, re.M)
                 for name in names.split(',')}
    assert names - explained == {'Faster', 'Mask and Cascade R-CNN', 'OC-SORT'}
    assert explained - names == {'Mask R-CNN', 'Cascade R-CNN'}


def test_table_of_channels():
    rows = re.findall(r'^\| (`\w+`.*) \| (\d+, [\d, ]+) \|$', PAGE, re.M)
    with torch.device('meta'):
        assert {arch: channels for names, channels in rows
                for arch in re.findall(r'\w+', names)} == {
            arch: ', '.join(map(str, LowFormer(arch).out_channels))
            for arch in LowFormer.arch_settings}


def test_channels_can_be_printed(capsys):
    code = re.search(r'```python\n(from mmlowformer .*?)```', PAGE, re.S)
    exec(code.group(1))
    assert capsys.readouterr().out == '(96, 192, 384)\n'


def test_parts_of_a_config_can_be_printed(tmp_path, capsys):
    user_config(tmp_path, base_named('mmseg/upernet'))
    code = re.search(r'```python\n(from mmengine.*?)```', PAGE, re.S).group(1)
    exec(code.replace('/path/to/its_base.py', str(tmp_path / 'my_config.py')))
    output = capsys.readouterr().out
    assert "'in_channels': [32, 64, 128, 256]" in output
    assert "'in_index': [0, 1, 2, 3]" in output


@named(SNIPPETS)
def test_base_batch_size(base, tmp_path):
    numbers = re.search(r'_(\d+)xb(\d+)', base[1])
    gpus, images = map(int, numbers.groups()) if numbers else (8, 2)
    cfg = user_config(tmp_path, base)
    if 'auto_scale_lr' not in cfg:
        assert cfg.default_scope == 'mmseg' or cfg.model.type == 'SoftTeacher'
        line = re.search(r'`(auto_scale_lr = .*)` for that', PAGE).group(1)
        cfg.merge_from_dict(Config.fromstring(line, '.py').to_dict())
        assert cfg.optim_wrapper.optimizer.lr <= 1e-4
        gpus, images = 4, 4
    assert cfg.auto_scale_lr.base_batch_size == gpus * images


@named([base for base in SNIPPETS if base[0] != 'mmpretrain'])
def test_number_of_classes(base, tmp_path):
    library, path = base
    row = re.search(rf'^\| {library}: .*`{path.split("/")[0]}`.* \| '
                    r'(`model\..*) \|$', PAGE, re.M)
    keys = re.findall('`(.+?)`', row.group(1))
    cfg = user_config(tmp_path, base)
    cfg.merge_from_dict(dict.fromkeys(keys, 2))
    numbers = {path: value for path, value in items(cfg.model).items() if
               path.endswith(('.num_classes', '.num_things_classes'))}
    assert numbers == dict.fromkeys(keys, 2)


def test_own_data_for_segmentation(tmp_path):
    base = base_named('mmseg/upernet')
    code = re.search(r'```python\n(mine = .*?)```', PAGE, re.S).group(1)
    # Stripes, so that each crop of the pipeline has all values.
    mask = np.array([0, 1, 255], np.uint8)[np.indices((30, 30)).sum(0) % 3]
    for part in ('training', 'validation'):
        mmcv.imwrite(mask, str(tmp_path / 'annotations' / part / 'a.png'))
        mmcv.imwrite(mask, str(tmp_path / 'images' / part / 'a.jpg'))
    line = SNIPPETS[base].splitlines(keepends=True)[-1]
    cfg = user_config(tmp_path, base, line,
                      line + code.replace('data/mine', str(tmp_path)))
    init_default_scope(cfg.default_scope)
    for dataloader in (cfg.train_dataloader, cfg.test_dataloader):
        assert dataloader.dataset.data_root == str(tmp_path)
        dataset = DATASETS.build(dataloader.dataset)
        assert dataset.metainfo['classes'] == ('road', 'grass')
        labels = dataset[0]['data_samples'].gt_sem_seg.data
        assert set(labels.unique().tolist()) == {0, 1, 255}
