"""Key format of the authors' tracker.

Source: https://github.com/altair199797/LowFormer-Track, whose checkpoints
contain the tensors in ``net``.
"""
import re

from ..models.state_dict_keys import own_name

_BACKBONE = re.compile(r'^backbone\.backbone\.(?=input_stem\.|stages\.)')
_BLOCK = re.compile(r'^box_head\.global_rep_(cls|reg)\.(\d+)\.')
TOWERS = dict(cls='score_tower', reg='box_tower')

RULES = (
    (r'^neck\.BN_x\.', 'correlation.search_norm.'),
    (r'^neck\.BN_z\.', 'correlation.template_norm.'),
    (r'^feature_fusor\.pw_corr\.CA_layer\.fc1\.', 'correlation.weights.0.'),
    (r'^feature_fusor\.pw_corr\.CA_layer\.fc2\.', 'correlation.weights.2.'),
    (r'^feature_fusor\.adj_layer\.', 'correlation.projection.'),
    (r'^box_head\.pre_ssat_cls\.block\.conv\.', 'head.score_tower.0.conv.'),
    (r'^box_head\.pre_ssat_cls\.block\.norm\.', 'head.score_tower.0.bn.'),
    (r'^box_head\.pre_ssat_reg\.block\.conv\.', 'head.box_tower.0.conv.'),
    (r'^box_head\.pre_ssat_reg\.block\.norm\.', 'head.box_tower.0.bn.'),
    # A branch: three times (depthwise, ReLU, 1x1, ReLU, norm), and a 1x1.
    *((rf'^box_head\.conv{number}_{theirs}\.{place}\.',
       f'head.{ours}.{number - 1}.{part}.')
      for theirs, ours in (('ctr', 'score'), ('offset', 'offset'),
                           ('size', 'size'))
      for number in (1, 2, 3)
      for place, part in ((0, 'convs.0'), (2, 'convs.2'), (4, 'norm'))),
    *((rf'^box_head\.conv4_{theirs}\.', f'head.{ours}.3.')
      for theirs, ours in (('ctr', 'score'), ('offset', 'offset'),
                           ('size', 'size'))),
)


def tracker_name(name: str) -> str:
    """Convert a key of the authors' tracker."""
    if _BACKBONE.match(name):
        return f'backbone.{own_name(_BACKBONE.sub("", name))}'
    block = _BLOCK.match(name)
    if block:
        # Its keys are those of a backbone's block.
        rest = own_name(f'stages.2.1.{name[block.end():]}')
        return (f'head.{TOWERS[block[1]]}.{int(block[2]) + 1}.'
                + rest.removeprefix('stages.2.1.'))
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name
