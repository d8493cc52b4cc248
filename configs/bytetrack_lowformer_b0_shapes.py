# ByteTrack over the small detector of generated images, with its checkpoint or
# trained on frames, tested on the videos of tools/make_shapes.py --mot.
_base_ = 'retinanet_lowformer_b0_shapes.py'

data_root = 'data/shape_crowds/mot17/'
image_size = (160, 120)

# So short a training leaves doubts about what a shape is: one that may be of
# two kinds is one object.
_base_.model.test_cfg.nms.class_agnostic = True
model = dict(
    _delete_=True,
    type='ByteTrack',
    data_preprocessor=dict(
        type='TrackDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        use_det_processor=True),
    detector=_base_.model,
    tracker=dict(
        type='mmlowformer.ClassAgnosticByteTracker',
        motion=dict(type='KalmanFilter'),
        # So short a training makes no detector as sure as a long one.
        obj_score_thrs=dict(high=0.5, low=0.1),
        init_track_thr=0.6,
        num_frames_retain=30))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # The frames of a video are much alike.
    dict(type='PhotoMetricDistortion', hue_delta=90),
    dict(type='RandomFlip', prob=[0.25, 0.25],
         direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(
        type='TransformBroadcaster',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=image_size, keep_ratio=True),
            dict(type='LoadTrackAnnotations'),
        ]),
    dict(type='PackTrackInputs'),
]
train_dataloader = dict(dataset=dict(
    data_root=data_root,
    ann_file='annotations/train_shapes.json',
    data_prefix=dict(img='train/'),
    pipeline=train_pipeline))
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='TrackImgSampler'),
    dataset=dict(
        type='MOTChallengeDataset',
        data_root=data_root,
        ann_file='annotations/test_cocoformat.json',
        data_prefix=dict(img_path='test/'),
        # All that the measures count, whatever the shape is.
        metainfo=dict(classes=('pedestrian', )),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True,
    type='MOTChallengeMetric', metric=['HOTA', 'CLEAR', 'Identity'])
test_evaluator = val_evaluator

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]

# What images alone have.
tta_model = tta_pipeline = None
custom_hooks = []
default_hooks = dict(
    visualization=dict(
        _delete_=True, type='TrackVisualizationHook', draw=False),
    checkpoint=dict(save_best='motchallenge-metric/HOTA', rule='greater'))
visualizer = dict(type='TrackLocalVisualizer')
