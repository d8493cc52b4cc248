"""The metafiles and tables are what tools/model_zoo.py would write now."""
import importlib.util
import sys

import pytest
import yaml
from mmpretrain import get_model
from mmpretrain.apis import ModelHub

from mmlowformer import LowFormer
from mmlowformer.errors import UserError
from mmlowformer.utils.checkpoint_schemes import PUBLISHED

from ..helpers import ROOT

TOOL = ROOT / 'tools' / 'model_zoo.py'


@pytest.fixture(scope='module')
def model_zoo():
    spec = importlib.util.spec_from_file_location('model_zoo', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules['model_zoo'] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_up_to_date(run_python):
    result = run_python(TOOL, '--check')
    assert result.returncode == 0, result.stderr


def test_check_fails_if_not(model_zoo, tmp_path, monkeypatch):
    file = model_zoo.ROOT / 'docs' / 'none.md'
    monkeypatch.setattr(model_zoo, 'generate', lambda: {file: 'text'})
    monkeypatch.setattr(sys, 'argv', ['model_zoo.py', '--check'])
    with pytest.raises(SystemExit, match='out of date.*docs/none.md'):
        model_zoo.main()
    assert not file.exists()


def test_weights_and_their_accuracies(model_zoo):
    assert set(model_zoo.EVALUATED) == set(PUBLISHED)


def test_table_is_replaced(model_zoo, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n')
    assert model_zoo.fill_in(page, dict(x='new')) == page.read_text().replace(
        'old', 'new')
    with pytest.raises(UserError, match='needs one table y'):
        model_zoo.fill_in(page, dict(y='new'))


def test_mmpretrain_reads_the_index():
    ModelHub.register_model_index(ROOT / 'model-index.yml', config_prefix=ROOT)
    model = get_model('lowformer_b0_in1k')
    assert isinstance(model.backbone, LowFormer)
    metainfo = ModelHub.get('lowformer_b2_in1k')
    assert metainfo.weights is None
    assert metainfo.results[0].metrics['Top 1 Accuracy'] == 81.6
    for name in ('fpn_lowformer_e3_ade20k', 'lowformer_b1_unfused_in1k'):
        assert ModelHub.get(name).results is None


def test_accuracies_are_marked_as_reported():
    models = yaml.safe_load(
        (ROOT / 'configs' / 'lowformer_metafile.yml').read_text())['Models']
    for model in models:
        for result in model['Results']:
            assert result['Source'].startswith('reported by ')
