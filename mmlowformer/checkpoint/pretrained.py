"""Fetch and check the weights that a config starts from."""
import torch
from mmengine.config import Config

from ..config.loading import dicts_in, kind_of
from ..errors import UserError
from ..models import LowFormer
from ..utils.console import warn
from ..utils.safe_load import check_checkpoint, state_dict_of

MOST_PREFIXES = 5


def fetch_weights(cfg: Config) -> None:
    """Replace URLs by local files, and check all files."""
    if cfg.get('load_from'):
        cfg.load_from = _local(cfg.load_from)
        _compare_classes(cfg)
    for path, init in dicts_in(cfg.model, 'model'):
        if kind_of(init) != 'Pretrained':
            continue
        if not isinstance(init.get('checkpoint'), str):
            raise UserError(f'{path} has the type Pretrained, but names no '
                            f'checkpoint: {path}.checkpoint=FILE')
        if not cfg.get('resume'):
            init['checkpoint'] = _local(init['checkpoint'])
            _check_prefix(init, path)


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
    first = sorted({name.split('.')[0] for name in names})
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
        raise UserError(str(error)) from error
