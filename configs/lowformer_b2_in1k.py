# The recipe published for b1.5; none is for b2. No weights of b2 were
# published: this config trains them, and a training of another b2 config takes
# them by --weights work_dirs/lowformer_b2_in1k/epoch_320.pth.
_base_ = 'lowformer_b15_in1k.py'

model = dict(backbone=dict(arch='b2'), head=dict(in_channels=384))
