# A classifier on a folder per class. Deprecated, works until the next release:
# python tools/data.py config folders DIR writes a plain config instead.
_base_ = __import__('mmlowformer').get_config_path('lowformer_b0_in1k')

data_root = '{{ fileDirname }}'  # where this file is
train_images = 'images'  # a folder in it for each class
train_list = 'train.txt'  # of tools/data.py split; None: all of the folder
val_images = 'images'
val_list = 'val.txt'
classes = None  # the folders of train_images, sorted
image_size = (224, 224)  # of the crops
epochs = 50
batch_size = 32
# Of the backbone: the published ImageNet weights, a file, or None.
weights = 'hf-hub:timm/lowformer_b0.in1k'

# The rest depends on these variables, also if --cfg-options sets them.
from mmlowformer.datasets.custom_config import custom_classification

globals().update(custom_classification(globals()))

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

crop_size = image_size[::-1]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=crop_size,
         crop_ratio_range=(0.35, 1.0), backend='pillow',
         interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    # As on ImageNet, tested is the center of 95 %.
    dict(type='ResizeEdge', scale=round(max(image_size) / 0.95), edge='short',
         backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=crop_size),
    dict(type='PackInputs'),
]
dataset = dict(
    _delete_=True, type='CustomDataset', data_root=data_root,
    metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size, num_workers=2,
    dataset=dict(**dataset, ann_file=train_list or '',
                 data_prefix=train_images, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=batch_size, num_workers=2,
    dataset=dict(**dataset, ann_file=val_list or '', data_prefix=val_images,
                 pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 5) if len(classes) >= 10 else (1, ))
test_evaluator = val_evaluator

total = epochs * iterations
warm_up = max(total // 10, min(20, total // 2))
train_cfg = dict(max_epochs=epochs, val_interval=max(1, epochs // 10))
# 1e-3 for 512 images is the rate on ImageNet, from random weights.
lr_from_scratch = batch_size * (3e-4 / 32)
lr_with_weights = batch_size * (1e-3 / 512)
optim_wrapper = dict(
    optimizer=dict(lr=lr_with_weights if weights else lr_from_scratch,
                   weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0,
         end=warm_up),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs,
         eta_min=1e-6, convert_to_iter_based=True),
][0 if warm_up else 1:]
# An average of the weights means something after long trainings only.
custom_hooks = []
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(
    logger=dict(interval=max(1, min(50, iterations // 5))),
    checkpoint=dict(interval=max(1, epochs // 10)))
