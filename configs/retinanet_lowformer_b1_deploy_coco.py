# Validated and tested with a deployed copy of the model, whose outputs are the
# same. Checkpoints contain the plain network.
_base_ = 'retinanet_lowformer_b1_coco.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmlowformer.DeployHook'),
]
