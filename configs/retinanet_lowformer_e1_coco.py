_base_ = [
    '_base_/models/retinanet_lowformer.py',
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/retinanet_1x.py',
    '_base_/detection_runtime.py',
]

# 8 GPUs x 2 images, 12 epochs.
model = dict(
    backbone=dict(
        arch='e1',
        drop_path_rate=0.05,
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_e1.in1k')),
    neck=dict(in_channels=[40, 80, 160, 320]))
