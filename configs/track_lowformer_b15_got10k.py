_base_ = [
    '_base_/models/lowformer_tracker.py',
    '_base_/datasets/got10k.py',
    '_base_/schedules/tracking_300e.py',
    '_base_/tracking_runtime.py',
]

model = dict(
    backbone=dict(
        arch='b15',
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_b15.in1k')))
