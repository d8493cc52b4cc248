_base_ = 'default_runtime.py'

default_scope = 'mmlowformer'
default_hooks = dict(checkpoint=dict(save_best='track/AO', rule='greater'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='Visualizer', vis_backends=vis_backends, name='visualizer')
