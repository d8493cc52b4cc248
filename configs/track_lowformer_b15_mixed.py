# The authors' mixture: LaSOT, GOT-10k and COCO, equally often. TrackingNet is
# one more line:
#   dict(type='mmlowformer.TrackingNet', data_root='data/trackingnet',
#        chunks=('TRAIN_0', 'TRAIN_1', 'TRAIN_2', 'TRAIN_3')),
_base_ = 'track_lowformer_b15_got10k.py'

train_dataloader = dict(
    dataset=dict(
        weights=(1, 1, 1),
        datasets=[
            dict(
                type='mmlowformer.LaSOT', data_root='data/lasot',
                ann_file='training_set.txt'),
            dict(
                type='mmlowformer.GOT10k', data_root='data/got10k/',
                split='train'),
            dict(
                type='mmlowformer.CocoObjects', data_root='data/coco',
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017/')),
        ]))
