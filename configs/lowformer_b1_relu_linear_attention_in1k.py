# Ablation 3: EfficientViT's ReLU linear attention instead of Lowtention. It
# changes two things at once: there is no MLP, either.
_base_ = 'lowformer_b1_in1k.py'

model = dict(backbone=dict(arch='b1_relu_linear_attention', init_cfg=None))
