_base_ = [
    '_base_/models/fpn_lowformer.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/ade20k_40k.py',
    '_base_/segmentation_runtime.py',
]

# 8 GPUs x 4 images, 40k iterations.
model = dict(
    # No weights of b2 were published: train them with lowformer_b2_in1k,
    # and add --weights work_dirs/lowformer_b2_in1k/epoch_320.pth.
    backbone=dict(arch='b2', drop_path_rate=0.1),
    neck=dict(in_channels=[48, 96, 192, 384]))
