_base_ = [
    '_base_/models/lowformer_tracker.py',
    '_base_/datasets/got10k.py',
    '_base_/schedules/tracking_300e.py',
    '_base_/tracking_runtime.py',
]

model = dict(
    backbone=dict(
        arch='e2',
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_e2.in1k')))
