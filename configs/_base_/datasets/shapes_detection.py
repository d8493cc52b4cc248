# Images of tools/make_shapes.py, in COCO's format.
_base_ = 'coco_detection.py'

data_root = 'data/shapes/coco/'
classes = ('circle', 'square', 'triangle', 'star')
image_size = (128, 128)

# The base's pipelines, at another size.
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_size
train_pipeline[3].update(
    prob=[0.25, 0.25], direction=['horizontal', 'vertical'])
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_size
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=scale, keep_ratio=True)
    for scale in ((96, 96), (128, 128), (160, 160))
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
