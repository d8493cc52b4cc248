# Image retrieval by LowFormer's features: for each image below val/, are
# there images of the same class among the k most similar ones below train/?
# tools/test.py takes weights of any training or layout.
_base_ = [
    '_base_/classification_runtime.py',
]

data_root = 'data/shapes/folders/'

pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='ResizeEdge',
        scale=235,
        edge='short',
        backend='pillow',
        interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
gallery_dataloader = dict(
    batch_size=64,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=pipeline))
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmlowformer.RetrievalQueries',
        data_root=data_root,
        data_prefix=dict(img_path='val', gallery_path='train'),
        pipeline=pipeline))
test_evaluator = dict(type='RetrievalRecall', topk=(1, 5))
test_cfg = dict(type='TestLoop')

model = dict(
    type='ImageToImageRetriever',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True),
    image_encoder=[
        dict(
            type='mmlowformer.LowFormer',
            arch='b1',
            out_indices=(3, ),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='hf-hub:timm/lowformer_b1.in1k')),
        dict(type='GlobalAveragePooling'),
    ],
    prototype=gallery_dataloader)
