"""Make all paths of a config follow ``data_root``."""
import copy
import os
from collections.abc import Iterator

from mmengine.config import Config, ConfigDict

from ..config.loading import nodes_in
from ..config.variables import read_bases
from ..datasets.checks.check_datasets import datasets_in
from ..errors import UserError
from ..utils.console import say
from ..utils.text import wrapped
from .config_checks import DATALOADERS


def follow_data_root(cfg: Config, options: dict[str, object]) -> None:
    """Let all paths of a config follow its ``data_root``, or the option.

    MMEngine evaluates the paths of a base config before it reads the
    ``data_root`` of the config that inherits from it. Paths that this config
    sets itself, such as ``dataset=dict(data_root=...)``, are not moved.
    """
    own = cfg.get('data_root')
    if own is not None and not isinstance(own, str):
        raise UserError(f'data_root has to be a folder, not {own!r}')
    _follow_own(cfg)
    if 'data_root' not in options:
        return
    new = options['data_root']
    if not isinstance(new, str):
        raise UserError(f'--cfg-options data_root has to be a folder, not '
                        f'{new!r}. With a comma in its name, it needs quotes '
                        """in quotes: "data_root='...'\"""")
    old = _root_in_use(cfg)
    if old:
        _move(cfg, old.rstrip('/'), new)
        say(wrapped(f'Paths moved to {new}', '  '))


def _follow_own(cfg: Config, aloud: bool = True) -> None:
    """Move the paths that a config inherits, not its own."""
    own = cfg.get('data_root')
    for base in read_bases(cfg.filename) if cfg.filename else ():
        moved = copy.deepcopy(base)
        _follow_own(moved, aloud=False)
        old = moved.get('data_root') or _root_in_use(moved)
        if (own and old and old.rstrip('/') != own.rstrip('/')
                and not _is_used(cfg, own.rstrip('/'))):
            _move(moved, old.rstrip('/'), own)
        if _replace_inherited(cfg, base, moved) and aloud:
            say(f'data_root: inherited paths moved from {old} to {own}')


def _replace_inherited(node: Config | ConfigDict | list,
               base: Config | ConfigDict | list,
               moved: Config | ConfigDict | list) -> bool:
    """Replace inherited values by moved ones; True if any was replaced."""
    changed = False
    for key, value in (base.items() if isinstance(base, (Config, ConfigDict))
                       else enumerate(base)):
        if isinstance(node, list):
            if key >= len(node):
                break
        elif key not in node:
            continue
        if isinstance(value, (ConfigDict, list)):
            if type(node[key]) is type(value):
                changed |= _replace_inherited(node[key], value, moved[key])
        elif node[key] == value != moved[key]:
            node[key] = moved[key]
            changed = True
    return changed


def _root_in_use(cfg: Config) -> str | None:
    """The data folder in use, if there is exactly one."""
    own = cfg.get('data_root')
    if isinstance(own, str) and _is_used(cfg, own.rstrip('/')):
        return own
    roots = {root for root in _roots(cfg) if root}
    return roots.pop() if len(roots) == 1 else None


def _roots(cfg: Config) -> Iterator[str | None]:
    for name in DATALOADERS:
        if isinstance(cfg.get(name), dict) and isinstance(
                cfg[name].get('dataset'), dict):
            for dataset in datasets_in(cfg[name]):
                yield dataset.get('data_root')


def _is_used(cfg: Config, root: str) -> bool:
    return any(isinstance(value, str) and _is_below(value, root)
               for path, value in nodes_in(cfg) if path != 'data_root')


def _is_below(path: str, root: str) -> bool:
    return f'{path}/'.startswith(f'{root}/')


def _move(node: Config | ConfigDict | list, old: str, new: str) -> None:
    items = (node.items() if isinstance(node, (Config, ConfigDict)) else
             enumerate(node))
    for key, value in list(items):
        if isinstance(value, (ConfigDict, list)):
            _move(value, old, new)
        elif isinstance(value, str) and _is_below(value, old):
            node[key] = os.path.join(new, value[len(old):].lstrip('/'))
