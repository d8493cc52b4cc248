_base_ = [
    '_base_/models/retinanet_lowformer.py',
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/retinanet_1x.py',
    '_base_/detection_runtime.py',
]

# 8 GPUs x 2 images, 12 epochs.
model = dict(
    backbone=dict(
        arch='e2',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_e2.in1k')),
    neck=dict(in_channels=[64, 128, 256, 512]))
