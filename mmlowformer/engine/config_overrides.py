"""Apply ``--cfg-options KEY=VALUE``."""
import argparse
import copy
import difflib
import inspect
import logging
from collections.abc import Iterator

from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..config.loading import node_at
from ..errors import UserError

BRACKETS = {'(': ')', '[': ']'}
# Similarity of a typo of one or two letters.
ALIKE = 0.85
# Config files name variables after others, such as data_root_2.
ALIKE_IN_FILES = 0.9
COMMON_PARTS = {'data_root', 'tta_pipeline'}
# Top-level settings that Runner, MMEngine's Config or our tools read.
READ = {
    *inspect.signature(Runner.__init__).parameters, 'auto_scale_lr', 'compile',
    'custom_imports', 'data_root', 'efficient_conv_bn_eval', 'env_cfg',
    'find_unused_parameters', 'model_wrapper_cfg', 'sync_bn', 'tta_model',
    'tta_pipeline'} - {'self', 'cfg'}
MOST_PLACES = 3


class OptionAction(DictAction):
    """Reads ``KEY=VALUE``; unlike MMEngine's action, it keeps spaces."""

    def __call__(self, parser, namespace, values, option_string=None):
        """See ``argparse.Action``."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for pair in values:
            key, equals, text = pair.partition('=')
            if not equals or not all(key.split('.')):
                raise argparse.ArgumentError(
                    self, f'{pair!r} is not of the form KEY=VALUE')
            try:
                options[key] = parse_value(text)
            except ValueError as error:
                raise argparse.ArgumentError(
                    self, f'{pair!r}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> object:
    """Parse a value, as MMEngine's DictAction does, but keep spaces."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in '\'"':
        text = text[1:-1]
        if text[:1] not in BRACKETS:
            return text
        text = text.strip()
    whole = _parts(text)
    if (text[:1] in BRACKETS and text[-1] == BRACKETS[text[0]]
            and len(whole) == 1):
        values = [parse_value(part) for part in _parts(text[1:-1])]
        return tuple(values) if text[0] == '(' else values
    # A comma in brackets belongs to the text, as in "/data/set(a,b)".
    if whole in ([], [text]):
        return DictAction._parse_int_float_bool(text)
    return [parse_value(part) for part in whole]


def _parts(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts = ['']
    closing: list[str] = []
    for letter in text:
        if letter == ',' and not closing:
            parts.append('')
            continue
        if letter in BRACKETS:
            closing.append(BRACKETS[letter])
        elif letter in BRACKETS.values() and (
                not closing or closing.pop() != letter):
            raise ValueError('the brackets do not match')
        parts[-1] += letter
    if closing:
        raise ValueError('the brackets do not match')
    # "(1, )" has one value.
    return parts if parts[-1].strip() else parts[:-1]


def apply_options(cfg: Config, options: dict[str, object]) -> None:
    """Override settings of a config.

    ``train_dataloader = dict(dataset=dict(pipeline=train_pipeline))`` in a
    config file copies ``train_pipeline``. An option for the variable changes
    the copies, too.
    """
    for key in options:
        _check_spelling(cfg, key)
    # Copies first, so that an option for a copy itself wins.
    originals = {key: value for key, value in options.items()
                 if _is_original(cfg, key)}
    places = {key.split('.')[0]: _copies(cfg, key, options)
              for key in originals}
    _merge(cfg, originals)
    for name, copies in places.items():
        for node, key in copies:
            node[key] = copy.deepcopy(cfg[name])
    _merge(cfg, {key: value for key, value in options.items()
                 if key not in originals})


def warn_of_misspelt(cfg: Config) -> None:
    """Warn of variables whose names look like misspelled settings."""
    for name in cfg:
        close = difflib.get_close_matches(name, READ - COMMON_PARTS, n=1,
                                          cutoff=ALIKE_IN_FILES)
        if close and name not in READ:
            print_log(f'the config sets {name}, which nothing is known to '
                      f'read. Did you mean {close[0]}?', 'current',
                      level=logging.WARNING)


def _merge(cfg: Config, options: dict[str, object]) -> None:
    for key, value in options.items():
        *path, name = key.split('.')
        node = node_at(cfg, path)
        if isinstance(node, list) and name.isdigit() and int(name) < len(node):
            # MMEngine accepts only a dict as an element of a list.
            node[int(name)] = value
            continue
        _omit_none(cfg, path)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f'--cfg-options {key}: the config has no such '
                            f'setting ({_no_way(cfg, key.split("."))})'
                            ) from error


def _omit_none(cfg: Config, path: list[str]) -> None:
    """Let a setting that is None get parts, as one that is missing does."""
    for depth, name in enumerate(path):
        node = node_at(cfg, path[:depth])
        if isinstance(node, dict) and name in node and node[name] is None:
            del node[name]


def _no_way(cfg: Config, names: list[str]) -> str:
    """Describe the part of a config where a path ends."""
    for depth, name in enumerate(names):
        node = node_at(cfg, names[:depth])
        if isinstance(node, (list, tuple)) and not (
                name.isdigit() and int(name) < len(node)):
            return (f'{".".join(names[:depth])} is a list of {len(node)}, '
                    'counted from 0')
        if not isinstance(node, (dict, Config, list, tuple)):
            break
    return f'{".".join(names[:depth])} is {node!r}'


def _check_spelling(cfg: Config, key: str) -> None:
    """Refuse a new key that is similar to an existing one."""
    names = key.split('.')
    for depth, name in enumerate(names):
        node = node_at(cfg, names[:depth])
        if not isinstance(node, (dict, Config)) or name in node:
            continue
        # A dict with a type may take arguments that the config omits.
        if not depth or 'type' not in node:
            path = ''.join(f'{name}.' for name in names[:depth])
            _check_new_name(name, path, node, key)
        return


def _check_new_name(name: str, path: str, node: dict, key: str) -> None:
    known = set(node) if path else {*node, *READ}
    close = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
    if close and name not in READ:
        raise UserError(f'--cfg-options {key}: the config has no '
                        f'{path}{name}. Did you mean {path}{close[0]}?')
    if not path and name not in READ:
        _warn_without_effect(key)


def _warn_without_effect(key: str) -> None:
    print_log(f'--cfg-options {key}: nothing is known to read '
              f'{key.split(".")[0]}.', 'current', level=logging.WARNING)


def _is_original(cfg: Config, key: str) -> bool:
    """Whether an option is for a variable, which nothing reads directly."""
    name = key.split('.')[0]
    return name in cfg and name not in READ


def _copies(cfg: Config, key: str, options: dict) -> list[tuple]:
    """Find the copies of a variable."""
    name = key.split('.')[0]
    equal = [place for place in _places(cfg, cfg[name])
             if place[2].split('.')[0] in READ]
    if _holds_dicts(cfg[name]):
        if not equal:
            _warn_without_effect(key)
        return [place[:2] for place in equal]
    namesakes = [place for place in equal if place[1] == name]
    if isinstance(cfg[name], (bool, type(None))):
        equal = []
    paths = [path for *_, path in namesakes or equal if path not in options]
    if paths:
        more = len(paths) - MOST_PLACES
        raise UserError(
            f'--cfg-options {key} would change nothing: the config copies the '
            f'value of its variable {name}. Set the copy itself: '
            f'{", ".join(paths[:MOST_PLACES])}'
            + (f' ({more} more have this value)' if more > 0 else ''))
    if not namesakes and not equal:
        _warn_without_effect(key)
    return []


def _holds_dicts(value: object) -> bool:
    """Whether a value that equals this one must be its copy."""
    return isinstance(value, (dict, list, tuple)) and (
        isinstance(value, dict) or any(map(_holds_dicts, value)))


def _places(node, value: object, path: str = '') -> Iterator[tuple]:
    """Containers, keys and paths of all values equal to this one."""
    items = (node.items() if isinstance(node, (dict, Config)) else
             enumerate(node))
    for key, child in list(items):
        where = f'{path}.{key}'.lstrip('.')
        if type(child) is type(value) and child == value:
            # Tuples are immutable.
            if not isinstance(node, tuple):
                yield node, key, where
        elif isinstance(child, (dict, list, tuple)):
            yield from _places(child, value, where)
