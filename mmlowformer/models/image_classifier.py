"""MMPreTrain's classifier, taking weights in the published key formats.

It imports MMPreTrain; the registry imports it when a config names it.
"""
from mmpretrain.models.classifiers import ImageClassifier

from ..registry import MODELS
from .state_dict_keys import by_model_key


@MODELS.register_module()
class LowFormerImageClassifier(ImageClassifier):
    """``ImageClassifier`` of a LowFormer and ``LowFormerClsHead``.

    All that loads a checkpoint into it, ``mmpretrain.get_model`` for example,
    takes the authors' and timm's files as they are. Arguments are those of
    MMPreTrain's ``ImageClassifier``.
    """

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args):
        given = {name.removeprefix(prefix): value
                 for name, value in state_dict.items()}
        state_dict.clear()
        state_dict.update(
            (prefix + _in_classifier(own), given[name])
            for own, name in by_model_key(given).items())
        super()._load_from_state_dict(state_dict, prefix, *args)


def _in_classifier(name: str) -> str:
    of_backbone = name.startswith(('stem.', 'stages.'))
    return f'backbone.{name}' if of_backbone else name
