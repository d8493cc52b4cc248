# RetinaNet from random weights, as in "Rethinking ImageNet Pre-training"
# (https://arxiv.org/abs/1811.08883): normalized neck and head, and six times
# the schedule. Nobody has trained it for this project; the learning rate is
# not tuned.
_base_ = 'retinanet_lowformer_b1_coco.py'

# GroupNorm in the neck and the head, whose levels would mix in BatchNorm. The
# backbone's BatchNorm needs the 16 images of all GPUs (sync_bn in
# default_runtime.py); with fewer images per step, prefer the ImageNet weights.
norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    backbone=dict(init_cfg=None),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg))

# 8 GPUs x 2 images, 72 epochs. As there, the rate drops 60k and 20k iterations
# of 16 images before the end.
max_epochs = 72
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0,
        end=2000),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        milestones=[64, 69],
        gamma=0.1),
]
