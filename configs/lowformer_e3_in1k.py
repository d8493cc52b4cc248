_base_ = [
    '_base_/models/lowformer_classifier.py',
    '_base_/datasets/imagenet_strong.py',
    '_base_/schedules/imagenet_320e.py',
    '_base_/classification_runtime.py',
]

# The recipe published for b3, of the same widths; none is for e3.
# 8 GPUs x 300 images, 320 epochs.
model = dict(
    backbone=dict(arch='e3', drop_path_rate=0.1),
    head=dict(in_channels=512, hidden_channels=(1536, 1600)),
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.2),
        dict(type='CutMix', alpha=0.2),
    ]))
train_dataloader = dict(batch_size=300)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
auto_scale_lr = dict(base_batch_size=2400)
