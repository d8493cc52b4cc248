"""Folders of exported models whose files a test has written itself."""
from mmlowformer.runtime.model_spec import Description, sha256


def describe_features(folder, form, files, shape, outputs):
    """Write ``model.json`` for a model from images to features."""
    Description(
        task='features', model='', format=form, files=files,
        precision='float32', classes=[], palette=[], input=dict(
            name='images', layout='NCHW', dtype='float32', range=[0, 255],
            channel_order='RGB', shape=shape, least_size=1, mean=[0.] * 3,
            std=[1.] * 3),
        padding=dict(divisor=1, value=0., by='model'),
        prepare=[dict(step='read', library='opencv')],
        outputs=[dict(name=name, shape=shape) for name in outputs],
        sha256={name: sha256(folder / name) for name in files},
        verification=dict(verdict='verified', reason='', rows=[], metrics={},
                          speed=[])).write(folder)
