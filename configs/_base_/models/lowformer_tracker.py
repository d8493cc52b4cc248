# The authors' tracker (https://github.com/altair199797/LowFormer-Track). A
# config sets the backbone's arch and init_cfg.
model = dict(
    type='mmlowformer.LowFormerTracker',
    backbone=dict(type='mmlowformer.LowFormer', out_indices=(2, )),
    head=dict(type='mmlowformer.TrackerHead'),
    search_size=224,
    template_size=112,
    data_preprocessor=dict(
        type='mmlowformer.TrackerPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375]))
