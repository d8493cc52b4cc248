"""The config of the detector inside a multi-object tracker."""
import copy
from collections.abc import Iterator

from mmengine.config import Config

from ..config.loading import kind_of
from ..datasets.checks.check_datasets import datasets_in
from ..errors import UserError

# Trackers that need the boxes of a frame only.
BOX_TRACKERS = ('ByteTrack', 'OCSORT')
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def detector_config(cfg: Config) -> tuple[Config, dict | None]:
    """Split a config into that of its detector and that of its tracker."""
    kind = kind_of(cfg.model)
    if kind not in BOX_TRACKERS:
        if any(kind_of(step) == 'PackTrackInputs'
               for dataset in test_sets(cfg)
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
    for dataset in test_sets(detector):
        dataset['pipeline'] = _image_pipeline(dataset['pipeline'])
    return detector, model.tracker


def test_sets(cfg: Config) -> Iterator[dict]:
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
