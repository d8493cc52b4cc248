# 20 epochs of warm-up and 300 of cosine decay, as published for LowFormer.
#
# What MMPreTrain cannot express: the published training draws the resolution
# of each batch from 128, 160, 192 and 224; here it is 224. It draws whether a
# batch is mixed; here every batch is.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=320, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.1,
        fused=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=2.0))

param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=20,
        end=320,
        T_max=300,
        convert_to_iter_based=True),
]
custom_hooks = [
    # Tested are the averaged weights, with a decay of 0.9998.
    dict(
        type='EMAHook',
        momentum=2e-4,
        update_buffers=True,
        priority='ABOVE_NORMAL'),
]

# 8 GPUs x 64 images
auto_scale_lr = dict(enable=False, base_batch_size=512)
