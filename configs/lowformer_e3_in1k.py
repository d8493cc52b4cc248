# The recipe published for b3, of the same widths; none is for e3.
_base_ = 'lowformer_b3_in1k.py'

model = dict(backbone=dict(arch='e3'))
