"""Check the settings of a config before anything is built from them."""
from collections.abc import Callable
from functools import reduce
from inspect import signature
from numbers import Real
from typing import Any, NoReturn, TypeGuard

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner

from ..config.loading import dicts_in, kind_of, node_at
from ..errors import UserError, similar
from ..models import LowFormer
from ..models.arch_validation import check_arch, check_out_indices
from ..utils.console import warn
from ..utils.text import counted

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LARGEST_SEED = 2**32 - 1
# Necks of classifiers that keep the channels of the last feature map.
KEEPING_CHANNELS = ('GlobalAveragePooling', 'None')
# Necks that keep the strides of their inputs, and halve the last one on.
NECKS = ('FPN', 'PAFPN', 'FPN_CARAFE', 'NASFPN', 'ChannelMapper',
         'CSPNeXtPAFPN', 'YOLOXPAFPN', 'DilatedEncoder', 'BFP', 'DyHead')
# The neck whose in_channels begin with the last feature map.
REVERSED_NECK = 'YOLOV3Neck'
# The semantic branch of HTC and SCNet outputs a feature map of its own.
SEMANTIC_BRANCH = 'semantic_roi_extractor'


def _is_number(value: object) -> TypeGuard[float]:
    return (isinstance(value, Real) and not isinstance(value, bool)
            and 0 <= float(value) < float('inf'))


def _is_integer(value: object) -> TypeGuard[int]:
    return _is_number(value) and isinstance(value, int)


def _is_positive(value: object) -> bool:
    """Some configs compute an interval by a division, so it is a float."""
    return _is_number(value) and value >= 1 and value == int(value)


# What a value has to be, and where; outer dicts before inner ones.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    'a dict': (lambda value: isinstance(value, dict), ' '.join((
        'model model.backbone optim_wrapper optim_wrapper.optimizer train_cfg',
        'val_cfg test_cfg default_hooks env_cfg randomness auto_scale_lr',
        *DATALOADERS, *(f'{name}.dataset' for name in DATALOADERS)))),
    'a list': (lambda value: isinstance(value, (list, tuple)), 'custom_hooks'),
    'a text': (lambda value: isinstance(value, str),
               'default_scope load_from work_dir'),
    'an integer, at least 1': (_is_positive, ' '.join((
        *(f'{name}.batch_size' for name in DATALOADERS),
        'train_cfg.max_epochs train_cfg.max_iters train_cfg.val_interval',
        'optim_wrapper.accumulative_counts auto_scale_lr.base_batch_size',
        'default_hooks.logger.interval'))),
    'an integer, at least 0': (_is_integer, ' '.join(
        f'{name}.num_workers' for name in DATALOADERS)),
    'a number, at least 0': (_is_number, 'optim_wrapper.optimizer.lr '
                             'optim_wrapper.optimizer.weight_decay'),
    f'an integer from 0 to {LARGEST_SEED}': (
        lambda value: _is_integer(value) and value <= LARGEST_SEED,
        'randomness.seed'),
}


def check_settings(cfg: Config) -> None:
    """Refuse values that a setting cannot have."""
    for demand, (is_valid, paths) in RULES.items():
        for path in paths.split():
            value = node_at(cfg, path.split('.'))
            if value is not None and not is_valid(value):
                raise UserError(f'{path} has to be {demand}, not {value!r}')
    if not cfg.get('model'):
        raise UserError('the config has no model')
    for name in DATALOADERS:
        if cfg.get(name) and not cfg[name].get('dataset'):
            raise UserError(f'{name} has no dataset')
    for name in ('runner_type', 'strategy'):
        if cfg.get(name) not in (None, 'Runner'):
            warn(f"{name} is ignored: mmlowformer's tools use their own "
                 'Runner')
    _check_feature_maps(cfg.model, 'model')
    _check_feature_maps(cfg.model.get('detector'), 'model.detector')


def check_training(cfg: Config) -> None:
    """Check that a config has all that a training needs."""
    _check_presence(cfg, 'train', 'train_dataloader train_cfg optim_wrapper')
    _check_optimizer(cfg)
    _check_saving(cfg)
    validation = 'val_dataloader val_cfg val_evaluator'
    if any(map(cfg.get, validation.split())):
        _check_presence(cfg, 'validate', validation)
        _check_topk(cfg, 'val_evaluator')


def check_testing(cfg: Config) -> None:
    """Check that a config has all that a test needs."""
    _check_presence(cfg, 'test', 'test_dataloader test_cfg test_evaluator')
    _check_topk(cfg, 'test_evaluator')


def _check_presence(cfg: Config, purpose: str, names: str) -> None:
    missing = [name for name in names.split() if cfg.get(name) is None]
    if missing:
        raise UserError(f'the config has no {" and no ".join(missing)}, which '
                        f'it needs to {purpose}')


def _check_topk(cfg: Config, name: str) -> None:
    """MMPreTrain would ask torch for more classes than exist."""
    classes = node_at(cfg, ['model', 'head', 'num_classes'])
    for path, evaluator in dicts_in(cfg.get(name), name):
        topk = evaluator.get('topk', 1)
        most = max(topk if isinstance(topk, (list, tuple)) else [topk])
        if (kind_of(evaluator) == 'Accuracy' and _is_number(classes)
                and most > classes):
            raise UserError(f'{path}.topk counts the {most} best of {classes} '
                            f'classes: --cfg-options {path}.topk=1')


def _check_optimizer(cfg: Config) -> None:
    """MMEngine would only say that None cannot be called."""
    kind = node_at(cfg, ['optim_wrapper', 'optimizer', 'type'])
    with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) \
            as registry:
        if isinstance(kind, str) and registry.get(kind) is None:
            from ..config.build_errors import registered
            raise UserError(
                'optim_wrapper.optimizer.type: there is no optimizer '
                f'{kind}{similar(kind, registered(registry))}')


def _check_saving(cfg: Config) -> None:
    """CheckpointHook accepts any argument, and fails at its first save."""
    hook = node_at(cfg, ['default_hooks', 'checkpoint'])
    if isinstance(hook, dict) and hook.get('type') == 'CheckpointHook':
        known = {'type', 'priority', '_scope_',
                 *signature(CheckpointHook).parameters,
                 *signature(Runner.save_checkpoint).parameters}
        for name in hook.keys() - known:
            raise UserError(f'default_hooks.checkpoint has no setting {name}'
                            + similar(name, known))


def _check_feature_maps(model: Config, path: str) -> None:
    """Check that neck and heads fit the feature maps of a LowFormer."""
    backbone = node_at(model, ['backbone'])
    if not isinstance(backbone, dict) or kind_of(backbone) != 'LowFormer':
        return
    strides = LowFormer.strides
    try:
        arch = check_arch(backbone.get('arch', 'b1'), LowFormer.arch_settings)
        indices = check_out_indices(
            backbone.get('out_indices', range(len(strides))), len(strides))
    except (ValueError, TypeError) as error:
        raise UserError(f'{path}.backbone: {error}') from error
    _check_channels(model, path, [arch['widths'][i + 1] for i in indices])
    _check_strides(model, path, [strides[i] for i in indices])


def _check_channels(model: Config, path: str, given: list[int]) -> None:
    neck = model.get('neck') or {}
    wanted = node_at(model, ['neck', 'in_channels'])
    if isinstance(wanted, (list, tuple)):
        fitting = given[::-1 if kind_of(neck) == REVERSED_NECK else 1]
        if list(wanted) != fitting:
            _refuse(path, 'neck', wanted, given, fitting)
    wanted = node_at(model, ['head', 'in_channels'])
    if (wanted not in (None, given[-1]) and isinstance(neck, dict)
            and kind_of(neck) in KEEPING_CHANNELS):
        _refuse(path, 'head', wanted, given, given[-1])


def _refuse(path: str, part: str, wanted: object, given: list[int],
            remedy: object) -> NoReturn:
    raise UserError(
        f'{path}.{part}.in_channels is {wanted}, but the backbone outputs '
        f'{counted(len(given), "feature map")} of '
        f'{", ".join(map(str, given))} channels: set {path}.{part}.'
        f'in_channels={_as_option(remedy)}, or other '
        f'{path}.backbone.out_indices')


def _as_option(value: object) -> str:
    return str(value).replace(' ', '')


def _check_strides(model: Config, path: str, given: list[int]) -> None:
    """Compare the strides of a detector's heads with its feature maps'."""
    levels = _neck_strides(model.get('neck'), given)
    for where, part in dicts_in(model, path) if levels else ():
        # SOLO's heads resize their feature maps first.
        if where.endswith(SEMANTIC_BRANCH) or 'SOLO' in kind_of(part):
            continue
        keys = ['featmap_strides']
        if where.endswith('generator') or kind_of(part).endswith('Head'):
            keys.append('strides')
        for key in keys:
            if not isinstance(part.get(key), (list, tuple)):
                continue
            # They may be of x and y, such as (8, 8).
            strides = [item[0] if isinstance(item, (list, tuple)) and item
                       else item for item in part[key]]
            fitting = levels[:len(strides)]
            if strides != fitting:
                raise UserError(
                    f'{where}.{key} is {strides}, but its feature maps have '
                    f'the strides {levels}: set {where}.{key}='
                    f'{_as_option(fitting)}, or other '
                    f'{path}.backbone.out_indices')


def _neck_strides(neck: object, given: list[int]) -> list[int]:
    """Strides that a neck outputs; empty if unknown."""
    if neck is None or not given:
        return given
    if isinstance(neck, (list, tuple)):
        return reduce(lambda strides, part: _neck_strides(part, strides),
                      neck, given)
    if not isinstance(neck, dict) or kind_of(neck) not in NECKS:
        return []
    end = neck.get('end_level', -1)
    given = given[neck.get('start_level', 0):None if end == -1 else end + 1]
    more = neck.get('num_outs', len(given)) - len(given)
    # Its own error of too few outputs is clear.
    return [*given, *(given[-1] * 2**i for i in range(1, more + 1))] \
        if given and more >= 0 else []
