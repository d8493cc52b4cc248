"""Fetch and check the weights that a config starts from."""
from mmengine.config import Config

from ..config.loading import dicts_in, kind_of
from ..errors import UserError
from ..models.state_dict_keys import lowformer_prefixes
from ..utils.console import warn
from ..utils.safe_load import check_checkpoint, state_dict_of
from .download import local_checkpoint
from .embedded_config import check_trained_classes, trained_classes

MOST_PREFIXES = 5


def fetch_weights(cfg: Config) -> None:
    """Replace URLs by local files, and check all files."""
    if cfg.get('load_from'):
        cfg.load_from = local_checkpoint(cfg.load_from)
        _compare_classes(cfg)
    for path, init in dicts_in(cfg.model, 'model'):
        if kind_of(init) != 'Pretrained':
            continue
        if not isinstance(init.get('checkpoint'), str):
            raise UserError(f'{path} has the type Pretrained, but names no '
                            f'checkpoint: {path}.checkpoint=FILE')
        if not cfg.get('resume'):
            init['checkpoint'] = local_checkpoint(init['checkpoint'])
            _check_prefix(init, path)


def _compare_classes(cfg: Config) -> None:
    """Compare the classes of a loaded head with the data set's."""
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
