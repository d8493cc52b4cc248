# RetinaNet from scratch on the images of tools/make_shapes.py: minutes on a
# CPU.
_base_ = [
    '_base_/models/retinanet_lowformer.py',
    '_base_/datasets/shapes_detection.py',
    '_base_/schedules/retinanet_1x.py',
    '_base_/detection_runtime.py',
]

# The base's 256 channels and 4 convolutions suit 80 classes and large images.
model = dict(
    backbone=dict(arch='b0', drop_path_rate=0., init_cfg=None),
    neck=dict(
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        num_outs=3,
        norm_cfg=dict(type='BN')),
    bbox_head=dict(
        # BatchNorm would mix the statistics of all levels.
        norm_cfg=dict(type='GN', num_groups=8),
        anchor_generator=dict(strides=[8, 16, 32]),
        reg_decoded_bbox=True,
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
        num_classes=len(_base_.classes),
        in_channels=64,
        feat_channels=64,
        stacked_convs=2))

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
# 1 CPU x 8 images
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(
    logger=dict(interval=10), visualization=dict(score_thr=0.5))
