# Ablation 4: attention at the full resolution of stage 3.
_base_ = 'lowformer_b1_in1k.py'

model = dict(backbone=dict(arch='b1_full_resolution', init_cfg=None))
