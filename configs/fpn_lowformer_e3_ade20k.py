_base_ = [
    '_base_/models/fpn_lowformer.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/ade20k_40k.py',
    '_base_/segmentation_runtime.py',
]

# 8 GPUs x 4 images, 40k iterations.
model = dict(
    backbone=dict(
        arch='e3',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_e3.in1k')),
    neck=dict(in_channels=[64, 128, 256, 512]))
