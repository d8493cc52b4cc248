"""Load a trained model, with the names of its classes."""
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope

from ..checkpoint.compatibility import check_finite, fitting_state_dict
from ..checkpoint.download import local_checkpoint
from ..checkpoint.embedded_config import (
    allowed_pipeline,
    compare_with_training,
    embedded_config,
    trained_meta,
)
from ..config.loading import (
    dicts_in,
    explain_build_errors,
    find_config,
    kind_of,
    read_config,
)
from ..config.requirements import require_scope
from ..datasets.checks.check_datasets import dataset_class, datasets_in
from ..deployment.deploy import deploy_in_place
from ..errors import UserError, first_line
from ..runtime.model_spec import is_exported, read_description
from ..utils.safe_load import check_checkpoint, safe_checkpoint_loading
from ..visualization.drawing import class_colors

# Class numbers of models without class names.
NUMBERS = 1000
# Other heads, such as an RPN's, count other classes.
NAMED_HEAD = re.compile(
    r'model\.(head|decode_head|bbox_head|roi_head\.bbox_head(\.\d+)?)')
# Trackers that need the boxes of a frame only.
BOX_TRACKERS = ('ByteTrack', 'OCSORT')
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


class TrainedModel(NamedTuple):
    """A library's model in eval mode, and its settings."""

    module: BaseModel
    scope: str
    # Of the test set.
    pipeline: list[dict]
    classes: list[str]
    palette: list[tuple]
    # Of drawn boxes.
    score_thr: float | None
    cfg: Config
    # The config of a multi-object tracker.
    tracker: dict | None = None


def load_model(checkpoint: str | Path, config: str | Path | None = None, *,
               device: str = 'cpu', deploy: bool | dict | None = None,
               trust_config: bool = False) -> TrainedModel:
    """Build a model, or the detector of a tracker, and load its weights."""
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
    cfg, tracker = _detector_config(cfg)
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
    if deploy not in (None, False):
        deploy_in_place(module, **(deploy if isinstance(deploy, dict) else {}))
    hook = (cfg.get('default_hooks') or {}).get('visualization') or {}
    return TrainedModel(module, scope, pipeline, classes, palette,
                        hook.get('score_thr'), cfg, tracker)


def _load_exported(folder: str | Path, config: str | Path | None,
                   device: str, deploy: bool, trust: bool) -> TrainedModel:
    """Load an exported model in place of the library's."""
    if config or deploy:
        raise UserError(f'{folder} is an exported model, which contains its '
                        'config and is already fused: leave '
                        f'{"--config" if config else "--deploy"} out')
    if device != 'cpu':
        raise UserError(f'--device {device}: exported models run on the CPU '
                        'only')
    description = read_description(folder)
    if not description.host:
        raise UserError(f'{folder} names no library of OpenMMLab: use '
                        'mmlowformer.runtime for it')
    pipeline = allowed_pipeline(description.host['pipeline'], str(folder),
                                trust=trust)
    cfg = Config(dict(default_scope=description.host['scope'], model=dict(
        type='mmlowformer.ExportedModel', folder=str(folder),
        threads=torch.get_num_threads(), trust=trust)))
    scope = require_scope(cfg)
    return TrainedModel(
        MODELS.build(cfg.model), scope, pipeline, description.classes,
        [tuple(color) for color in description.palette],
        description.host['score_thr'], cfg)


def _built(model: dict) -> BaseModel:
    try:
        return MODELS.build(model)
    # MMEngine's registry explains no other errors of a config.
    except (AttributeError, IndexError, ArithmeticError, RecursionError,
            RuntimeError, MemoryError) as error:
        raise UserError(f'the model {kind_of(model)} cannot be built: '
                        f'{first_line(error)}') from error


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    # Torch asserts that it was built for the device.
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device {device} cannot be used: '
                        f'{first_line(error)}') from error


def _pipeline(cfg: Config) -> list[dict]:
    dataset = next(_test_sets(cfg), {})
    if not dataset.get('pipeline'):
        raise UserError('the config has no test_dataloader with a pipeline, '
                        'which prepares the images')
    return dataset['pipeline']


def _classes(cfg: Config, content: dict) -> tuple[list[str], list[tuple]]:
    """Names and colors of the classes, from the first source that has them."""
    dataset = next(_test_sets(cfg), {})
    for meta in (trained_meta(content), dataset.get('metainfo'),
                 getattr(dataset_class(dataset, cfg), 'METAINFO', None)):
        if not isinstance(meta, dict):
            continue
        names = meta.get('classes')
        if not names or not isinstance(names, (list, tuple)):
            continue
        if not all(isinstance(name, str) for name in names):
            raise UserError('class names have to be texts, not '
                            f'{list(names)!r:.60}')
        _check_count(len(names), cfg.model)
        return list(names), class_colors(len(names), meta.get('palette'))
    return [str(number) for number in range(NUMBERS)], class_colors(NUMBERS)


def _check_count(names: int, model: dict) -> None:
    """Make sure that each output of a head has a name."""
    for path, part in dicts_in(model, 'model'):
        count = part.get('num_classes')
        if (NAMED_HEAD.fullmatch(path) and isinstance(count, int)
                and count != names):
            raise UserError(
                f'{path}.num_classes is {count}, but there are {names} names '
                'of classes: use the config of the checkpoint')


def _detector_config(cfg: Config) -> tuple[Config, dict | None]:
    """Split a multi-object tracker's config into detector and tracker."""
    kind = kind_of(cfg.model)
    if kind not in BOX_TRACKERS:
        if any(kind_of(step) == 'PackTrackInputs'
               for dataset in _test_sets(cfg)
               for step in dataset.get('pipeline') or ()):
            raise UserError(
                f'{kind} takes videos of a data set: use tools/test.py. '
                f'Detectors, {" and ".join(BOX_TRACKERS)} predict files')
        return cfg, None
    detector = copy.deepcopy(cfg)
    model = detector.model
    preprocessor = dict(model.get('data_preprocessor') or {},
                        type='DetDataPreprocessor')
    preprocessor.pop('use_det_processor', None)
    detector.model = dict(dict(data_preprocessor=preprocessor),
                          **model.detector)
    for dataset in _test_sets(detector):
        dataset['pipeline'] = _image_pipeline(dataset['pipeline'])
    return detector, model.tracker


def _test_sets(cfg: Config) -> Iterator[dict]:
    """The data sets of the test, if any."""
    loader = cfg.get('test_dataloader') or {}
    return datasets_in(loader) if loader.get('dataset') else iter(())


def _image_pipeline(pipeline: list[dict]) -> list[dict]:
    """Convert transforms of videos to those of images."""
    steps: list[dict] = []
    for step in pipeline:
        if kind_of(step) == 'TransformBroadcaster':
            steps += step['transforms']
        elif kind_of(step) == 'PackTrackInputs':
            steps.append(dict(type='PackDetInputs', meta_keys=META_KEYS))
        else:
            steps.append(step)
    return steps
