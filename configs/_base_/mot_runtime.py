_base_ = 'default_runtime.py'

default_scope = 'mmdet'
default_hooks = dict(
    checkpoint=dict(save_best='motchallenge-metric/HOTA', rule='greater'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='TrackLocalVisualizer', vis_backends=vis_backends, name='visualizer')
