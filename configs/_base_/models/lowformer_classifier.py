# LowFormer with its own classifier, for MMPreTrain.
# A config sets the backbone's arch, and the head's channels.
model = dict(
    type='mmlowformer.LowFormerImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True),
    backbone=dict(type='mmlowformer.LowFormer', out_indices=(3, )),
    head=dict(
        type='mmlowformer.LowFormerClsHead',
        num_classes=1000,
        # Binary cross-entropy; the weight makes a mean over the classes of
        # MMPreTrain's sum.
        loss=dict(
            type='LabelSmoothLoss',
            mode='original',
            use_sigmoid=True,
            label_smooth_val=0.1,
            loss_weight=1 / 1000)),
    # One of the two at random, for each batch.
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.1),
        dict(type='CutMix', alpha=0.1),
    ]))
