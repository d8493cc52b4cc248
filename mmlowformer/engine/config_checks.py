"""Check the settings of a config before anything is built from them."""
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import TypeGuard

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from ..config.build_errors import arguments_of, registered, similar
from ..config.loading import dicts_in, kind_of
from ..errors import UserError
from ..utils.console import warn
from .channel_checks import check_channels, check_strides

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LARGEST_SEED = 2**32 - 1


def _is_integer(value: object, least: int, most: float = float('inf')) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)
            and least <= value <= most)


def _is_number(value: object) -> TypeGuard[float]:
    return (isinstance(value, Real) and not isinstance(value, bool)
            and 0 <= float(value) < float('inf'))


def _is_length(value: object) -> bool:
    """Whether it counts steps; some configs compute them by a division."""
    return _is_number(value) and value >= 1 and value == int(value)


LIST = (lambda value: isinstance(value, (list, tuple)), 'has to be a list')
DICT = (lambda value: isinstance(value, dict), 'has to be a dict')
POSITIVE = (lambda value: _is_integer(value, 1),
            'has to be an integer, at least 1')
LENGTH = (_is_length, 'has to be an integer, at least 1')
COUNT = (lambda value: _is_integer(value, 0),
         'has to be an integer, at least 0')
NUMBER = (_is_number, 'has to be a number, at least 0')
TEXT = (lambda value: isinstance(value, str), 'has to be a text')
SEED = (lambda value: _is_integer(value, 0, LARGEST_SEED),
        f'has to be an integer from 0 to {LARGEST_SEED}')

# Outer ones before inner ones.
RULES = {
    'model': DICT, 'model.backbone': DICT, 'optim_wrapper': DICT,
    'optim_wrapper.optimizer': DICT, 'train_cfg': DICT, 'val_cfg': DICT,
    'test_cfg': DICT, 'default_hooks': DICT, 'env_cfg': DICT,
    'custom_hooks': LIST, 'randomness': DICT, 'auto_scale_lr': DICT,
    **dict.fromkeys(DATALOADERS, DICT),
    **{f'{name}.dataset': DICT for name in DATALOADERS},
    **{f'{name}.batch_size': POSITIVE for name in DATALOADERS},
    **{f'{name}.num_workers': COUNT for name in DATALOADERS},
    'train_cfg.max_epochs': LENGTH, 'train_cfg.max_iters': LENGTH,
    'train_cfg.val_interval': LENGTH,
    'optim_wrapper.accumulative_counts': POSITIVE,
    'optim_wrapper.optimizer.lr': NUMBER,
    'optim_wrapper.optimizer.weight_decay': NUMBER,
    'auto_scale_lr.base_batch_size': POSITIVE,
    'default_hooks.logger.interval': POSITIVE,
    'randomness.seed': SEED, 'work_dir': TEXT, 'load_from': TEXT,
    'default_scope': TEXT,
}


def check_settings(cfg: Config) -> None:
    """Refuse values that a setting cannot have."""
    for path, (is_valid, demand) in RULES.items():
        for value in _value(cfg, path.split('.')):
            if value is not None and not is_valid(value):
                raise UserError(f'{path} {demand}, not {value!r}')
    if not cfg.get('model'):
        raise UserError('the config has no model')
    for name in DATALOADERS:
        if cfg.get(name) and not cfg[name].get('dataset'):
            raise UserError(f'{name} has no dataset')
    _warn_of_ignored(cfg)
    _check_feature_maps(cfg.model)


def _check_feature_maps(model: dict) -> None:
    models = {'model': model, 'model.detector': model.get('detector')}
    for path, part in models.items():
        if isinstance(part, dict):
            check_channels(part, path)
            check_strides(part, path)


def _warn_of_ignored(cfg: Config) -> None:
    for name in ('runner_type', 'strategy'):
        if cfg.get(name) not in (None, 'Runner'):
            warn(f"{name} is ignored: mmlowformer's tools use their own "
                 'Runner')


def _value(node: object, names: list[str]) -> Iterator[object]:
    """The value at a path, if there is one."""
    for name in names:
        if not isinstance(node, (dict, Config)) or name not in node:
            return
        node = node[name]
    yield node


def check_training(cfg: Config) -> None:
    """Check that a config has all that a training needs."""
    _check_presence(cfg, ('train_dataloader', 'train_cfg', 'optim_wrapper'),
                    'to train')
    _check_optimizer(cfg)
    _check_saving(cfg)
    if any(cfg.get(name) for name in
           ('val_dataloader', 'val_cfg', 'val_evaluator')):
        _check_presence(cfg, ('val_dataloader', 'val_cfg', 'val_evaluator'),
                        'to validate')
        _check_topk(cfg, 'val_evaluator')


def check_testing(cfg: Config) -> None:
    """Check that a config has all that a test needs."""
    _check_presence(cfg, ('test_dataloader', 'test_cfg', 'test_evaluator'),
                    'to test')
    _check_topk(cfg, 'test_evaluator')


def _check_topk(cfg: Config, name: str) -> None:
    """MMPreTrain would ask torch for more classes than exist."""
    classes = next(_value(cfg, ['model', 'head', 'num_classes']), None)
    for path, evaluator in dicts_in(cfg.get(name), name):
        topk = evaluator.get('topk', 1)
        if kind_of(evaluator) != 'Accuracy' or not _is_number(classes):
            continue
        most = max(topk if isinstance(topk, (list, tuple)) else [topk])
        if most > classes:
            raise UserError(f'{path}.topk counts the {most} best of {classes} '
                            f'classes: --cfg-options {path}.topk=1')


def _check_presence(cfg: Config, names: Iterable[str], purpose: str) -> None:
    missing = [name for name in names if cfg.get(name) is None]
    if missing:
        raise UserError(f'the config has no {" and no ".join(missing)}, which '
                        f'it needs {purpose}')


def _check_optimizer(cfg: Config) -> None:
    """MMEngine would only say that None cannot be called."""
    for kind in _value(cfg, ['optim_wrapper', 'optimizer', 'type']):
        with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) \
                as registry:
            if isinstance(kind, str) and registry.get(kind) is None:
                raise UserError(f'optim_wrapper.optimizer.type: there is no '
                                f'optimizer {kind}'
                                + similar(kind, registered(registry)))


def _check_saving(cfg: Config) -> None:
    """CheckpointHook accepts any argument, and fails at its first save."""
    known = {*arguments_of(CheckpointHook),
             *arguments_of(Runner.save_checkpoint)}
    for hook in _value(cfg, ['default_hooks', 'checkpoint']):
        if isinstance(hook, dict) and hook.get('type') == 'CheckpointHook':
            for name in hook.keys() - known - {'type', 'priority', '_scope_'}:
                raise UserError(f'default_hooks.checkpoint has no setting '
                                f'{name}{similar(name, known)}')
