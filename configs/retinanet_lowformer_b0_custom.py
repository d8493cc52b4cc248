# RetinaNet on custom boxes. Deprecated, works until the next release:
# python tools/data.py config boxes DIR writes a plain config instead.
_base_ = __import__('mmlowformer').get_config_path(
    'retinanet_lowformer_b0_coco')

data_root = '{{ fileDirname }}'  # where this file is
train_ann_file = 'train.json'  # in COCO's format
val_ann_file = 'val.json'
train_images = 'images'
val_images = 'images'
classes = None  # those of train_ann_file, in its order
image_size = (512, 512)  # width and height that an image has to fit into
epochs = 50
batch_size = 8
# Of the backbone: the published ImageNet weights, a file, or None.
weights = 'hf-hub:timm/lowformer_b0.in1k'

# The rest depends on these variables, also if --cfg-options sets them.
import os

from mmlowformer.datasets.custom_config import custom_detection

globals().update(custom_detection(globals()))

norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=weights) if weights else
        None),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(num_classes=len(classes), norm_cfg=norm_cfg))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor')),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', keep_ratio=True, scale=tuple(
                    round(side * times) for side in image_size))
                for times in (0.75, 1, 1.25)
            ],
            [
                dict(type='RandomFlip', prob=0.),
                dict(type='RandomFlip', prob=1.),
            ],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                               'scale_factor', 'flip', 'flip_direction')),
            ],
        ]),
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        **dataset, ann_file=train_ann_file, data_prefix=dict(img=train_images),
        # Images without boxes are negatives.
        filter_cfg=None, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=val_ann_file, data_prefix=dict(img=val_images),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=os.path.join(data_root, val_ann_file))
test_evaluator = val_evaluator

total = epochs * iterations
warm_up = min(500, max(total // 10, min(20, total // 2)))
val_interval = max(1, epochs // 10)
train_cfg = dict(max_epochs=epochs, val_interval=val_interval)
# 1e-4 for 16 images is the rate on COCO, from weights of ImageNet.
lr_from_scratch = batch_size * (1e-3 / 16)
lr_with_weights = batch_size * (1e-4 / 16)
optim_wrapper = dict(
    optimizer=dict(lr=lr_with_weights if weights else lr_from_scratch),
    clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0,
         end=warm_up),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs,
         eta_min=1e-6, convert_to_iter_based=True),
][0 if warm_up else 1:]
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(
    logger=dict(interval=max(1, min(50, iterations // 5))),
    checkpoint=dict(interval=val_interval))
