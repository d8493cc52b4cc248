"""The detector inside of a tracker of many objects."""
import copy
from collections.abc import Iterator

from mmengine.config import Config

from ..config.loading import kind_of
from ..datasets.checks.check_datasets import datasets_in
from ..errors import UserError

# Trackers that look at nothing but the boxes of a frame.
OVER_BOXES = ('ByteTrack', 'OCSORT')
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def detector_config(cfg: Config) -> tuple[Config, dict | None]:
    """The config of the detector inside a multi-object tracker."""
    kind = kind_of(cfg.model)
    if kind not in OVER_BOXES:
        if any(kind_of(step) == 'PackTrackInputs'
               for dataset in _test_sets(cfg)
               for step in dataset.get('pipeline') or ()):
            raise UserError(
                f'{kind} takes videos of a data set: use tools/test.py. '
                f'Detectors, {" and ".join(OVER_BOXES)} predict files')
        return cfg, None
    alone = copy.deepcopy(cfg)
    tracker = alone.model
    preprocessor = dict(tracker.get('data_preprocessor') or {},
                        type='DetDataPreprocessor')
    preprocessor.pop('use_det_processor', None)
    alone.model = dict(dict(data_preprocessor=preprocessor),
                       **tracker.detector)
    for dataset in _test_sets(alone):
        dataset['pipeline'] = _of_frames(dataset['pipeline'])
    return alone, tracker.tracker


def _test_sets(cfg: Config) -> Iterator[dict]:
    loader = cfg.get('test_dataloader') or {}
    return datasets_in(loader) if loader.get('dataset') else iter(())


def _of_frames(pipeline: list[dict]) -> list[dict]:
    """Transforms of videos as those of images."""
    steps: list[dict] = []
    for step in pipeline:
        if kind_of(step) == 'TransformBroadcaster':
            steps += step['transforms']
        elif kind_of(step) == 'PackTrackInputs':
            steps.append(dict(type='PackDetInputs', meta_keys=META_KEYS))
        else:
            steps.append(step)
    return steps
