_base_ = [
    '_base_/models/bytetrack_lowformer.py',
    '_base_/datasets/mot17.py',
    '_base_/schedules/retinanet_1x.py',
    '_base_/mot_runtime.py',
]

# 8 GPUs x 2 images, 12 epochs of the detector; the tracker learns nothing.
model = dict(
    detector=dict(
        backbone=dict(
            arch='b1',
            drop_path_rate=0.05,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='hf-hub:timm/lowformer_b1.in1k')),
        neck=dict(in_channels=[32, 64, 128, 256]),
        bbox_head=dict(num_classes=1)))
