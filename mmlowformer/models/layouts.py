"""The layouts that LowFormer's weights are published in.

Besides ours there are the authors' (github.com/altair199797/LowFormer) and
that of timm's port. They differ in the names of the tensors alone.
"""
import re
from collections.abc import Iterable

# What surrounds a backbone: distributed wrappers, detectors, mmpretrain's
# TIMMBackbone. timm's features_only writes stages_0 for stages.0.
WRAPPERS_TO_NONE = (
    (r'^module\.', ''),
    (r'^backbone\.(?=input_stem|stem|stages|timm_model)', ''),
    (r'^timm_model\.', ''),
    (r'^(stem|stages)_(\d+)\.', r'\1.\2.'),
)

# The authors' blocks are nested sequences.
AUTHORS_TO_TIMM = (
    (r'^input_stem\.', 'stem.'),
    (r'\.op_list\.', '.'),
    # A block is (context, local); the context is (attention, MLP) or, in E3,
    # the attention alone.
    (r'\.total\.0\.0\.', '.attn.'),
    (r'\.total\.0\.1\.', '.mlp.'),
    (r'\.total\.0\.', '.attn.'),
    (r'\.total\.1\.', '.local.'),
    (r'\.conv_proj\.0\.', '.conv_proj.conv.'),
    (r'\.conv_proj\.1\.', '.conv_proj.norm.'),
    (r'\.pwise\.0\.', '.pwise.'),
)

TIMM_TO_OWN = (
    # The first block of a stage has no residual connection.
    (r'^(stages\.\d+\.0)\.main\.', r'\1.'),
    (r'\.attn\.main\.0\.', '.lowtention.norm.'),
    (r'\.attn\.main\.(?:1\.)?', '.lowtention.branch.'),
    (r'\.mlp\.main\.0\.', '.mlp.norm.'),
    (r'\.mlp\.main\.1\.', '.mlp.branch.0.'),
    (r'\.mlp\.main\.3\.', '.mlp.branch.2.'),
    (r'\.main\.', '.branch.'),
    (r'\.inverted_conv\.', '.expand_conv.'),
    (r'\.conv_proj\.', '.down.'),
    (r'\.pwise\.', '.qkv.'),
    (r'\.upsampling\.', '.up.'),
    # Norms of convolutions, not those in front of attention and MLP.
    (r'(^stem\.0|_conv|\.down)\.norm\.', r'\1.bn.'),
)


def own_name(name: str) -> str:
    """Our name of a tensor of the backbone.

    Args:
        name (str): Its name in any layout. What is no tensor of the backbone,
            or already has our name, keeps it.

    Returns:
        str: Its name in ``LowFormer().state_dict()``.
    """
    for pattern, replacement in (*WRAPPERS_TO_NONE, *AUTHORS_TO_TIMM,
                                 *TIMM_TO_OWN):
        name = re.sub(pattern, replacement, name)
    return name


def layout_of(names: Iterable[str]) -> str:
    """Whose layout a state dict has.

    Args:
        names (Iterable[str]): Names of its tensors.

    Returns:
        str: ``"authors' layout"``, ``"timm's layout"`` or ``'own layout'``.
    """
    names = list(names)
    if any('.op_list.' in name for name in names):
        return "authors' layout"
    if any('.main.' in name for name in names):
        return "timm's layout"
    return 'own layout'
