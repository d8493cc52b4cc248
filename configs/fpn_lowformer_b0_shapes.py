# Semantic FPN from scratch on the data of tools/make_shapes.py: minutes on a
# CPU.
_base_ = 'fpn_lowformer_b0_ade20k.py'

data_root = 'data/shapes/ade/'
classes = ('ground', 'circle', 'square', 'triangle', 'star')
palette = [[60, 60, 60], [220, 20, 60], [0, 110, 220], [0, 160, 60],
           [250, 170, 30]]

# 256 and 128 channels are made for 150 classes and big images.
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(drop_path_rate=0.),
    neck=dict(out_channels=64),
    decode_head=dict(
        num_classes=len(classes), in_channels=[64, 64, 64, 64], channels=64))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=[0.25, 0.25],
         direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=classes, palette=palette),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    # 0 in a mask is what has no label; the classes count from 1.
    reduce_zero_label=True)
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 1200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3, fused=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=20,
         end=max_iters),
]
# 1 CPU x 8 images
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=max_iters // 4))
