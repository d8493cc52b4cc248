"""What a checkpoint holds of a training, beside its weights."""
from pathlib import Path

from ..errors import UserError

HUB_KEYS = ('log_scalars', 'runtime_info', 'resumed_keys')


def check_states(content: dict, file: str | Path) -> None:
    """Make sure that a training can be put back to where it was."""
    for problem in (_meta(content.get('meta')),
                    _message_hub(content.get('message_hub')),
                    _optimizer(content.get('optimizer')),
                    _schedulers(content.get('param_schedulers', []))):
        if problem:
            raise UserError(
                f'checkpoint {file}: {problem}, so training cannot go on from '
                'it. To start a new training from its weights: --cfg-options '
                f'load_from={file}')


def _meta(meta: object) -> str | None:
    if not isinstance(meta, dict):
        return _is_no('meta', 'dict', meta)
    for key in ('epoch', 'iter'):
        if not isinstance(meta.get(key), int):
            return _is_no(f'meta[{key!r}]', 'number', meta.get(key))
    return None


def _message_hub(hub: object) -> str | None:
    if not isinstance(hub, dict):
        return _is_no('message_hub', 'dict', hub)
    for key in HUB_KEYS:
        if not isinstance(hub.get(key), dict):
            return _is_no(f'message_hub[{key!r}]', 'dict', hub.get(key))
    return None


def _optimizer(state: object) -> str | None:
    """Of one optimizer, or of several by name."""
    if isinstance(state, dict) and 'param_groups' not in state and state:
        problems = map(_one_optimizer, state.values())
        return next(filter(None, problems), None)
    return _one_optimizer(state)


def _one_optimizer(state: object) -> str | None:
    if not isinstance(state, dict):
        return _is_no('optimizer', 'dict', state)
    for key, kind in (('state', dict), ('param_groups', list)):
        if not isinstance(state.get(key), kind):
            return _is_no(f'optimizer[{key!r}]', kind.__name__, state.get(key))
    return None


def _schedulers(state: object) -> str | None:
    groups = state.values() if isinstance(state, dict) else [state]
    for group in groups:
        if not isinstance(group, list) or not all(
                isinstance(item, dict) for item in group):
            return _is_no('param_schedulers', 'list of dicts', state)
    return None


def _is_no(entry: str, kind: str, value: object) -> str:
    found = 'missing' if value is None else f'a {type(value).__name__}'
    return f'{entry} is {found}, not a {kind}'
