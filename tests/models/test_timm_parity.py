"""timm's port of LowFormer is an independent implementation."""
import pytest
import timm
import torch

from mmlowformer import LowFormer

from .test_lowformer import VARIANTS, randomise


def copy_weights(source, target):
    """Both register their parameters in the order of the network."""
    tensors = source.state_dict()
    state = target.state_dict()
    assert len(tensors) == len(state)
    for (name, value), (key, other) in zip(tensors.items(), state.items()):
        assert value.shape == other.shape, (name, key)
        assert name.split('.')[-1] == key.split('.')[-1], (name, key)
        other.copy_(value)


@pytest.mark.parametrize('arch', VARIANTS)
def test_all_stages_agree(arch):
    reference = timm.create_model(f'lowformer_{arch}', features_only=True)
    reference = randomise(reference).eval()
    model = LowFormer(arch).eval()
    copy_weights(reference, model)
    for height, width in ((96, 96), (65, 97)):
        x = torch.randn(2, 3, height, width)
        with torch.no_grad():
            outputs, expected = model(x), reference(x)[-4:]
        for output, target in zip(outputs, expected, strict=True):
            error = (output - target).abs().max() / target.abs().max()
            assert error < 1e-5
