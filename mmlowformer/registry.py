"""The ``mmlowformer`` scope of MMEngine's registries.

A config of any OpenMMLab library names what is registered here as
``type='mmlowformer.X'``: MMEngine then imports this module by itself, and the
modules in ``locations`` on the first look-up.
"""
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmlowformer',
                  locations=['mmlowformer.models'])
