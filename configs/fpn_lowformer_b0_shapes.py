# Semantic FPN from scratch on the images of tools/make_shapes.py: minutes on a
# CPU.
_base_ = [
    '_base_/models/fpn_lowformer.py',
    '_base_/datasets/shapes_segmentation.py',
    '_base_/schedules/ade20k_40k.py',
    '_base_/segmentation_runtime.py',
]

# The base's 256 and 128 channels suit 150 classes and large images.
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(arch='b0', drop_path_rate=0., init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    decode_head=dict(
        num_classes=len(_base_.classes), in_channels=[64, 64, 64, 64],
        channels=64))

max_iters = 1200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=20,
         end=max_iters),
]
# 1 CPU x 8 images
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=max_iters // 4))
