"""One setting that moves all paths of a config, ``data_root``."""
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
    """Let all paths of a config follow its ``data_root``, and its override.

    MMEngine merges a base config when its paths are made: a ``data_root`` in
    a config that builds upon it comes too late for them. What that config
    says itself, as ``dataset=dict(data_root=...)``, is not moved.
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
    """Move what a config has of its bases, not what it says itself."""
    own = cfg.get('data_root')
    for base in read_bases(cfg.filename) if cfg.filename else ():
        moved = copy.deepcopy(base)
        _follow_own(moved, aloud=False)
        old = moved.get('data_root') or _root_in_use(moved)
        if (own and old and old.rstrip('/') != own.rstrip('/')
                and not _is_used(cfg, own.rstrip('/'))):
            _move(moved, old.rstrip('/'), own)
        if _take_over(cfg, base, moved) and aloud:
            say(f'data_root: what the config has of its base moved from '
                f'{old} to {own}')


def _take_over(node: Config | ConfigDict | list,
               base: Config | ConfigDict | list,
               moved: Config | ConfigDict | list) -> bool:
    """Write what was moved over what is as in the base; whether any was."""
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
                changed |= _take_over(node[key], value, moved[key])
        elif node[key] == value != moved[key]:
            node[key] = moved[key]
            changed = True
    return changed


def _root_in_use(cfg: Config) -> str | None:
    """The folder that ``data_root`` moves, if there is just one."""
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
