# Fine-tuning on custom images: a folder for each class, below train/
# and val/. Copy this file, and set data_root and classes.
#
# The backbone starts from the published ImageNet weights, or from those that
# --weights names: in the authors' or timm's key format, or of a training with
# this project. The classifier starts from random weights.
# It finds its base from any folder.
_base_ = __import__('mmlowformer').get_config_path('lowformer_b1_in1k')

data_root = 'data/shapes/folders/'
classes = ('circle', 'square', 'star', 'triangle')  # the folders, sorted

model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='hf-hub:timm/lowformer_b1.in1k')),
    head=dict(
        num_classes=len(classes),
        loss=dict(
            _delete_=True, type='LabelSmoothLoss', mode='original',
            label_smooth_val=0.1)),
    train_cfg=None)

dataset = dict(
    type='CustomDataset',
    data_root=data_root,
    metainfo=dict(classes=classes))
train_dataloader = dict(
    num_workers=2,
    dataset=dict(_delete_=True, **dataset, data_prefix='train',
                 pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(_delete_=True, **dataset, data_prefix='val',
                 pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, ))
test_evaluator = val_evaluator

# The first layers are kept close to what ImageNet taught them: b1 has 16
# depths, so that the stem learns at 0.2 of the head's rate.
optim_wrapper = dict(
    optimizer=dict(lr=5e-4, weight_decay=0.05),
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.9, norm_decay_mult=0., bias_decay_mult=0.))
max_epochs = 50
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=2, end=max_epochs,
         T_max=max_epochs - 2, eta_min=1e-6, convert_to_iter_based=True),
]
custom_hooks = []
# 1 GPU x 64 images
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(logger=dict(interval=10))
