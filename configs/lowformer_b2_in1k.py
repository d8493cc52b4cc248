# The recipe published for b1.5; none is for b2.
_base_ = 'lowformer_b15_in1k.py'

model = dict(backbone=dict(arch='b2'), head=dict(in_channels=384))
