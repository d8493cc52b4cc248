# The recipe published for b1.5, of the same widths; none is for e1.
_base_ = 'lowformer_b15_in1k.py'

model = dict(backbone=dict(arch='e1'))
