"""Convert weights between key formats, and check them by running them.

Nothing is lost on the way: the file that was written is read again, and has to
hold the same bits and give the same outputs as the one it was made from.
"""
import argparse
import hashlib
import importlib.util
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.utils import deprecated_api_warning
from torch import Tensor, nn

from .. import __version__
from ..errors import UserError
from ..models import LowFormer
from ..models.classifier import Classifier
from ..models.state_dict_keys import (
    CLASSIFIER,
    CLASSIFIER_PARTS,
    authors_names,
    by_model_key,
    key_format_of,
    model_names,
    timm_names,
)
from ..utils.safe_load import check_checkpoint

# A file's names of the tensors, by ours.
KEY_FORMATS = dict(own=model_names, authors=authors_names, timm=timm_names)
SAFETENSORS = '.safetensors'
# timm's trainings keep averaged weights beside the others, and timm itself
# prefers them. MMEngine's EMAHook has swapped the two: its averages are in
# "state_dict" already.
STATE_DICTS = ('state_dict_ema', 'state_dict')
# Odd, so that the network has to round at every stride.
IMAGE_SIZE = (97, 65)


class Network(nn.Module):
    """A backbone, and a classifier if there is one."""

    def __init__(self, backbone: LowFormer,
                 classifier: Classifier | None = None):
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The four feature maps, then the class scores."""
        maps = self.backbone(x)
        if self.classifier is None:
            return maps
        return *maps, self.classifier(maps[-1])

    def tensor_names(self) -> list[str]:
        """Our names, see :func:`own_name`, in the order of the network."""
        classifier = self.classifier.state_dict() if self.classifier else ()
        return [*self.backbone.state_dict(),
                *(CLASSIFIER + name for name in classifier)]


@dataclass
class Weights:
    """The weights of a LowFormer in a file.

    Attributes:
        arch (str): The variant.
        key_format (str): Of the file, see :func:`key_format_of`.
        tensors (dict[str, Tensor]): The tensors as they are in the file, by
            our names and in the order of the network.
        left_aside (Counter): Number of other tensors, by the first part of
            their names.
        entries (list[str]): Other entries, such as an optimizer's state.
        parameters (int): Number of parameters of the network.
        outputs (tuple[Tensor]): Of the network, for a fixed random image.
    """

    arch: str
    key_format: str
    tensors: dict[str, Tensor]
    left_aside: Counter
    entries: list[str]
    parameters: int
    outputs: tuple[Tensor, ...]


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes:
        weights (Weights): Of the source.
        key_format (str): Of the new file, see :func:`key_format_of`.
        sha256 (str): Of the new file.
    """

    weights: Weights
    key_format: str
    sha256: str


@deprecated_api_warning(dict(layout='key_format'))
def convert(source: str, target: str, arch: str | None = None,
            key_format: str = 'own', force: bool = False) -> Conversion:
    """Write the weights of a file in another key format.

    Args:
        source (str): A file of any key format, or ``hf-hub:REPOSITORY``.
        target (str): The file to write, in the format of safetensors if that
            is its suffix.
        arch (str, optional): The variant. Defaults to that of the tensors.
        key_format (str): One of ``own``, ``authors`` and ``timm``. Defaults to
            ``'own'``.
        force (bool): Whether to replace a file that exists. Defaults to
            False.

    Returns:
        Conversion: The weights, and the SHA-256 of the new file.

    Raises:
        UserError: If the source is unusable, the target cannot be written, or
            the two networks differ. The target then stays as it was.
    """
    _check_target(source, target, force)
    weights = read_weights(source, arch)
    _check_finite(weights, source)
    names = KEY_FORMATS[key_format](weights.tensors)
    tensors = {names[name]: _copy(tensor)
               for name, tensor in weights.tensors.items()}
    meta = dict(arch=weights.arch, key_format=key_format_of(tensors),
                source=os.path.basename(source),
                source_key_format=weights.key_format,
                mmlowformer_version=__version__)
    try:
        # A folder, for a file made by tempfile would be its owner's alone.
        with tempfile.TemporaryDirectory(
                dir=os.path.dirname(target) or '.', prefix='.') as folder:
            file = Path(folder, os.path.basename(target))
            _write(file, tensors, key_format, meta)
            _check_same(weights, read_weights(str(file), weights.arch), target)
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            os.replace(file, target)
    except OSError as error:
        raise UserError(f'{target} cannot be written: '
                        f'{error.strerror or error}') from error
    return Conversion(weights, meta['key_format'], sha256)


def _check_target(source: str, target: str, force: bool) -> None:
    folder = os.path.dirname(target) or '.'
    if os.path.isdir(target) or not os.path.basename(target):
        raise UserError(f'{target} is a folder; name a file in it')
    if not os.path.isdir(folder):
        raise UserError(f'folder not found: {folder}')
    if os.path.exists(target):
        if os.path.exists(source) and os.path.samefile(source, target):
            raise UserError(f'{target} is the file to read; name another one')
        if not force:
            raise UserError(f'{target} exists; --force replaces it')
    if (target.endswith(SAFETENSORS)
            and not importlib.util.find_spec('safetensors')):
        raise UserError(f'{target} needs: pip install safetensors')


def read_weights(source: str, arch: str | None = None) -> Weights:
    """Read a network's weights from a file."""
    state, entries = _state_dict(_open(source))
    given_names = _by_own_name(state, source)
    tensors = {name: state[given] for name, given in given_names.items()}
    arch = arch or _likely_arch(tensors)
    backbone = _load_backbone(arch, state, source)
    classifier = _load_classifier(backbone.out_channels[-1], tensors, source)
    network = Network(backbone, classifier).eval()
    names = network.tensor_names()
    others = [name for name in tensors if name not in names]
    return Weights(
        arch, key_format_of(given_names[name] for name in names),
        {name: tensors[name] for name in names},
        Counter(name.split('.')[0] for name in others), entries,
        sum(parameter.numel() for parameter in network.parameters()),
        _run(network))


@torch.inference_mode()
def _run(network: Network) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return network(torch.randn(1, 3, *IMAGE_SIZE, generator=generator))


def _open(source: str) -> dict:
    # timm's trainings keep their arguments, which are plain data.
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = check_checkpoint(source)
    if content is None:
        raise UserError(f'{source} is no file; download it first')
    return content


def _state_dict(content: dict) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors, and the names of the other entries."""
    key = next((key for key in STATE_DICTS
                if isinstance(content.get(key), dict)), None)
    state = {name: value for name, value in content.get(key, content).items()
             if isinstance(value, Tensor)}
    return state, [name for name in content if name not in (key, *state)]


def _by_own_name(names: Iterable[str], source: str) -> dict[str, str]:
    try:
        return by_model_key(names)
    except ValueError as error:
        raise UserError(f'{source}: {error}') from error


def _likely_arch(tensors: dict[str, Tensor]) -> str:
    """The variant, or the most similar one, which then fails to load."""
    exact = LowFormer._variant_of(tensors)
    if exact:
        return exact
    given = {(name, tensor.shape) for name, tensor in tensors.items()}

    def likeness(arch: str) -> float:
        with torch.device('meta'):
            state = LowFormer(arch).state_dict()
        needed = {(name, tensor.shape) for name, tensor in state.items()}
        return len(given & needed) / len(given | needed)

    return max(LowFormer.arch_settings, key=likeness)


def _load_backbone(arch: str, state: dict[str, Tensor],
                   source: str) -> LowFormer:
    try:
        # No random values, as all are loaded.
        with torch.device('meta'):
            backbone = LowFormer(
                arch, init_cfg=dict(type='Pretrained', checkpoint=source))
        backbone.to_empty(device='cpu').load_state_dict(state)
    except ValueError as error:
        raise UserError(str(error)) from error
    return backbone


def _load_classifier(in_channels: int, tensors: dict[str, Tensor],
                     source: str) -> Classifier | None:
    """The classifier, if the file has any of its tensors."""
    given = {name.removeprefix(CLASSIFIER): tensor
             for name, tensor in tensors.items()
             if name.startswith(CLASSIFIER_PARTS)}
    if not given:
        return None
    pooled, hidden, classes = (
        given[name].numel() if name in given else 1 for name in
        ('in_conv.bn.bias', 'pre_classifier.1.bias', 'classifier.bias'))
    with torch.device('meta'):
        classifier = Classifier(in_channels, (pooled, hidden), classes)
    needed = classifier.state_dict()
    mismatches = [CLASSIFIER + name for name, value in needed.items()
               if name not in given or given[name].shape != value.shape]
    if mismatches:
        raise UserError(
            f'classifier: {len(needed) - len(mismatches)}/{len(needed)} '
            f'tensors from {source}. Missing or of another shape: '
            f'{", ".join(mismatches[:3])}. Take a file with a whole '
            'classifier, or with none.')
    classifier.to_empty(device='cpu').load_state_dict(
        {name: given[name] for name in needed})
    return classifier


def _copy(tensor: Tensor) -> Tensor:
    """With a storage of its own, for that is what is written."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _write(file: Path, tensors: dict[str, Tensor], key_format: str,
           meta: dict[str, str]) -> None:
    contents = dict(
        own=dict(state_dict=tensors, meta=meta),
        authors=dict(state_dict=tensors),
        timm=tensors)
    if file.name.endswith(SAFETENSORS):
        from safetensors.torch import save
        file.write_bytes(save(tensors, dict(meta, format='pt')))
    else:
        # torch.save hides why a file could not be written.
        stream = io.BytesIO()
        torch.save(contents[key_format], stream)
        file.write_bytes(stream.getbuffer())


def _check_finite(weights: Weights, source: str) -> None:
    if not all(output.isfinite().all() for output in weights.outputs):
        raise UserError(
            f'the network in {source} computes NaN or infinity: its training '
            'diverged. Take an earlier checkpoint')


def _check_same(weights: Weights, written: Weights, target: str) -> None:
    same = (list(weights.tensors) == list(written.tensors)
            and all(map(_same_bits, weights.tensors.values(),
                        written.tensors.values()))
            and all(map(_same_bits, weights.outputs, written.outputs)))
    if not same:
        raise UserError(
            f'{target} was not written: read again, the network in it was not '
            'the one to convert. This is a bug of mmlowformer, please report '
            'it')


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return (one.dtype == other.dtype and one.shape == other.shape
            and torch.equal(one.flatten().view(torch.uint8),
                            other.flatten().view(torch.uint8)))
