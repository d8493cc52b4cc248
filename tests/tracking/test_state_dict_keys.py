"""Checkpoints of the authors' tracker."""
import re

import pytest
import torch

from mmlowformer.checkpoint.compatibility import fitting_state_dict
from mmlowformer.errors import UserError
from mmlowformer.models.state_dict_keys import authors_names

from .test_tracker import make_tracker

# Written by hand from the authors' lib/models/mobilevit_track.
PARTS = {
    'correlation.search_norm.': 'neck.BN_x.',
    'correlation.template_norm.': 'neck.BN_z.',
    'correlation.weights.0.': 'feature_fusor.pw_corr.CA_layer.fc1.',
    'correlation.weights.2.': 'feature_fusor.pw_corr.CA_layer.fc2.',
    'correlation.projection.': 'feature_fusor.adj_layer.',
    'head.score_tower.0.conv.': 'box_head.pre_ssat_cls.block.conv.',
    'head.score_tower.0.bn.': 'box_head.pre_ssat_cls.block.norm.',
    'head.box_tower.0.conv.': 'box_head.pre_ssat_reg.block.conv.',
    'head.box_tower.0.bn.': 'box_head.pre_ssat_reg.block.norm.',
    'head.score.0.convs.0.': 'box_head.conv1_ctr.0.',
    'head.score.0.convs.2.': 'box_head.conv1_ctr.2.',
    'head.score.0.norm.': 'box_head.conv1_ctr.4.',
    'head.score.1.convs.0.': 'box_head.conv2_ctr.0.',
    'head.score.1.convs.2.': 'box_head.conv2_ctr.2.',
    'head.score.1.norm.': 'box_head.conv2_ctr.4.',
    'head.score.2.convs.0.': 'box_head.conv3_ctr.0.',
    'head.score.2.convs.2.': 'box_head.conv3_ctr.2.',
    'head.score.2.norm.': 'box_head.conv3_ctr.4.',
    'head.score.3.': 'box_head.conv4_ctr.',
}
BRANCHES = {'score': 'ctr', 'offset': 'offset', 'size': 'size'}
BLOCK = re.compile(r'head\.(score|box)_tower\.([1-9])\.')


def authors_name(name):
    block = BLOCK.match(name)
    if block:
        tower = dict(score='cls', box='reg')[block[1]]
        return name.replace(
            block[0], f'box_head.global_rep_{tower}.{int(block[2]) - 1}.')
    for branch, theirs in BRANCHES.items():
        if name.startswith(f'head.{branch}.'):
            name = name.replace(f'head.{branch}.', 'head.score.')
            prefix = next(part for part in PARTS if name.startswith(part))
            return name.replace(prefix, PARTS[prefix].replace(
                '_ctr', f'_{theirs}'))
    prefix = next(part for part in PARTS if name.startswith(part))
    return name.replace(prefix, PARTS[prefix])


def authors_file(model):
    """A checkpoint like the authors', with aliases of parts."""
    state = model.state_dict()
    backbone = {name.removeprefix('backbone.'): value
                for name, value in state.items()
                if name.startswith('backbone.')}
    # Within a block the names are those of the backbone's.
    blocks = {name: f'stages.2.1.{name.split(".", 3)[3]}' for name in state
              if BLOCK.match(name)}
    inner = authors_names([*backbone, *blocks.values()])
    found = {f'backbone.{inner[name]}': value
             for name, value in backbone.items()}
    for name, value in list(found.items()):
        if '.input_stem.' in name:
            found[name.replace('backbone.input_stem', 'conv_1')] = value
    for name, value in state.items():
        if name in blocks:
            rest = inner[blocks[name]].removeprefix(
                'backbone.stages.2.op_list.1.')
            found[authors_name(BLOCK.match(name)[0]) + rest] = value
        elif not name.startswith('backbone.'):
            found[authors_name(name)] = value
    return dict(net=found, epoch=300)


def test_files_of_the_authors_load():
    model = make_tracker('b0')
    content = authors_file(model)
    assert 'box_head.global_rep_reg.3.total.0.0.main.1.pwise.0.weight' in \
        content['net']
    assert 'backbone.backbone.stages.2.op_list.1.total.0.0.main.0.weight' in \
        content['net']
    torch.manual_seed(1)
    other = make_tracker('b0')
    state = fitting_state_dict(other, content, 'theirs.pth', partial=False)
    other.load_state_dict(state, strict=False)
    for name, value in other.state_dict().items():
        assert value.equal(model.state_dict()[name]), name


def test_other_files_say_what_is_missing():
    content = authors_file(make_tracker('b0'))
    with pytest.raises(UserError, match='does not fit the model: .* of its'):
        fitting_state_dict(make_tracker('b1'), content, 'theirs.pth', False)
