"""The networks that the authors compare b1 with, and others beside them.

The first four are the published ablations: https://arxiv.org/abs/2409.03460.
Each is b1 but for what is said here; keys as in ``LowFormer``.
"""

ABLATIONS: dict[str, dict] = {
    # Two changes: the attention's way up is made of two convolutions, too.
    'b1_unfused': dict(
        variant='b1', conv_block='mbconv', depthwise_from_channels=0,
        attention_ups=('separable', 'separable')),
    # More blocks, the MACs of which come close to those that were taken away.
    'b1_no_attention': dict(
        variant='b1', depths=(1, 2, 2, 7, 7), stem_expand_ratio=2,
        block=('local', )),
    # Two changes: there is no MLP, either.
    'b1_relu_linear_attention': dict(
        variant='b1', block=('relu_linear_attention', 'local')),
    'b1_full_resolution': dict(variant='b1', attention_strides=(1, 1)),
    'b1_full_channels': dict(variant='b1', attention_ratio=1),
    # Full resolution and full channels.
    'b1_plain_attention': dict(
        variant='b1', attention_strides=(1, 1), attention_ratio=1),
    # The attention of stage 3 gets its q, k and v from a dense convolution.
    'b1_all_fused': dict(
        variant='b1', depthwise_from_channels=float('inf'),
        attention_downs=('dense', 'separable')),
    # As in e3.
    'b1_no_mlp': dict(variant='b1', block=('lowtention', 'local')),
    'b1_mlp_only': dict(variant='b1', block=('norm_mlp', 'local')),
    # As in e1 and e2.
    'b1_local_only': dict(variant='b1', block=('local', )),
}
