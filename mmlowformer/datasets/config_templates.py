"""Configs for custom data, as ``string.Template`` texts."""

HEAD = '''\
#
# Written by python tools/data.py config $kind, see docs/custom_data.md. Edit
# it; the command does not overwrite it.
_base_ = $base

data_root = $data_root  # by default the folder of this file
'''
WEIGHTS = '''\
# $published
# None trains the backbone from scratch.
weights = $weights
'''
TAIL = '''\
# Images per step that lr is for: a batch, at most $count.
auto_scale_lr = dict(base_batch_size=$base_batch_size)
default_hooks = dict(
    logger=dict(interval=log_interval),
    checkpoint=dict(interval=val_interval))
'''

DETECTION = '''\
# RetinaNet with LowFormer-$arch on custom data.
''' + HEAD + '''\
train_ann_file = $train_ann_file  # COCO format, $count images
val_ann_file = $val_ann_file
train_images = $train_images
val_images = $val_images
# The categories of train_ann_file, in its order.
classes = $classes

image_size = $image_size  # width and height into which images are resized
tta_scales = $tta_scales  # 0.75, 1 and 1.25 times
epochs = $epochs
batch_size = $batch_size  # images per GPU
''' + WEIGHTS + '''\
# 1e-3 per 16 images from scratch, 1e-4 per 16 (as on COCO) with weights.
lr_from_scratch = $lr_from_scratch
lr_with_weights = $lr_with_weights
lr = lr_with_weights if weights else lr_from_scratch
# A tenth of $epochs epochs x $iterations iterations, about 20 to 500.
warm_up = $warm_up
val_interval = $val_interval  # epochs between checkpoints: ten in all
log_interval = $log_interval  # five per epoch, at most 50 iterations apart
# The base's anchors: scale times stride.$anchor_fit
anchor_scale = $anchor_scale
anchor_ratios = $anchor_ratios
anchor_strides = $anchor_strides

norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=weights) if weights else
        None),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        anchor_generator=dict(
            octave_base_scale=anchor_scale,
            ratios=anchor_ratios,
            strides=anchor_strides)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', keep_ratio=True, scale=scale)
         for scale in tta_scales],
        [dict(type='RandomFlip', prob=prob) for prob in (0., 1.)],
        [dict(type='PackDetInputs',
              meta_keys=(*meta_keys, 'flip', 'flip_direction'))],
    ]),
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        **dataset, ann_file=train_ann_file, pipeline=train_pipeline,
        data_prefix=dict(img=train_images),
        filter_cfg=None))  # images without boxes are kept as negatives
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=val_ann_file, pipeline=test_pipeline,
        data_prefix=dict(img=val_images)))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + '/' + val_ann_file)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=epochs, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=lr), clip_grad=dict(max_norm=35))
param_scheduler = [
$warm_up_scheduler    dict(type='CosineAnnealingLR', by_epoch=True,
         T_max=epochs, eta_min=1e-6, convert_to_iter_based=True),
]
''' + TAIL

SEGMENTATION = '''\
# Semantic FPN with LowFormer-$arch on custom data.
''' + HEAD + '''\
train_images = $train_images
train_masks = $train_masks  # a.jpg.png or a.png for a.jpg, values are classes
train_list = $train_list  # $count images; '': all of the folder
val_images = $val_images
val_masks = $val_masks
val_list = $val_list
# The lines of classes.txt in train_masks, value 0 first.
classes = $classes

# Width and height of the crops to train on. Whole images are resized to about
# this size before: cut much larger ones into tiles, see docs/custom_data.md.
image_size = $image_size
batch_size = $batch_size  # images per GPU
''' + WEIGHTS + '''\
# 1e-3 per 16 images from scratch, 2e-4 per 32 (as on ADE20K) with weights.
lr_from_scratch = $lr_from_scratch
lr_with_weights = $lr_with_weights
lr = lr_with_weights if weights else lr_from_scratch
max_iters = $max_iters  # $epochs epochs x $iterations iterations
warm_up = $warm_up  # a tenth of max_iters, about 20 to 500
val_interval = $val_interval  # iterations between checkpoints: ten in all
log_interval = $log_interval  # ten in all, at most 50 iterations apart

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
        **dataset, ann_file=train_list, pipeline=train_pipeline,
        data_prefix=dict(img_path=train_images, seg_map_path=train_masks)))
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=val_list, pipeline=test_pipeline,
        data_prefix=dict(img_path=val_images, seg_map_path=val_masks)))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
$warm_up_scheduler    dict(type='PolyLR', power=0.9, eta_min=1e-6,
         by_epoch=False, begin=warm_up, end=max_iters),
]
''' + TAIL

CLASSIFICATION = '''\
# LowFormer-$arch as a classifier of custom data.
''' + HEAD + '''\
train_images = $train_images  # a folder in it for each class
train_list = $train_list  # $count images; '': all of the folder
val_images = $val_images
val_list = $val_list
# The folders in train_images, sorted.
classes = $classes

image_size = $image_size  # width and height of the crops
short_edge = $short_edge  # to resize to for tests, so that crops hold 95 %
epochs = $epochs
batch_size = $batch_size  # images per GPU
''' + WEIGHTS + '''\
# 3e-4 per 32 images from scratch, 1e-3 per 512 (as on ImageNet) with weights.
lr_from_scratch = $lr_from_scratch
lr_with_weights = $lr_with_weights
lr = lr_with_weights if weights else lr_from_scratch
# A tenth of $epochs epochs x $iterations iterations, about 20 or more.
warm_up = $warm_up
val_interval = $val_interval  # epochs between checkpoints: ten in all
log_interval = $log_interval  # five per epoch, at most 50 iterations apart
topk = $topk  # of the accuracy; (1, 5) from ten classes

model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=weights) if weights else
        None),
    head=dict(
        num_classes=len(classes),
        loss=dict(
            _delete_=True, type='LabelSmoothLoss', mode='original',
            label_smooth_val=0.1)),
    train_cfg=None)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size[::-1],
         crop_ratio_range=(0.35, 1.0), backend='pillow',
         interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='ResizeEdge', scale=short_edge, edge='short', backend='pillow',
         interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=image_size[::-1]),
    dict(type='PackInputs'),
]
dataset = dict(
    _delete_=True,
    type='CustomDataset',
    data_root=data_root,
    metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    dataset=dict(
        **dataset, ann_file=train_list, pipeline=train_pipeline,
        data_prefix=train_images))
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    dataset=dict(
        **dataset, ann_file=val_list, pipeline=test_pipeline,
        data_prefix=val_images))
test_dataloader = val_dataloader
val_evaluator = dict(topk=topk)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=epochs, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.05))
param_scheduler = [
$warm_up_scheduler    dict(type='CosineAnnealingLR', by_epoch=True,
         T_max=epochs, eta_min=1e-6, convert_to_iter_based=True),
]
custom_hooks = []  # averaged weights need a long training
''' + TAIL
