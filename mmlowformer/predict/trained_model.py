"""A trained model, ready to predict, with the names of its classes."""
import re
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, DefaultScope

from ..checkpoint.compatibility import check_finite, fitting_state_dict
from ..checkpoint.download import local_checkpoint
from ..checkpoint.embedded_config import (
    allowed_pipeline,
    compare_with_training,
    embedded_config,
)
from ..config.build_errors import explain_build_errors
from ..config.loading import dicts_in, find_config, kind_of, read_config
from ..config.scope import require_scope
from ..datasets.checks.check_datasets import datasets_in
from ..deployment.deploy import deploy_in_place
from ..errors import UserError, first_line
from ..runtime.model_spec import is_exported, read_description
from ..utils.safe_load import check_checkpoint, safe_checkpoint_loading
from ..visualization.drawing import colours
from .detector_config import detector_config

# Of models that do not say how many classes they know.
NUMBERS = 1000
# Others, as an RPN's or a semantic head's, count something else.
NAMED_HEAD = re.compile(
    r'model\.(head|decode_head|bbox_head|roi_head\.bbox_head(\.\d+)?)')


class TrainedModel(NamedTuple):
    """A model and what is needed to use it.

    Attributes:
        module (BaseModel): The model of the host library, in eval mode.
        scope (str): The host library's scope.
        pipeline (list[dict]): Transforms that its images go through.
        classes (list[str]): Their names, by label.
        palette (list[tuple]): Their colours, RGB.
        score_thr (float, optional): The config's least score to draw.
        cfg (Config): What it was built from, as far as it was read.
        tracker (dict, optional): What tells its objects apart in a video, if
            the config is of a tracker of many objects.
    """

    module: BaseModel
    scope: str
    pipeline: list[dict]
    classes: list[str]
    palette: list[tuple]
    score_thr: float | None
    cfg: Config
    tracker: dict | None = None


def load_model(checkpoint: str | Path, config: str | Path | None = None, *,
               device: str = 'cpu', deploy: bool | dict | None = None,
               trust_config: bool = False) -> TrainedModel:
    """Build a model and load its weights, running no code of the checkpoint.

    Of a tracker of many objects it is the detector.
    """
    if is_exported(checkpoint):
        return _load_exported(checkpoint, config, device,
                              deploy not in (None, False), trust_config)
    _check_device(device)
    file = local_checkpoint(str(checkpoint))
    content = check_checkpoint(file)
    if content is None:
        raise UserError(f'checkpoint not found: {checkpoint}')
    cfg = (read_config(find_config(str(config))) if config else
           embedded_config(content, file, trust=trust_config))
    scope = require_scope(cfg)
    cfg, tracker = detector_config(cfg)
    pipeline = _pipeline(cfg)
    with (DefaultScope.overwrite_default_scope(scope),
          explain_build_errors(cfg), safe_checkpoint_loading()):
        module = _built(cfg.model)
        classes, palette = _classes(cfg, content)
    state = fitting_state_dict(module, content, file, partial=False)
    check_finite(state, file)
    if config:
        compare_with_training(cfg, content, file)
    module.load_state_dict(state, strict=False)
    module.to(device).eval()
    if isinstance(deploy, dict) or deploy:
        deploy_in_place(module, **({} if deploy is True else deploy))
    hook = (cfg.get('default_hooks') or {}).get('visualization') or {}
    return TrainedModel(module, scope, pipeline, classes, palette,
                        hook.get('score_thr'), cfg, tracker)


def _load_exported(folder: str | Path, config: str | Path | None,
                   device: str, deploy: bool, trust: bool) -> TrainedModel:
    """A runtime in the place of the host's model."""
    if config or deploy:
        raise UserError(f'{folder} is an exported model, which has its config '
                        'in it and is fused by its runtime: leave '
                        f'{"--config" if config else "--deploy"} out')
    if device != 'cpu':
        raise UserError(f'exported models are run on the CPU here, not on '
                        f'--device {device}')
    description = read_description(folder)
    if not description.host:
        raise UserError(f'{folder} does not say which library it is of; '
                        'mmlowformer.runtime can use it')
    pipeline = allowed_pipeline(description.host['pipeline'], str(folder),
                                trust=trust)
    cfg = Config(dict(default_scope=description.host['scope'], model=dict(
        type='mmlowformer.ExportedModel', folder=str(folder),
        threads=torch.get_num_threads(), trust=trust)))
    scope = require_scope(cfg)
    return TrainedModel(
        MODELS.build(cfg.model), scope, pipeline, description.classes,
        [tuple(colour) for colour in description.palette],
        description.host['score_thr'], cfg)


def _built(model: dict) -> BaseModel:
    try:
        return MODELS.build(model)
    # What MMEngine's registry finds no word for is the config's fault, too.
    except (AttributeError, IndexError, ArithmeticError, RecursionError,
            RuntimeError, MemoryError) as error:
        raise UserError(f'the model {kind_of(model)} cannot be built: '
                        f'{first_line(error)}') from error


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    # What torch was not built for is an assertion in it.
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device {device} cannot be used: '
                        f'{first_line(error)}') from error


def _pipeline(cfg: Config) -> list[dict]:
    dataset = _dataset(cfg)
    if not dataset.get('pipeline'):
        raise UserError('the config has no test_dataloader with a pipeline, '
                        'so it is not known how images are prepared')
    return dataset['pipeline']


def _dataset(cfg: Config) -> dict:
    loader = cfg.get('test_dataloader') or {}
    return next(datasets_in(loader)) if loader.get('dataset') else {}


def _classes(cfg: Config, content: dict) -> tuple[list[str], list[tuple]]:
    """Names and colours, of the first that knows them."""
    dataset = _dataset(cfg)
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        kind = registry.get(dataset['type']) if dataset.get('type') else None
    trained = content.get('meta')
    trained = trained if isinstance(trained, dict) else {}
    for meta in (trained.get('dataset_meta'), dataset.get('metainfo'),
                 getattr(kind, 'METAINFO', None)):
        known = meta if isinstance(meta, dict) else {}
        names = known.get('classes')
        if isinstance(names, (list, tuple)) and names:
            if not all(isinstance(name, str) for name in names):
                raise UserError('the names of the classes have to be texts, '
                                f'not {list(names)!r:.60}')
            _check_count(len(names), cfg.model)
            return ([str(name) for name in names],
                    colours(len(names), known.get('palette')))
    return [str(number) for number in range(NUMBERS)], colours(NUMBERS)


def _check_count(names: int, model: dict) -> None:
    """Each number that a head puts out needs its name."""
    for path, part in dicts_in(model, 'model'):
        count = part.get('num_classes')
        if (NAMED_HEAD.fullmatch(path) and isinstance(count, int)
                and count != names):
            raise UserError(
                f'{path}.num_classes is {count}, but there are {names} names '
                'of classes: checkpoint and config do not belong together')
