# A small tracker from scratch on the videos of tools/make_shapes.py --videos:
# minutes on a CPU.
_base_ = [
    '_base_/models/lowformer_tracker.py',
    '_base_/datasets/got10k.py',
    '_base_/schedules/tracking_300e.py',
    '_base_/tracking_runtime.py',
]

data_root = 'data/shape_videos/got10k/'
search_size, template_size = 128, 64

model = dict(
    backbone=dict(
        arch=dict(
            variant='b0', widths=(8, 16, 32, 64, 64), depths=(0, 1, 1, 2, 0)),
        init_cfg=None),
    # A quarter of the head of the large trackers.
    head=dict(depths=(1, 2), depthwise_from_channels=0),
    search_size=search_size,
    template_size=template_size,
    # So few iterations are enough if each learns from the right place.
    box_cell='true')

train_pipeline = [
    dict(type='mmlowformer.SamplePair', max_gap=60),
    dict(type='mmlowformer.LoadPair'),
    dict(type='mmlowformer.PairRandomFlip', prob=0.5),
    dict(type='mmlowformer.JitterSearch', scale=0.2, center=2.),
    dict(
        type='mmlowformer.PairCrop', search_size=search_size,
        template_size=template_size),
    dict(type='mmlowformer.PackPair'),
]
max_iters, batch_size = 1000, 32
train_dataloader = dict(
    batch_size=batch_size, num_workers=1,
    dataset=dict(
        length=max_iters * batch_size, pipeline=train_pipeline,
        datasets=[
            dict(
                type='mmlowformer.GOT10k', data_root=data_root,
                split='train'),
        ]))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters,
    val_interval=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(_delete_=True),
    clip_grad=dict(max_norm=1.))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0,
         end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters,
         T_max=max_iters - 100, eta_min=1e-5),
]
# 1 CPU x 32 pairs
auto_scale_lr = dict(base_batch_size=32)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=max_iters // 5))
