"""Variables at the top of a config that the rest of it depends on.

MMEngine evaluates a base config before it knows what the config that inherits
from it sets, and before it applies options. A config that calls
:func:`followed` is evaluated a second time, with those values.
"""
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import RLock
from types import FunctionType, ModuleType

import yaml
from mmengine.config import Config
from mmengine.fileio.handlers import YamlHandler
from mmengine.fileio.handlers.registry_utils import file_handlers

from ..errors import UserError


@dataclass
class _Reading:
    """A config that is being read.

    Attributes:
        given (dict): Values that replace those of the file.
        first (bool): Whether this is the first evaluation.
        said (dict): Values of the variables that the file uses.
    """

    given: dict = field(default_factory=dict)
    first: bool = False
    said: dict = field(default_factory=dict)


YAML = 'yaml', 'yml'
# MMEngine has one handler for all threads.
_ONE_AT_A_TIME = RLock()
_READING: ContextVar[_Reading | None] = ContextVar('reading', default=None)


def followed(namespace: Mapping, complete: Callable[[dict, bool], dict]
             ) -> dict:
    """The values that a config continues with after its variables."""
    said = {name: value for name, value in namespace.items()
            if not name.startswith('_')
            and not isinstance(value, (FunctionType, ModuleType))}
    reading = _READING.get() or _Reading()
    values = complete({**said, **reading.given}, not reading.first)
    reading.said.update({name: values[name] for name in said})
    return values


class _PlainYaml(YamlHandler):
    """Refuses ``!!python/...``, which MMEngine's handler would execute."""

    def load_from_fileobj(self, file, **kwargs):
        return yaml.safe_load(file)


@contextmanager
def _plain_yaml() -> Iterator[None]:
    """Make MMEngine read YAML safely, including base configs."""
    with _ONE_AT_A_TIME:
        before = dict(file_handlers)
        file_handlers.update(dict.fromkeys(YAML, _PlainYaml()))
        try:
            yield
        except yaml.constructor.ConstructorError as error:
            raise UserError(
                'it or one of its YAML bases would run code, or is no plain '
                f'data ({error.problem}). Write a config that computes in '
                'Python') from error
        finally:
            file_handlers.update(before)


@contextmanager
def _reading(**values) -> Iterator[_Reading]:
    reading = _Reading(**values)
    token = _READING.set(reading)
    try:
        yield reading
    finally:
        _READING.reset(token)


def _from_file(path: str) -> Config:
    with _plain_yaml():
        try:
            return Config.fromfile(path)
        # Up to Python 3.11 ast.parse may fail while another thread parses
        # (python/cpython#106905); the second call succeeds.
        except SystemError:
            return Config.fromfile(path)


def read_following(path: str, options: dict[str, object]) -> Config:
    """Read a config whose variables options or other configs may set."""
    with _reading(first=True) as look:
        cfg = _from_file(path)
    if not look.said:
        return cfg
    given = {name: cfg[name] for name, value in look.said.items()
             if cfg[name] != value}
    chosen = {name: options.pop(name) for name in look.said
              if name in options}
    with _reading(given={**given, **chosen}):
        cfg = _from_file(path)
    # An inheriting config has set its own value again.
    for name, value in chosen.items():
        if name in given:
            cfg[name] = value
    return cfg


def read_bases(path: str) -> list[Config]:
    """The base configs of a config, without reading their data."""
    with _reading(first=True), _plain_yaml():
        return [_from_file(Config._get_cfg_path(base, path)[0])
                for base in Config._get_base_files(path)]
