"""The tool, run as users run it."""
import hashlib

import timm
import torch

from mmlowformer import LowFormer

from ..helpers import ROOT
from ..models.test_lowformer import randomise

TOOL = ROOT / 'tools' / 'convert_checkpoint.py'


def test_detector_to_timm(run_python, tmp_path):
    backbone = randomise(LowFormer('b0')).state_dict()
    torch.save(
        dict(state_dict={**{f'backbone.{name}': value
                            for name, value in backbone.items()},
                         'neck.conv.weight': torch.ones(1)},
             meta=dict(epoch=1)), tmp_path / 'epoch_1.pth')
    result = run_python(TOOL, 'epoch_1.pth', 'timm.safetensors', '--to',
                        'timm')
    assert result.returncode == 0, result.stderr
    written = tmp_path / 'timm.safetensors'
    sha256 = hashlib.sha256(written.read_bytes()).hexdigest()
    assert result.stdout.splitlines() == [
        "keys        own key format -> timm's key format",
        'arch        b0',
        'tensors     252 of the backbone, 0 of the classifier',
        'skipped     neck.* (1), meta',
        'parameters  9,642,384',
        'comparison  4 feature maps of a 97x65 image are equal, bit for bit',
        f'sha256      {sha256}',
        'Written: timm.safetensors']
    model = timm.create_model('lowformer_b0')
    result = timm.models.load_checkpoint(model, str(written), strict=False)
    assert not result.unexpected_keys
    assert {name.split('.')[0] for name in result.missing_keys} == {
        'in_conv', 'pre_classifier', 'classifier'}


def test_error_is_one_line(run_python, tmp_path):
    (tmp_path / 'there.pth').write_text('')
    result = run_python(TOOL, 'none.pth', 'there.pth')
    assert result.returncode == 1
    assert result.stderr == ('convert_checkpoint.py: error: there.pth exists; '
                             '--force replaces it\n')
