"""Snippets in the docs run; those of drop_in.md have a test of their own."""
import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from mmlowformer import LowFormer, get_config
from mmlowformer.benchmark import paper_claims, report, scale
from mmlowformer.benchmark.record import as_json, read
from mmlowformer.models.ablations import ABLATIONS
from mmlowformer.registry import HOOKS, MODELS
from mmlowformer.study import tables

from . import commands
from .helpers import ROOT


def test_features_with_mmpretrain(run_forked):
    page = (ROOT / 'docs' / 'classification.md').read_text(encoding='utf-8')
    listed, features = re.findall(r'```python\n(.*?)```', page, re.S)
    assert listed.split('\n')[:2] == [
        'from mmpretrain import ModelHub, get_model', features.split('\n')[2]]
    result = run_forked(features + 'print(*(tuple(map_.shape) for map_ in '
                        'feature_maps), tuple(features.shape))', cwd=ROOT)
    # MMPreTrain logs to stdout, too.
    assert result.stdout.splitlines()[-1] == '(1, 256, 7, 7) (1, 1600)', \
        result.stderr


def test_networks_of_the_ablations_page():
    page = (ROOT / 'docs' / 'ablations.md').read_text(encoding='utf-8')
    named, own = re.findall(r'```python\n(.*?)```', page, re.S)
    names = dict(LowFormer=LowFormer)
    with torch.device('meta'):
        exec(named + own, names)
        backbone = MODELS.build(names['backbone'])
    assert backbone.out_channels == (48, 96, 192, 384)
    listed = re.findall(r'^(?:\d\.|-) \[?`(\w+)`', page, re.M)
    assert listed == list(ABLATIONS)


def test_snippet_of_the_start_page():
    page = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8')
    (snippet, ) = re.findall(r'```python\n(.*?)```', page, re.S)
    names = {}
    exec(snippet, names)
    assert names['backbone'].pop('_delete_')
    with torch.device('meta'):
        assert isinstance(MODELS.build(names['backbone']), LowFormer)


def test_the_training_page_lists_all_hooks():
    page = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
    section = re.search(r'^## Hooks\n(.*?)^## ', page, re.M | re.S).group(1)
    hooks = get_config('retinanet_lowformer_b0_coco').default_hooks
    own = {name: hook.type for name, hook in hooks.items()
           if hook.type.startswith('mmlowformer.')}
    assert re.findall(r'^- `(\w+)`', section, re.M) == list(own)
    snippet = re.search(r'```python\n(.*?)```', section, re.S).group(1)
    names = {}
    exec(snippet, names)
    for name, hook in names['default_hooks'].items():
        assert hook['type'] == own[name]
        HOOKS.build(hook)


def test_imports_of_the_api_page():
    page = (ROOT / 'docs' / 'api.md').read_text(encoding='utf-8')
    (snippet, ) = re.findall(r'```python\n(.*?)```', page, re.S)
    exec(snippet, {})


MARKDOWN = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]


BLOCK = re.compile(r'^ *```(.*?)\n(.*?)^ *```$', re.S | re.M)
SAVED_IN = re.compile(r'work_dirs/([\w-]+)/((?:epoch|iter)_\d+\.pth)')
# The work dirs of `make demo` and others.
DEMOS = {f'demo{kind}': config for kind, config in re.findall(
    r'^demo(-\w+)?: CONFIG := (\w+)', (ROOT / 'Makefile').read_text(), re.M)}


@pytest.mark.parametrize('page', MARKDOWN, ids=lambda page: page.stem)
def test_commands_of_the_page_work(page):
    """The tools read them, and the configs and checkpoints exist."""
    text = page.read_text(encoding='utf-8')
    runs = [(tool, commands.parse(tool, words))
            for language, block in BLOCK.findall(text) if language != 'python'
            for tool, words in commands.commands_in(block)]
    assert runs or not re.search(r'^ *(python )?tools/\w+\.\w+ ', text, re.M)
    cfgs = [(tool, args, commands.configured(args)) for tool, args in runs]
    for _, args, cfg in cfgs:
        name = Path(getattr(args, 'checkpoint', None) or '').name
        if cfg is not None and commands.SAVED.fullmatch(name):
            trained = [other for tool, its, other in cfgs
                       if tool == 'train'
                       and Path(its.config).stem == Path(args.config).stem]
            assert any(commands.saves(other, name)
                       for other in (cfg, *trained)), name
    for folder, name in SAVED_IN.findall(text):
        config = DEMOS.get(folder, folder)
        if commands.own_config(config):
            assert commands.saves(get_config(config), name), (folder, name)
    for config in re.findall(r'configs/\w+\.py', text):
        assert (ROOT / config).exists(), config


def test_files_named_in_the_docs_exist():
    for page in (ROOT / 'docs').glob('*.md'):
        text = page.read_text(encoding='utf-8')
        for path in re.findall(r'(?:tools|tests|docs)/[\w./]+\w\.\w+', text):
            assert (ROOT / path).exists(), f'{page.name}: {path}'
        for path in re.findall(r'\]\(([\w./]+)\)', text):
            file = page.parent / path
            assert file.exists() or file in PAGES, f'{page.name}: {path}'


PAGES = runpy.run_path(str(ROOT / 'docs' / 'measurement_pages.py'))[
    'measurement_pages']()
MAIN_PAGES = dict(benchmark='benchmark.md', study='beyond_macs.md')


def measurements(folder):
    """Parameters of a test: the JSON files of a folder."""
    files = sorted((ROOT / 'docs' / folder).glob('*.json'))
    assert files
    return pytest.mark.parametrize(
        'file', files, ids=[file.stem for file in files])


def main_page(folder):
    return (ROOT / 'docs' / MAIN_PAGES[folder]).read_text(encoding='utf-8')


@measurements('benchmark')
def test_pages_have_the_tables_of_the_measurements(file):
    page, main = PAGES[file.with_suffix('.md')], main_page('benchmark')
    record = read(str(file))
    for table in report.tables(record):
        assert table in page
    assert report.describe(record) in page
    assert f'](benchmark/{file.stem}.md)' in main
    assert f'--json docs/benchmark/{file.name}' in main


def test_the_measurements_at_scale_are_linked():
    for file in (ROOT / 'docs/scale').glob('*.json'):
        main = (ROOT / 'docs/scale_measured.md').read_text(encoding='utf-8')
        assert f'](scale/{file.stem}.md)' in main
        for table in scale.tables(read(str(file))):
            assert table in PAGES[file.with_suffix('.md')]


def test_the_page_about_scale_lists_all_cases():
    page = (ROOT / 'docs/scale_measured.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| (`.*?) \|', page, re.M)
    assert [name.strip('`') for row in rows for name in row.split(', ')] == \
        list(scale.CASES)


@measurements('study')
def test_pages_have_the_tables_of_the_studies(file):
    page, main = PAGES[file.with_suffix('.md')], main_page('study')
    content = json.loads(file.read_text(encoding='utf-8'))
    if 'study' in content:
        assert tables.as_markdown(content) in page
        assert f'--out docs/study/{file.stem}' in main
    elif 'claims' in content:
        rows = paper_claims.table_rows(content['claims'])
        assert report.markdown(paper_claims.HEADER, rows) in page
        assert f'--json docs/study/{file.name}' in main
    else:
        assert report.describe(read(str(file))) in page
        claims = re.sub(r'_(latency|throughput)_.*', '.md', file.stem)
        assert f']({file.stem}.md)' in PAGES[file.with_name(claims)]
        return
    assert f'](study/{file.stem}.md)' in main


@pytest.mark.parametrize(('page', 'heading', 'file'), [
    ('benchmark', '# ', 'benchmark/cpu_peers'),
    ('beyond_macs', '# ', 'study/layers_224_1thread'),
    ('training', '### Speed of', 'benchmark/cpu_train_detection')])
def test_a_table_is_part_of_a_measurement(page, heading, file):
    def cells(text):
        return [[cell.strip() for cell in line.strip('|').split('|')]
                for line in text.splitlines() if line.startswith('|')]

    text = (ROOT / 'docs' / f'{page}.md').read_text(encoding='utf-8')
    header, _, *rows = cells(re.search(
        rf'^{heading}.*?((?:^\|[^\n]*\n)+)', text, re.M | re.S)[1])
    full, _, *others = cells(PAGES[ROOT / 'docs' / f'{file}.md'])
    known = {row[0]: dict(zip(full, row)) for row in reversed(others)}
    assert 1 < len(rows) <= 8
    for row in rows:
        assert row == [known[row[0]][column] for column in header]


@pytest.mark.parametrize('file', PAGES, ids=lambda file: file.stem)
def test_measurements_are_as_the_tools_write_them(file):
    text = file.with_suffix('.json').read_text(encoding='utf-8')
    assert text == as_json(json.loads(text))


def test_pictures_of_studies_have_their_measurements():
    pictures = re.findall(r'\]\(study/(\w+)\.png\)', main_page('study'))
    assert pictures
    for picture in pictures:
        assert any(picture.startswith(file.stem) for file in PAGES), picture


DRAWINGS = runpy.run_path(str(ROOT / 'docs' / 'draw.py'))['DRAWINGS']


@pytest.mark.parametrize('name', DRAWINGS)
def test_drawing_is_up_to_date(name):
    drawn = (ROOT / 'docs' / name).read_text(encoding='utf-8')
    assert drawn == DRAWINGS[name](), 'run: python docs/draw.py'


def test_lowformer_computes_most_per_second():
    """The start page says so."""
    record = read(str(ROOT / 'docs' / 'benchmark' / 'cpu_peers.json'))
    rates = dict(own=[], others=[])
    for row in record['rows']:
        # timm's LowFormers are the same networks.
        if row['family'] != 'timm lowformer':
            rates['own' if row['family'] == 'LowFormer' else 'others'].append(
                row['macs'] * row['images_per_second'])
    assert min(rates['own']) > max(rates['others'])


def test_the_start_page_lists_all_pages():
    start = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8')
    listed = re.findall(r'^(?:[\w ]+<)?(\w+)>?$', start, re.M)
    pages = {page.stem for page in (ROOT / 'docs').glob('*.md')}
    assert sorted(listed) == sorted(pages - {'index'})


def test_the_first_example_computes_what_it_says(run_forked):
    page = (ROOT / 'docs' / 'get_started.md').read_text(encoding='utf-8')
    (example, ) = re.findall(r'```python\n(.*?)```', page, re.S)
    result = run_forked(example, cwd=ROOT)
    assert f'# {result.stdout}' == example.splitlines(True)[-1], result.stderr
