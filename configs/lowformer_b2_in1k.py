_base_ = [
    '_base_/models/lowformer_classifier.py',
    '_base_/datasets/imagenet_strong.py',
    '_base_/schedules/imagenet_320e.py',
    '_base_/classification_runtime.py',
]

# The recipe published for b1.5; none is for b2.
# 8 GPUs x 128 images, 320 epochs.
model = dict(
    backbone=dict(arch='b2', drop_path_rate=0.1),
    head=dict(in_channels=384, hidden_channels=(2304, 2560)),
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.2),
        dict(type='CutMix', alpha=0.2),
    ]))
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=1024)
