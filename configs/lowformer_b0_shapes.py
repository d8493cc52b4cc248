# LowFormer-b0 from scratch on the images of tools/make_shapes.py: minutes on a
# CPU.
_base_ = [
    '_base_/models/lowformer_classifier.py',
    '_base_/datasets/shapes_classification.py',
    '_base_/schedules/imagenet_320e.py',
    '_base_/classification_runtime.py',
]

model = dict(
    data_preprocessor=dict(num_classes=len(_base_.classes)),
    backbone=dict(arch='b0', drop_path_rate=0., init_cfg=None),
    head=dict(
        in_channels=256,
        hidden_channels=(1536, 1600),
        num_classes=len(_base_.classes),
        loss=dict(_delete_=True, type='CrossEntropyLoss')),
    train_cfg=None)

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=3e-4, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
# Averaged weights need a longer training.
custom_hooks = []
# 1 CPU x 32 images
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(logger=dict(interval=10))
