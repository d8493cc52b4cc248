"""The config that a checkpoint carries, read as data and never executed."""
import ast
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isclass
from unittest import mock

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import registry
from torch import nn

from ..configs import dicts_in
from ..errors import UserError, first_line

# Whose classes a checkpoint may name. Others are imported for configs that
# the user names.
LIBRARIES = ('mmcv', 'mmdet', 'mmengine', 'mmlowformer', 'mmpretrain', 'mmseg',
             'torch', 'torchvision')
# What is needed to predict and to verify an export; the rest is not even
# looked at.
PARTS = ('default_scope', 'model', 'test_dataloader', 'tta_model',
         'tta_pipeline', 'custom_imports', 'data_root', 'test_evaluator',
         'train_dataloader')


def embedded_config(content: dict, source: str) -> Config:
    """The config that a model was trained with, as its checkpoint has it.

    MMEngine writes it as Python source. Only values and ``dict(...)`` are
    understood here: nothing of it is executed, and it may name no class but
    those of OpenMMLab's libraries and torch.

    Args:
        content (dict): What was read from the checkpoint.
        source (str): Its name, for messages.

    Returns:
        Config: What is needed to predict.

    Raises:
        UserError: If there is none, or it holds more than values.
    """
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'checkpoint {source} carries no config, so it is not '
                        'known what its tensors are for: name it with '
                        '--config')
    try:
        values = _read(text, PARTS)
    except (SyntaxError, ValueError) as error:
        raise UserError(
            f'the config in checkpoint {source} is more than values '
            f'({first_line(error)}) and is not executed: name the config '
            'with --config, if you trust it') from error
    _check_names(values, source)
    values.pop('custom_imports', None)
    if not isinstance(values.get('model'), dict):
        raise UserError(f'the config in checkpoint {source} describes no '
                        'model: name another with --config')
    return Config(values)


def _read(text: str, names: tuple[str, ...]) -> dict:
    """Values of variables in a Python source that holds nothing but values."""
    values = {}
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.Assign):
            raise ValueError(f'line {statement.lineno} is no assignment')
        for target in statement.targets:
            if isinstance(target, ast.Name) and target.id in names:
                values[target.id] = _value(statement.value)
    return values


def _value(node: ast.expr):
    # A literal, but for dict(key=value), which MMEngine writes for {...}.
    return ast.literal_eval(_DictCalls().visit(node))


class _DictCalls(ast.NodeTransformer):
    """Writes ``dict(key=value)`` as ``{'key': value}``."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if getattr(node.func, 'id', None) != 'dict' or node.args:
            raise ValueError(f'line {node.lineno} calls '
                             f'{ast.unparse(node.func)}')
        return ast.Dict([_key(word) for word in node.keywords],
                        [word.value for word in node.keywords])


def _key(word: ast.keyword) -> ast.expr:
    if word.arg is None:
        raise ValueError(f'line {word.value.lineno} unpacks a value')
    return ast.Constant(word.arg)


def plain_values(text: str, source: str) -> list[dict]:
    """Transforms that were written down as text.

    Args:
        text (str): Python source of a list of dicts of values.
        source (str): Where it is from, for messages.

    Returns:
        list[dict]: The transforms.

    Raises:
        UserError: If it holds more than values, or names foreign classes.
    """
    try:
        values = ast.literal_eval(text)
        _check_names(dict(pipeline=values), source)
    except (SyntaxError, ValueError) as error:
        raise UserError(f'the pipeline in {source} is damaged '
                        f'({first_line(error)})') from error
    return values


def _check_names(values: dict, source: str) -> None:
    """Nothing is imported that is not of a library that is used anyway."""
    imports = values.get('custom_imports') or {}
    modules = imports.get('imports') if isinstance(imports, dict) else imports
    names = [modules] if isinstance(modules, str) else list(modules or ())
    names += [part['type'] for _, part in dicts_in(values)
              if '.' in str(part.get('type'))]
    foreign = [name for name in names
               if str(name).split('.')[0] not in LIBRARIES]
    if foreign:
        raise UserError(
            f'the config in checkpoint {source} imports {foreign[0]}, which '
            'would run code that the checkpoint chooses: name the config '
            'with --config, if you trust it')


@contextmanager
def registered_only() -> Iterator[None]:
    """Build only what the libraries made to be built from configs.

    MMEngine takes a name that is not registered for a place to import from,
    and calls what is there.
    """
    find = registry.get_object_from_string

    def find_class(name: str) -> type:
        known = name.split('.')[0] in LIBRARIES and '.' in name
        found = find(name) if known else None
        if isclass(found) and issubclass(found, (nn.Module, BaseDataset)):
            return found
        raise ValueError(f'{name} is not registered')

    with mock.patch.object(registry, 'get_object_from_string', find_class):
        yield
