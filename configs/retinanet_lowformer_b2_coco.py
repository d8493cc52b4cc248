_base_ = [
    '_base_/models/retinanet_lowformer.py',
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/retinanet_1x.py',
    '_base_/detection_runtime.py',
]

# 8 GPUs x 2 images, 12 epochs.
model = dict(
    # No weights of b2 were published: train them with lowformer_b2_in1k,
    # and add --weights work_dirs/lowformer_b2_in1k/epoch_320.pth.
    backbone=dict(arch='b2', drop_path_rate=0.1),
    neck=dict(in_channels=[48, 96, 192, 384]))
