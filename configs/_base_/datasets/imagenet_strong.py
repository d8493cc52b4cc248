# ImageNet-1K with the augmentation of the larger variants: RandAugment n2 m5
# and random erasing.
_base_ = 'imagenet.py'

train_pipeline = _base_.train_pipeline
train_pipeline[3].update(num_policies=2, magnitude_level=5)  # RandAugment
train_pipeline.insert(
    4,
    dict(
        type='RandomErasing',
        erase_prob=0.2,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395]))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
