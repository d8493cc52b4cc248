"""Choose, fetch and check the weights that a training starts from."""
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.config import Config

from ..config.loading import dicts_in, kind_of
from ..errors import UserError
from ..models import LowFormer
from ..models.state_dict_keys import lowformer_prefixes
from ..utils.checkpoint_schemes import (
    TRAIN_THEM,
    FetchError,
    published_weights,
)
from ..utils.console import warn
from ..utils.safe_load import check_checkpoint, state_dict_of
from ..utils.text import counted

MOST_PREFIXES = 5


def set_weights(cfg: Config, weights: str) -> None:
    """Let each LowFormer in a model start from weights, or from scratch.

    ``weights`` are 'published', 'none', a file, a URL or 'hf-hub:NAME'.
    """
    if cfg.get('load_from'):
        raise UserError(f'--weights {weights}: load_from={cfg.load_from} '
                        'would replace them. Leave out one of the two.')
    parts = dict(dicts_in(cfg.get('model') or {}, 'model'))
    backbones = {path: part for path, part in parts.items()
                 if kind_of(part) == LowFormer.__name__}
    if not backbones:
        raise UserError(f'--weights {weights}: the model has no LowFormer. '
                        'Other models start from --cfg-options load_from=FILE')
    for path, backbone in backbones.items():
        for above, part in parts.items():
            if path.startswith(f'{above}.'):
                _release(part, above, weights)
        source = _source(weights, backbone.get('arch', 'b1'))
        backbone['init_cfg'] = source and dict(
            type='Pretrained', checkpoint=source)
        backbone.pop('pretrained', None)
        _set_learning_rate(cfg, source)


def _set_learning_rate(cfg: Config, weights: str | None) -> None:
    """Choose between the two rates that a config of custom data has."""
    rates = cfg.get('lr_from_scratch'), cfg.get('lr_with_weights')
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    # Another one was chosen by hand.
    if None not in rates and optimizer.get('lr') in rates:
        cfg.weights = weights
        cfg.lr = optimizer['lr'] = rates[bool(weights)]


def _release(part: dict, path: str, weights: str) -> None:
    """Let a model leave the weights of its LowFormer alone."""
    if any(kind_of(init) == 'Pretrained'
           for _, init in dicts_in(part.get('init_cfg'))):
        raise UserError(f'--weights {weights}: {path}.init_cfg would replace '
                        f'them. Add --cfg-options {path}.init_cfg=None')
    # MMSegmentation passes it on to the backbone.
    if part.get('pretrained'):
        part['pretrained'] = None


def _source(weights: str, arch: object) -> str | None:
    """The checkpoint that a word of the command line stands for."""
    if weights == 'none':
        return None
    if weights != 'published':
        # A single letter is the drive of a Windows path.
        if len(urlparse(weights).scheme) < 2 and not Path(weights).is_file():
            raise UserError(f'--weights {weights}: no such file. Name '
                            'published, none, a file, a URL or '
                            'hf-hub:REPOSITORY')
        return weights
    published = published_weights(arch)
    if published is None:
        remedy = (TRAIN_THEM.format(arch) if isinstance(arch, str) else
                  'Name a file of your own')
        raise UserError(f'--weights published: no weights of arch={arch!r} '
                        f'were published. {remedy}, or --weights none')
    return published


def fetch_weights(cfg: Config) -> None:
    """Replace URLs by local files, and check all files."""
    if cfg.get('load_from'):
        cfg.load_from = _local(cfg.load_from)
        _compare_classes(cfg)
    backbones = tuple(f'{path}.' for path, part in dicts_in(cfg.model, 'model')
                      if kind_of(part) == LowFormer.__name__)
    for path, init in dicts_in(cfg.model, 'model'):
        if kind_of(init) != 'Pretrained':
            continue
        if not isinstance(init.get('checkpoint'), str):
            raise UserError(f'{path} has the type Pretrained, but names no '
                            f'checkpoint: {path}.checkpoint=FILE')
        if not cfg.get('resume'):
            try:
                init['checkpoint'] = _local(init['checkpoint'])
            except FetchError as error:
                if not path.startswith(backbones):
                    raise
                raise UserError(f'{error}: --weights FILE. Or train from '
                                'scratch with --weights none: expect far '
                                f'less in {_length(cfg)}') from error
            _check_prefix(init, path)


def _length(cfg: Config) -> str:
    settings = cfg.get('train_cfg') or {}
    for setting, unit in (('max_epochs', 'epoch'), ('max_iters', 'iteration')):
        if settings.get(setting):
            return counted(settings[setting], unit)
    return 'one training'


def _local(checkpoint: str) -> str:
    # Loaded if a config names weights.
    from .download import local_checkpoint
    return local_checkpoint(checkpoint)


def _compare_classes(cfg: Config) -> None:
    """Compare the classes of a loaded head with the data set's."""
    from .embedded_config import check_trained_classes, trained_classes
    content = check_checkpoint(cfg.load_from) or {}
    try:
        check_trained_classes(cfg, 'train_dataloader',
                              trained_classes(content), cfg.load_from)
    except UserError as error:
        if cfg.get('resume'):
            raise
        warn(str(error))


def _check_prefix(init: dict, path: str) -> None:
    prefix = str(init.get('prefix') or '').rstrip('.')
    content = check_checkpoint(init['checkpoint']) if prefix else None
    if content is None:
        return
    names = state_dict_of(content)
    if any(name.startswith(f'{prefix}.') for name in names):
        return
    first = (lowformer_prefixes(names)
             or sorted({name.split('.')[0] for name in names}))
    raise UserError(
        f'{path}.prefix is {prefix!r}, but no tensor of '
        f'{init["checkpoint"]} is below it. Their names begin with '
        f'{", ".join(first[:MOST_PREFIXES])}'
        + (', ...' if len(first) > MOST_PREFIXES else ''))


def check_pretrained(model: dict) -> None:
    """Check that the weights named in ``init_cfg`` can be loaded."""
    for _, part in dicts_in(model):
        init = part.get('init_cfg')
        if not isinstance(init, dict) or init.get('type') != 'Pretrained':
            continue
        content = check_checkpoint(init['checkpoint'])
        is_backbone = kind_of(part) == LowFormer.__name__
        if content and is_backbone and not init.get('prefix'):
            _check_backbone(part, content)


def _check_backbone(backbone: dict, content: dict) -> None:
    arguments = {key: value for key, value in backbone.items()
                 if key not in ('type', '_scope_')}
    with torch.device('meta'):
        model = LowFormer(**arguments)
    try:
        model.own_tensors(state_dict_of(content))
    except ValueError as error:
        published = published_weights(backbone.get('arch', 'b1'))
        raise UserError(str(error) + (
            f' --weights published takes {published}.' if published else '')
            ) from error
