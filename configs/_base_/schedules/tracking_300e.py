# 300 epochs of 60,000 pairs with AdamW, as the authors train their tracker;
# validated on whole videos instead of pairs, so not after each epoch.
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=300, val_interval=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=1e-4, fused=True),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=0.1))

param_scheduler = [
    dict(
        type='MultiStepLR', by_epoch=True, begin=0, end=300,
        milestones=[240], gamma=0.1),
]

# 4 GPUs x 32 pairs
auto_scale_lr = dict(enable=False, base_batch_size=128)
