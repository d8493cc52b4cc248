# Ablation 2: no attention and no MLP, and more convolutional blocks instead.
_base_ = 'lowformer_b1_in1k.py'

model = dict(backbone=dict(arch='b1_no_attention', init_cfg=None))
