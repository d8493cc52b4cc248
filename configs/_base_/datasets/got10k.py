data_root = 'data/got10k/'

train_pipeline = [
    dict(type='mmlowformer.SamplePair', max_gap=200),
    dict(type='mmlowformer.LoadPair'),
    dict(type='mmlowformer.PairRandomGrayscale', prob=0.05),
    dict(type='mmlowformer.PairRandomFlip', prob=0.5),
    dict(type='mmlowformer.JitterSearch', scale=0.25, center=3.),
    dict(type='mmlowformer.PairCrop', search_size=224, template_size=112),
    dict(type='mmlowformer.IndependentBrightness', low=0.8, high=1.2),
    dict(type='mmlowformer.IndependentFlip', prob=0.5),
    dict(type='mmlowformer.PackPair'),
]
test_pipeline = [dict(type='mmlowformer.PackVideo')]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmlowformer.TrackingPairs',
        length=60000,
        pipeline=train_pipeline,
        datasets=[
            dict(
                type='mmlowformer.GOT10k', data_root=data_root,
                split='train'),
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmlowformer.GOT10k', data_root=data_root, split='val',
        test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='mmlowformer.TrackingMetric')
test_evaluator = val_evaluator
