_base_ = [
    '_base_/models/lowformer_classifier.py',
    '_base_/datasets/imagenet.py',
    '_base_/schedules/imagenet_320e.py',
    '_base_/classification_runtime.py',
]

# 8 GPUs x 64 images, 320 epochs.
model = dict(
    backbone=dict(arch='b1', drop_path_rate=0.05),
    head=dict(in_channels=256, hidden_channels=(1536, 1600)))
