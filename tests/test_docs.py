"""Snippets in the docs run; those of drop_in.md have a test of their own."""
import json
import re
import runpy

import pytest
import torch

from mmlowformer import LowFormer
from mmlowformer.benchmark import paper_claims, report
from mmlowformer.models.ablations import ABLATIONS
from mmlowformer.registry import MODELS
from mmlowformer.study import tables

from .conftest import ROOT


def test_features_with_mmpretrain(run_python):
    page = (ROOT / 'docs' / 'classification.md').read_text(encoding='utf-8')
    listed, features = re.findall(r'```python\n(.*?)```', page, re.S)
    assert listed.split('\n')[:2] == [
        'from mmpretrain import ModelHub, get_model', features.split('\n')[2]]
    result = run_python('-c', features + 'print(*(tuple(map_.shape) for map_ '
                        'in maps), tuple(features.shape))', cwd=ROOT)
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


def test_files_named_in_the_docs_exist():
    for page in (ROOT / 'docs').glob('*.md'):
        text = page.read_text(encoding='utf-8')
        for path in re.findall(r'(?:tools|tests|docs)/[\w./]+\w\.\w+', text):
            assert (ROOT / path).exists(), f'{page.name}: {path}'
        for path in re.findall(r'\]\(([\w./]+)\)', text):
            assert (page.parent / path).exists(), f'{page.name}: {path}'


MEASUREMENTS = sorted((ROOT / 'docs' / 'benchmark').glob('*.json'))


def test_there_are_measurements():
    assert MEASUREMENTS


@pytest.mark.parametrize('file', MEASUREMENTS, ids=lambda file: file.stem)
def test_tables_are_those_of_the_measurements(file):
    page = (ROOT / 'docs' / 'benchmark.md').read_text(encoding='utf-8')
    record = report.read(str(file))
    for table in report.tables(record):
        assert table in page
    assert report.describe(record) in page
    assert f'--json docs/benchmark/{file.name}' in page


STUDIES = sorted((ROOT / 'docs' / 'study').glob('*.json'))


@pytest.mark.parametrize('file', STUDIES, ids=lambda file: file.stem)
def test_tables_are_those_of_the_studies(file):
    page = (ROOT / 'docs' / 'beyond_macs.md').read_text(encoding='utf-8')
    content = json.loads(file.read_text(encoding='utf-8'))
    if 'study' in content:
        assert tables.as_markdown(content) in page
        assert f'--out docs/study/{file.stem}' in page
    elif 'claims' in content:
        rows = paper_claims.table_rows(content['claims'])
        assert report.markdown(paper_claims.HEADER, rows) in page
        assert f'--json docs/study/{file.name}' in page
    else:
        assert report.describe(report.read(str(file))) in page


@pytest.mark.parametrize('file', [*MEASUREMENTS, *STUDIES],
                         ids=lambda file: file.stem)
def test_measurements_are_as_the_tools_write_them(file):
    text = file.read_text(encoding='utf-8')
    assert text == report.as_json(json.loads(text))


def test_pictures_of_studies_have_their_measurements():
    page = (ROOT / 'docs' / 'beyond_macs.md').read_text(encoding='utf-8')
    pictures = re.findall(r'\]\(study/(\w+)\.png\)', page)
    assert STUDIES
    assert pictures
    for picture in pictures:
        assert any(picture.startswith(file.stem) for file in STUDIES), picture


def test_the_drawing_is_up_to_date():
    draw = runpy.run_path(str(ROOT / 'docs' / 'draw_architecture.py'))['draw']
    drawn = (ROOT / 'docs' / 'architecture.svg').read_text(encoding='utf-8')
    assert drawn == draw(), 'run: python docs/draw_architecture.py'


def test_the_start_page_lists_all_pages():
    start = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8')
    listed = re.findall(r'^(?:[\w ]+<)?(\w+)>?$', start, re.M)
    pages = {page.stem for page in (ROOT / 'docs').glob('*.md')}
    assert sorted(listed) == sorted(pages - {'index'})


def test_the_first_example_computes_what_it_says(run_python):
    page = (ROOT / 'docs' / 'get_started.md').read_text(encoding='utf-8')
    (example, ) = re.findall(r'```python\n(.*?)```', page, re.S)
    result = run_python('-c', example, cwd=ROOT)
    assert f'# {result.stdout}' == example.splitlines(True)[-1], result.stderr
