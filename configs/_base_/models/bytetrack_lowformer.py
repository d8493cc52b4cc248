# ByteTrack (https://arxiv.org/abs/2110.06864) over a RetinaNet: MMDetection's
# tracker with its settings. A config sets arch and init_cfg of the detector's
# backbone, the neck's in_channels and num_classes.
_base_ = 'retinanet_lowformer.py'

model = dict(
    _delete_=True,
    type='ByteTrack',
    data_preprocessor=dict(
        type='TrackDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        # The detector is trained on single images.
        use_det_processor=True),
    detector=_base_.model,
    tracker=dict(
        type='ByteTracker',
        motion=dict(type='KalmanFilter'),
        obj_score_thrs=dict(high=0.6, low=0.1),
        init_track_thr=0.7,
        weight_iou_with_det_scores=True,
        match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
        num_frames_retain=30))
