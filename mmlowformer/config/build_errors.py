"""Explain mistakes in a config, and distinguish them from bugs."""
import inspect
import re
import traceback
from collections.abc import Callable, Iterable
from itertools import chain

from mmengine.config import Config
from mmengine.registry import Registry, build_functions
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..errors import first_line, similar
from .loading import dicts_in

# Bugs of a programmer, who needs the traceback.
BUGS = (NameError, AttributeError, IndexError, ArithmeticError, RecursionError)
LOADING = ('load_checkpoint', 'resume', 'load_or_resume')
# Methods of Runner that read a config, besides build_*().
READING = ('__init__', 'from_cfg', 'scale_lr', '_init_model_weights')
RUNNER_FILE = inspect.getfile(Runner)
BUILDERS_FILE = inspect.getfile(build_functions)
UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")
NOT_REGISTERED = re.compile(r'^(\S+) is not in the .+? registry')


def explain(error: Exception, cfg: Config) -> str | None:
    """Explain an error that Runner or a registry has caused."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)
              if frame.f_code.co_filename in (RUNNER_FILE, BUILDERS_FILE)]
    if not frames:
        return None
    names = [frame.f_code.co_name for frame in frames]
    if frames[-1].f_code.co_filename == BUILDERS_FILE:
        return (None if isinstance(error, BUGS) else
                _building_failed(error, frames[-1].f_locals, cfg))
    if names[-1] == 'call_hook':
        return None
    if set(LOADING) & set(names):
        return _loading_failed(error, cfg)
    if isinstance(error, BUGS):
        return None
    if any(name in READING or name.startswith('build_') for name in names):
        hint = (_meant(error, arguments_of(DataLoader))
                if names[-1] == 'build_dataloader' else '')
        return f'the config cannot be used: {_reason(error)}{hint}'
    return None


def _loading_failed(error: Exception, cfg: Config) -> str:
    if not cfg.get('resume'):
        return (f'checkpoint {cfg.load_from} cannot be loaded: '
                f'{_reason(error)}')
    return (f'training cannot resume from checkpoint {cfg.load_from}: '
            f'{_reason(error)}. To start a new one from its weights: '
            f'--cfg-options load_from={cfg.load_from}')


def _building_failed(error: Exception, found: dict, cfg: Config) -> str:
    """Name the part that cannot be built, and what was probably meant."""
    what = _path_of(found['cfg'], cfg)
    kind = found.get('obj_type') or found.get('scheduler_type')
    if kind is not None:
        kind = kind if isinstance(kind, str) else kind.__name__
        what = f'{what} ({kind})' if what else kind
    unknown = NOT_REGISTERED.match(first_line(error))
    if unknown:
        registry = found['registry']
        return (f'{what} cannot be built: {unknown.group()}'
                + similar(unknown.group(1), registered(registry)))
    if 'must contain the key "type"' in first_line(error):
        return f'{what or found["cfg"]} cannot be built: it has no type'
    arguments = arguments_of(found.get('obj_cls')
                             or found.get('scheduler_cls'))
    return (f'{what or "a part of the config"} cannot be built: '
            f'{_reason(error)}{_meant(error, arguments)}')


def _path_of(part: object, cfg: Config) -> str:
    """The path of a part in a config; empty if it has changed since."""
    if not isinstance(part, dict):
        return ''
    equal = (path for path, node in dicts_in(cfg) if node == part)
    # A builder may have added arguments.
    inside = (path for path, node in dicts_in(cfg) if 'type' in node
              and all(key in part and part[key] == value
                      for key, value in node.items()))
    return next(chain(equal, inside), '')


def _reason(error: Exception) -> str:
    name = type(error).__name__
    # Since Python 3.13 it may suggest a name, as _meant() does.
    text = re.sub(r"\. Did you mean '\w+'\?$", '', first_line(error))
    if text == name:
        # The line of an assertion says more than nothing.
        text = traceback.extract_tb(error.__traceback__)[-1].line or name
    # A KeyError's or an AssertionError's text says little alone.
    return text if isinstance(error, (TypeError, ValueError)) else (
        f'{name}: {text}' if text != name else name)


def _meant(error: Exception, arguments: Iterable[str]) -> str:
    unknown = UNKNOWN_ARGUMENT.search(str(error))
    return similar(unknown.group(1), arguments) if unknown else ''


def arguments_of(cls: Callable | None) -> list[str]:
    """The arguments of a class or function."""
    if not inspect.isclass(cls):
        return list(inspect.signature(cls).parameters) if cls else []
    return [name for base in cls.__mro__ if '__init__' in vars(base)
            and base is not object
            for name in inspect.signature(vars(base)['__init__']).parameters
            if name not in ('self', 'args', 'kwargs')]


def registered(registry: Registry) -> list[str]:
    """All names in a registry, its children and parents."""
    names = []
    while registry is not None:
        names += registry.module_dict
        names += [f'{scope}.{name}' for scope, child in
                  registry.children.items() for name in child.module_dict]
        registry = registry.parent
    return names
