# Ablation 1: no convolution is fused. Every FusedMBConv becomes an MBConv, in
# the stem and the downsampling, too. It changes two things at once: the
# attention's transposed convolution becomes a 1x1 and a depthwise one.
_base_ = 'lowformer_b1_in1k.py'

model = dict(backbone=dict(arch='b1_unfused', init_cfg=None))
