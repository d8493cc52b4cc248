# LowFormer-b0 from scratch on the data of tools/make_shapes.py: minutes on a
# CPU.
_base_ = 'lowformer_b0_in1k.py'

data_root = 'data/shapes/folders/'
classes = ('circle', 'square', 'star', 'triangle')  # the folders, sorted

model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    backbone=dict(drop_path_rate=0.),
    head=dict(
        num_classes=len(classes),
        loss=dict(_delete_=True, type='CrossEntropyLoss')),
    train_cfg=None)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='RandomFlip', prob=[0.25, 0.25],
         direction=['horizontal', 'vertical']),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='PackInputs'),
]
dataset = dict(
    _delete_=True,
    type='CustomDataset',
    data_root=data_root,
    metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=32, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, data_prefix='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, data_prefix='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, ))
test_evaluator = val_evaluator

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=3e-4, weight_decay=0.05, fused=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
# A training this short is over before an average of it means anything.
custom_hooks = []
# 1 CPU x 32 images
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(logger=dict(interval=10))
