"""The config in a checkpoint, read as data and never executed."""
import ast
import logging
from contextlib import suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from ..config.loading import dicts_in, kind_of
from ..datasets.checks.check_datasets import (
    check_order,
    class_names,
    datasets_in,
    names_in,
)
from ..errors import UserError, first_line, shown
from .allowed_types import (
    NotAllowed,
    allowed,
    allowed_dataset,
    allowed_scope,
    allowed_steps,
)

# The parts that prediction needs; the rest is ignored.
PARTS = ('default_scope', 'model', 'test_dataloader')
# Raised by an unlisted type, a damaged text, or endless nesting.
UNREADABLE = (SyntaxError, ValueError, TypeError, AttributeError,
              RecursionError, MemoryError)
# Transforms that set the image size of a model.
SIZES = dict(Resize='scale', ResizeEdge='scale', CenterCrop='crop_size',
             RandomChoiceResize='scales')
# A newer MMEngine writes some tuples as lists.
AS_SIZES = str.maketrans(',', 'x', '()[] ')
WAYS_ON = ('name a config of yours with --config FILE or, if you trust who '
           'made the file, add --trust-config (in Python trust_config=True), '
           'which lets its config run code')


def embedded_config(content: dict, source: str, *,
                    trust: bool = False) -> Config:
    """Read the config of the training from its checkpoint.

    MMEngine writes it as Python source. Unless it is trusted, it may contain
    only values and ``dict(...)``, is not executed, and may build only the
    types in :mod:`.allowed_types`.
    """
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'checkpoint {source} carries no config, so its model '
                        'is unknown: name the config with --config')
    cfg = _executed(text, source) if trust else _as_data(text, source)
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'the config in checkpoint {source} describes no '
                        'model: name another with --config')
    return cfg


def _executed(text: str, source: str) -> Config:
    try:
        return Config.fromstring(text, '.py')
    # It is a program, which may fail in any way.
    except Exception as error:
        raise UserError(f'the config in checkpoint {source} cannot be read: '
                        f'{first_line(error)}') from error


def _as_data(text: str, source: str) -> Config:
    try:
        tree = ast.parse(text)
        return Config({**_for_predicting(_read(tree, PARTS)),
                       **_hooks_for_predicting(tree)})
    except NotAllowed as error:
        raise UserError(
            f'the config in checkpoint {source} wants {error}, which is not '
            f'on the list of what a checkpoint may build: {WAYS_ON}') \
            from error
    except UNREADABLE as error:
        raise UserError(
            f'the config in checkpoint {source} is more than values '
            f'({first_line(error)}) and is not executed: {WAYS_ON}') \
            from error


def _for_predicting(values: dict) -> dict:
    parts: dict[str, object] = {}
    if 'default_scope' in values:
        parts['default_scope'] = allowed_scope(values['default_scope'],
                                               'default_scope')
    if 'model' in values:
        parts['model'] = allowed(values['model'], 'model')
    loader = values.get('test_dataloader')
    if loader and loader.get('dataset'):
        parts['test_dataloader'] = dict(dataset=allowed_dataset(
            next(datasets_in(loader)), 'test_dataloader.dataset'))
    return parts


def _hooks_for_predicting(tree: ast.Module) -> dict:
    """The score threshold of drawn boxes, if the config sets one."""
    with suppress(*UNREADABLE, KeyError):
        hooks = _read(tree, ('default_hooks', ))['default_hooks']
        threshold = hooks['visualization']['score_thr']
        if type(threshold) in (int, float) and 0 <= threshold <= 1:
            return dict(default_hooks=dict(
                visualization=dict(score_thr=threshold)))
    return {}


def _read(tree: ast.Module, names: tuple[str, ...]) -> dict:
    """Values of variables in Python source that only assigns values."""
    values = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            raise ValueError(f'line {statement.lineno} is no assignment')
        for target in statement.targets:
            if isinstance(target, ast.Name) and target.id in names:
                values[target.id] = _value(statement.value)
    return values


def _value(node: ast.expr):
    # A literal, except that MMEngine writes {...} as dict(key=value).
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


def compare_with_training(cfg: Config, content: dict, source: str) -> None:
    """Compare classes and image sizes of a test with the training's."""
    check_trained_classes(cfg, 'test_dataloader', trained_classes(content),
                          source)
    _warn_of_other_sizes(cfg, content, source)


def trained_meta(content: dict) -> dict:
    """The ``metainfo`` of the data set that a checkpoint was trained on."""
    meta = content.get('meta')
    known = meta.get('dataset_meta') if isinstance(meta, dict) else None
    return known if isinstance(known, dict) else {}


def trained_classes(content: dict) -> list[str]:
    """The classes of the training of a checkpoint."""
    return names_in(trained_meta(content).get('classes'))


def check_trained_classes(cfg: Config, dataloader: str, trained: list[str],
                          source: str) -> None:
    """Check that a data set has the classes of a model in its order."""
    loader = cfg.get(dataloader) or {}
    for dataset in datasets_in(loader) if loader.get('dataset') else ():
        names = names_in(class_names(dataset, cfg))
        if len(names) == len(trained):
            check_order(trained, source, names, dataloader)


def _warn_of_other_sizes(cfg: Config, content: dict, source: str) -> None:
    meta = content.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        own = _read(ast.parse(str(text)), ('test_dataloader', ))
        trained = _sizes(own.get('test_dataloader'))
    except UNREADABLE:
        return
    now = _sizes(cfg.get('test_dataloader'))
    if not trained or not now or now == trained:
        return
    beside = next(iter(sorted(Path(source).parent.glob('*.py'))), None)
    print_log(
        f'{source} was trained for other image sizes than this config tests '
        f'at, which costs accuracy: {shown(", ".join(trained))}; '
        f'here {shown(", ".join(now))}. Test it with '
        f'{beside or "the config that trained it"}.', 'current',
        logging.WARNING)


def _sizes(dataloader: object) -> list[str]:
    """Steps of a pipeline that change the size of images."""
    return [f'{kind_of(step)} {str(step[key]).translate(AS_SIZES)}'
            for _, step in dicts_in(dataloader)
            if (key := SIZES.get(kind_of(step))) and step.get(key)]


def allowed_pipeline(text: str, source: str, *, trust: bool = False
                     ) -> list[dict]:
    """Transforms that were written down as text."""
    try:
        values = ast.literal_eval(text)
        return values if trust else allowed_steps(values, 'pipeline')
    except NotAllowed as error:
        raise UserError(
            f'{source} wants {error}, which is not on the list of what an '
            'exported model may build: if you trust who made it, add '
            '--trust-config (in Python trust_config=True), which lets it run '
            'code') from error
    except UNREADABLE as error:
        raise UserError(f'the pipeline in {source} is damaged '
                        f'({first_line(error)})') from error
