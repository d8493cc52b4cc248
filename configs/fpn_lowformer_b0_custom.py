# Semantic FPN on custom masks. Deprecated, works until the next release:
# python tools/data.py config masks DIR writes a plain config instead.
_base_ = __import__('mmlowformer').get_config_path('fpn_lowformer_b0_ade20k')

data_root = '{{ fileDirname }}'  # where this file is
train_images = 'images'
train_masks = 'masks'  # a.jpg.png or a.png for a.jpg; values are classes
train_list = 'train.txt'  # names of images; None: all of the folder
val_images = 'images'
val_masks = 'masks'
val_list = 'val.txt'
classes = None  # the lines of classes.txt in train_masks, value 0 first
image_size = (512, 512)  # width and height of the crops to train on
epochs = 50
batch_size = 8
# Of the backbone: the published ImageNet weights, a file, or None.
weights = 'hf-hub:timm/lowformer_b0.in1k'

# The rest depends on these variables, also if --cfg-options sets them.
from mmlowformer.datasets.custom_config import custom_segmentation

globals().update(custom_segmentation(globals()))

model = dict(
    data_preprocessor=dict(size=image_size[::-1]),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=weights) if weights else
        None),
    decode_head=dict(num_classes=len(classes)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.5, 2.0),
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size[::-1], cat_max_ratio=0.95),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='mmlowformer.CustomSegDataset',
    data_root=data_root,
    metainfo=dict(classes=classes),
    reduce_zero_label=False)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        **dataset, ann_file=train_list or '', pipeline=train_pipeline,
        data_prefix=dict(img_path=train_images, seg_map_path=train_masks)))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=val_list or '', pipeline=test_pipeline,
        data_prefix=dict(img_path=val_images, seg_map_path=val_masks)))
test_dataloader = val_dataloader

max_iters = epochs * iterations
warm_up = min(500, max(max_iters // 10, min(20, max_iters // 2)))
val_interval = max(1, epochs // 10) * iterations
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
# 2e-4 for 32 images is the rate on ADE20K, from weights of ImageNet.
lr_from_scratch = batch_size * (1e-3 / 16)
lr_with_weights = batch_size * (2e-4 / 32)
optim_wrapper = dict(
    optimizer=dict(lr=lr_with_weights if weights else lr_from_scratch))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0,
         end=warm_up),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False,
         begin=warm_up, end=max_iters),
][0 if warm_up else 1:]
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(
    logger=dict(interval=max(1, min(50, max_iters // 10))),
    checkpoint=dict(interval=val_interval))
