"""The library whose registry a config is built from."""
import importlib.util

from mmengine.config import Config

from ..errors import UserError

INSTALL = dict(mmdet='mmdet', mmseg='mmsegmentation', mmpretrain='mmpretrain')


def require_scope(cfg: Config) -> str:
    """The library that a config is for."""
    scope = cfg.get('default_scope')
    if not scope:
        raise UserError('the config has no default_scope, so it is not clear '
                        "which library it is for; add default_scope='mmdet'")
    if not _is_installed(scope):
        raise UserError(f'the config is for {scope}, which is not installed: '
                        f'pip install {INSTALL.get(scope, scope)}')
    return scope


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    # Of "a.b", a is imported; "a..b" is no name.
    except (ImportError, ValueError):
        return False
