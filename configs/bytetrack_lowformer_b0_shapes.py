# ByteTrack over the small detector of generated images, whose training it has,
# tested on the videos of tools/make_shapes.py --mot.
_base_ = 'retinanet_lowformer_b0_shapes.py'

videos = 'data/shape_crowds/mot17/'
# So that shapes are as large as in the images.
video_size = (224, 168)

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
        obj_score_thrs=dict(high=0.6, low=0.1),
        init_track_thr=0.7,
        num_frames_retain=30))

test_pipeline = [
    dict(
        type='TransformBroadcaster',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=video_size, keep_ratio=True),
            dict(type='LoadTrackAnnotations'),
        ]),
    dict(type='PackTrackInputs'),
]
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='TrackImgSampler'),
    dataset=dict(
        type='MOTChallengeDataset',
        data_root=videos,
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

# What images alone have.
tta_model = tta_pipeline = None
custom_hooks = []
default_hooks = dict(
    visualization=dict(
        _delete_=True, type='TrackVisualizationHook', draw=False),
    checkpoint=dict(save_best='motchallenge-metric/HOTA', rule='greater'))
visualizer = dict(type='TrackLocalVisualizer')
