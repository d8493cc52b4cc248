"""The key formats that LowFormer's weights are published in.

Besides ours there are the authors' (github.com/altair199797/LowFormer) and
that of timm's port. They differ only in the names of the tensors. In ours a
classifier is MMPreTrain's ``ImageClassifier`` with ``LowFormerClsHead``.
"""
import re
from collections.abc import Callable, Iterable

OWN_KEY_FORMAT = 'own key format'
CLASSIFIER = 'head.layers.'
# Prefixes of its tensors in our key format.
CLASSIFIER_PARTS = (f'{CLASSIFIER}in_conv.', f'{CLASSIFIER}pre_classifier.',
                    f'{CLASSIFIER}classifier.')

# DistributedDataParallel, torch.compile, and averages of the weights.
_WRAPPERS = r'(?:(?:module|_orig_mod|ema|ema_model|model_ema)\.)'
WRAPPERS_TO_NONE = (
    # Models, and detectors around a backbone; mmpretrain's TIMMBackbone.
    (rf'^(?:{_WRAPPERS}|backbone\.|timm_model\.)+'
     r'(?=(?:input_stem|stem|stages)[._])', ''),
    (rf'^{_WRAPPERS}+'
     r'(?=(?:head\.(?:op_list|opseq)\.|(?:head\.layers\.)?'
     r'(?:in_conv|pre_classifier|classifier)\.))', ''),
    # timm's features_only flattens the stem and the stages.
    (r'^(stem|stages)_(\d+)\.', r'\1.\2.'),
)

# The first layer of a LowFormer that is a part of another model.
_STEM_INSIDE = re.compile(r'(.+?\.)(?:input_)?stem[._]')

# Only these names are renamed by the rules below.
_LOWFORMER = re.compile(
    r'(?:input_stem|stem|stages|head\.op_list|head\.opseq'
    r'|(?:head\.layers\.)?(?:in_conv|pre_classifier|classifier))\.')

AUTHORS_TO_TIMM = (
    # Trained as TorchScript, the classifier is nested once more.
    (r'^head\.opseq\.', 'head.'),
    # Entry 1 is the pooling, which has no tensors.
    (r'^head\.op_list\.0\.', 'in_conv.'),
    (r'^head\.op_list\.2\.linear\.', 'pre_classifier.0.'),
    (r'^head\.op_list\.2\.norm\.', 'pre_classifier.1.'),
    (r'^head\.op_list\.3\.linear\.', 'classifier.'),
    (r'^input_stem\.', 'stem.'),
    # The authors' blocks are nested sequences.
    (r'\.op_list\.', '.'),
    # A block is (context, local); the context is (attention, MLP) or, in E3,
    # the attention alone.
    (r'\.total\.0\.0\.', '.attn.'),
    (r'\.total\.0\.1\.', '.mlp.'),
    (r'\.total\.0\.', '.attn.'),
    (r'\.total\.1\.', '.local.'),
    # The attention's convolution and its norm are a sequence.
    (r'\.conv_proj\.0\.', '.conv_proj.conv.'),
    (r'\.conv_proj\.1\.', '.conv_proj.norm.'),
    # A sequence of one.
    (r'\.pwise\.0\.', '.pwise.'),
)

TIMM_TO_OWN = (
    # MMPreTrain calls a classifier's parts backbone and head.
    (r'^(in_conv|pre_classifier|classifier)\.', rf'{CLASSIFIER}\1.'),
    # The first block of a stage has no residual connection.
    (r'^(stages\.\d+\.0)\.main\.', r'\1.'),
    # (norm, attention) or, in E3, the attention alone.
    (r'\.attn\.main\.0\.', '.lowtention.norm.'),
    (r'\.attn\.main\.(?:1\.)?', '.lowtention.branch.'),
    # (norm, convolution, activation, convolution).
    (r'\.mlp\.main\.0\.', '.mlp.norm.'),
    (r'\.mlp\.main\.1\.', '.mlp.branch.0.'),
    (r'\.mlp\.main\.3\.', '.mlp.branch.2.'),
    # All other residual blocks.
    (r'\.main\.', '.branch.'),
    # The first layer of MBConv.
    (r'\.inverted_conv\.', '.expand_conv.'),
    # The attention's layers.
    (r'\.conv_proj\.', '.down.'),
    (r'\.pwise\.', '.qkv.'),
    (r'\.upsampling\.', '.up.'),
    # Norms of convolutions, not those in front of attention and MLP.
    (r'(^stem\.0|_conv|\.down)\.norm\.', r'\1.bn.'),
)

OWN_TO_TIMM = (
    # The classifier has no prefix.
    (rf'^{re.escape(CLASSIFIER)}', ''),
    # Norms of convolutions are called as all other norms are.
    (r'\.bn\.', '.norm.'),
    # The first block of a stage is a residual block without the residual.
    (r'^(stages\.\d+\.0)\.(?=spatial_conv|point_conv)', r'\1.main.'),
    # (norm, attention); see _ATTENTION_ALONE.
    (r'\.lowtention\.norm\.', '.attn.main.0.'),
    (r'\.lowtention\.branch\.', '.attn.main.1.'),
    # (norm, convolution, activation, convolution).
    (r'\.mlp\.norm\.', '.mlp.main.0.'),
    (r'\.mlp\.branch\.0\.', '.mlp.main.1.'),
    (r'\.mlp\.branch\.2\.', '.mlp.main.3.'),
    # All other residual blocks.
    (r'\.branch\.', '.main.'),
    # The first layer of MBConv.
    (r'\.expand_conv\.', '.inverted_conv.'),
    # The attention's layers.
    (r'\.down\.', '.conv_proj.'),
    (r'\.qkv\.', '.pwise.'),
    (r'\.up\.', '.upsampling.'),
)

# E3 has no norm in front of the attention, so it is no sequence.
_ATTENTION_ALONE = (r'\.lowtention\.branch\.', '.attn.main.')

TIMM_TO_AUTHORS = (
    # Every sequence is an op_list.
    (r'^stem\.', 'backbone.input_stem.op_list.'),
    (r'^(stages\.\d+)\.', r'backbone.\1.op_list.'),
    # The classifier is a sequence with the pooling as its entry 1.
    (r'^in_conv\.', 'head.op_list.0.'),
    (r'^pre_classifier\.0\.', 'head.op_list.2.linear.'),
    (r'^pre_classifier\.1\.', 'head.op_list.2.norm.'),
    (r'^classifier\.', 'head.op_list.3.linear.'),
    # A block is (context, local); the context is (attention, MLP) or, in E3,
    # the attention alone.
    (r'\.attn\.main\.(?=\d)', '.total.0.0.main.'),
    (r'\.attn\.main\.', '.total.0.main.'),
    (r'\.mlp\.', '.total.0.1.'),
    (r'\.local\.', '.total.1.'),
    # The attention's convolution and its norm are a sequence.
    (r'\.conv_proj\.conv\.', '.conv_proj.0.'),
    (r'\.conv_proj\.norm\.', '.conv_proj.1.'),
    # A sequence of one.
    (r'\.pwise\.', '.pwise.0.'),
)


def _rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def own_name(name: str) -> str:
    """Our name of a tensor of the backbone or of the classifier."""
    bare = _rename(name, WRAPPERS_TO_NONE)
    if not _LOWFORMER.match(bare):
        return name
    return _rename(bare, (*AUTHORS_TO_TIMM, *TIMM_TO_OWN))


def lowformer_prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes of the LowFormers inside a model, such as ``backbone.``."""
    found = (_STEM_INSIDE.match(name) for name in names)
    return sorted({match[1] for match in found if match})


def by_model_key(names: Iterable[str],
                 rename: Callable[[str], str] = own_name) -> dict[str, str]:
    """Map our names of the tensors in a file to the file's names."""
    given: dict[str, str] = {}
    for name in names:
        own = rename(name)
        if own in given:
            raise ValueError(f'holds {own} twice, as {given[own]} and as '
                             f'{name}; take one of the networks out of it')
        given[own] = name
    return given


def timm_names(names: Iterable[str]) -> dict[str, str]:
    """The names of a network's tensors in timm."""
    names = list(names)
    normed = any('.lowtention.norm.' in name for name in names)
    rules = OWN_TO_TIMM if normed else (_ATTENTION_ALONE, *OWN_TO_TIMM)
    return {name: _rename(name, rules) for name in names}


def authors_names(names: Iterable[str]) -> dict[str, str]:
    """The names of a network's tensors in the authors' files."""
    return {name: _rename(timm_name, TIMM_TO_AUTHORS)
            for name, timm_name in timm_names(names).items()}


def model_names(names: Iterable[str]) -> dict[str, str]:
    """Our names of a network's tensors in a file."""
    names = list(names)
    if not any(name.startswith(CLASSIFIER) for name in names):
        return {name: name for name in names}
    return {name: name if name.startswith(CLASSIFIER) else f'backbone.{name}'
            for name in names}


def key_format_of(names: Iterable[str]) -> str:
    """The key format of a state dict."""
    names = list(names)
    if any('.op_list.' in name for name in names):
        return "authors' key format"
    if any('.main.' in name for name in names):
        return "timm's key format"
    return OWN_KEY_FORMAT
