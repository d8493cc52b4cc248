"""Formats for phones and small boards, where their packages are."""
import importlib.util
import json
import zipfile

import pytest

from mmlowformer.errors import UserError
from mmlowformer.runtime import ExportedPredictor

from ..helpers import ROOT
from .exports import make_export

pytestmark = pytest.mark.slow


def needs(module, name):
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None,
        reason=f'{name} is not part of the environment')


EXECUTORCH = needs('executorch', 'ExecuTorch')
LITERT = needs('litert_torch', "LiteRT's converter")
COREML = needs('coremltools', 'Core ML')

SAYS = """
import json, sys
from pathlib import Path
from executorch.runtime import Runtime
program = Runtime.get().load_program(Path(sys.argv[1]))
print(*program.load_method('mmlowformer').execute([]))
"""


@pytest.fixture
def export(run_python, tmp_path):
    """Run tools/export.py in a process of its own; what it wrote down."""
    def run(checkpoint, form, *options):
        result = run_python(
            ROOT / 'tools/export.py', checkpoint, '--format', form, '--size',
            '64x64', '--no-metric', '--out', 'out', *options)
        assert result.returncode == 0, result.stdout + result.stderr
        written = next((tmp_path / 'out').glob(f'{form}*/model.json'))
        return json.loads(written.read_text())

    return run


def check_detector(description):
    """The maps of the head, and the boxes that are made of them."""
    assert description['verification']['verdict'] == 'verified'
    rows = {(row['check'], row['where'])
            for row in description['verification']['rows']}
    assert rows >= {('boxes', '4 images'), *(
        (item['name'], '1 x 64x64') for item in description['outputs'])}


@EXECUTORCH
def test_executorch(tiny, photos, tmp_path, export, run_python):
    """The file says what it is, too."""
    description = export(tiny('detection'), 'executorch', '--verify', *photos)
    check_detector(description)
    said = run_python('-c', SAYS, tmp_path / 'out/executorch/model.pte')
    assert json.loads(said.stdout)['classes'] == description['classes'], said


@LITERT
def test_tflite(tiny, photos, tmp_path, export):
    description = export(tiny('detection'), 'tflite', '--verify', *photos)
    check_detector(description)
    with zipfile.ZipFile(tmp_path / 'out/tflite/model.tflite') as archive:
        said = json.loads(archive.read('mmlowformer.json'))
    assert said['classes'] == description['classes']


@LITERT
def test_tflite_of_8_bits(tiny, photos, export):
    verification = export(
        tiny('classification'), 'tflite', '--quantize', '8', '--calibration',
        *photos, '--verify', *photos)['verification']
    assert verification['verdict'] == 'converted, not verified'
    assert {item['weights'] for item in verification['speed']} == {
        '', 'float32', 'int8'}
    assert all(row['limit'] is None for row in verification['rows'])


@COREML
@pytest.mark.parametrize(('bits', 'kind'), [(32, 'float32'), (16, 'float16')])
def test_coreml(tiny, tmp_path, bits, kind):
    """It cannot be run here, which stands in the file."""
    from coremltools.models.utils import load_spec
    _, result = make_export(tiny('classification'), tmp_path / 'coreml',
                             'coreml', size=(64, 96), bits=bits)
    assert result.verdict == 'converted, not verified'
    spec = load_spec(str(tmp_path / 'coreml/model.mlpackage')).description
    assert spec.metadata.shortDescription == 'Converted, not verified.'
    assert spec.metadata.userDefined['precision'] == kind
    assert [(item.name, list(item.type.multiArrayType.shape)) for item in
            (*spec.input, *spec.output)] == [
                ('images', [1, 3, 64, 96]), ('scores', [1, 4])]
    with pytest.raises(UserError, match='coreml cannot be run here'):
        ExportedPredictor(tmp_path / 'coreml')
