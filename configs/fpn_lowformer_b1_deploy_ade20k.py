# Validated and tested with a deployed copy of the model, whose outputs are the
# same. Checkpoints contain the plain network.
_base_ = 'fpn_lowformer_b1_ade20k.py'

custom_hooks = [dict(type='mmlowformer.DeployHook')]
