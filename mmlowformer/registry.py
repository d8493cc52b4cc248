"""The ``mmlowformer`` scope of MMEngine's registries.

A config of any OpenMMLab library names what is registered here as
``type='mmlowformer.X'``: MMEngine then imports this module by itself, and the
modules in ``locations`` on the first look-up.
"""
import warnings
from importlib import import_module

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

# Built on a library that not everybody has, or seldom needed: imported when
# asked for.
LAZY_MODULES = dict(
    AtomicCheckpointHook='mmlowformer.engine.hooks.atomic_checkpoint',
    BatchNormCheckHook='mmlowformer.engine.hooks.batch_norm_check',
    CheckNaNHook='mmlowformer.engine.hooks.check_nan',
    ChunkedLossHook='mmlowformer.engine.hooks.chunked_loss',
    CompileHook='mmlowformer.engine.hooks.compile',
    ConfigWarningHook='mmlowformer.engine.hooks.config_warnings',
    DeployHook='mmlowformer.engine.hooks.deploy',
    EarlyStoppingRecordHook='mmlowformer.engine.hooks.resume_validation',
    ImageErrorHook='mmlowformer.engine.hooks.image_errors',
    LogHistoryHook='mmlowformer.engine.hooks.progress_bar',
    MemoryFormatHook='mmlowformer.engine.hooks.memory_format',
    ProgressBarHook='mmlowformer.engine.hooks.progress_bar',
    ResumeOrderHook='mmlowformer.engine.hooks.resume_order',
    ResumeValidationHook='mmlowformer.engine.hooks.resume_validation',
    RunSummaryHook='mmlowformer.engine.hooks.run_summary',
    StateDictAdapterHook='mmlowformer.engine.hooks.state_dict_adapter',
    VisualizationHook='mmlowformer.engine.hooks.visualization',
    ClassAgnosticByteTracker='mmlowformer.tracking.bytetrack',
    ExportedModel='mmlowformer.models.exported_model',
    LowFormerClsHead='mmlowformer.models.cls_head',
    LowFormerImageClassifier='mmlowformer.models.image_classifier',
    LowFormerTracker='mmlowformer.tracking.tracker',
    MOTVisualizationHook='mmlowformer.tracking.evaluation.mot_visualization',
    SOTVisualizationHook='mmlowformer.tracking.evaluation.sot_visualization',
    SaveTracksHook='mmlowformer.tracking.saved_tracks',
    TrackerHead='mmlowformer.tracking.tracker_head',
    TrackerPreprocessor='mmlowformer.tracking.data_preprocessor',
    **dict.fromkeys(('GOT10k', 'LaSOT', 'TrackingNet', 'VideoFolders',
                     'UAV123', 'CocoObjects'),
                    'mmlowformer.tracking.datasets.sot_datasets'),
    TrackingPairs='mmlowformer.tracking.datasets.pairs',
    CustomSegDataset='mmlowformer.datasets.custom_seg_dataset',
    RetrievalQueries='mmlowformer.datasets.retrieval')


# Old names, which work until the next release, and what they are called now.
RENAMED: dict[str, str] = dict(
    BrightnessOfEach='IndependentBrightness',
    CutPair='PairCrop',
    FlipEach='IndependentFlip',
    FlipPair='PairRandomFlip',
    GrayPair='PairRandomGrayscale',
    ListedMasks='CustomSegDataset')


class LazyRegistry(Registry):
    """A registry that imports some modules only when they are looked up."""

    def get(self, key: str):
        """See ``mmengine.registry.Registry.get``."""
        scope, _, name = key.rpartition('.')
        if name in RENAMED and scope in ('', self.scope):
            key = f'{self.scope}.{RENAMED[name]}'
            warnings.warn(f"type='{self.scope}.{name}' is called '{key}' now; "
                          'the old name works until the next release',
                          FutureWarning, stacklevel=2)
        module = LAZY_MODULES.get(key.split('.')[-1])
        if module:
            import_module(module)
        return super().get(key)


MODELS = LazyRegistry('model', parent=MMENGINE_MODELS, scope='mmlowformer',
                      locations=['mmlowformer.models'])
HOOKS = LazyRegistry('hook', parent=MMENGINE_HOOKS, scope='mmlowformer')
DATASETS = LazyRegistry('dataset', parent=MMENGINE_DATASETS,
                        scope='mmlowformer')
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmlowformer',
    locations=['mmlowformer.engine.optimizers.bfloat16'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, scope='mmlowformer',
    locations=['mmlowformer.engine.optimizers.layer_decay'])
TRANSFORMS = LazyRegistry(
    'transform', parent=MMENGINE_TRANSFORMS, scope='mmlowformer',
    locations=['mmlowformer.tracking.datasets.transforms'])
# By the data type of their autocast.
AMP_WRAPPERS: dict[str, dict] = dict(
    fp16=dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
    bf16=dict(type='mmlowformer.BFloat16OptimWrapper'))
METRICS = Registry(
    'metric', parent=MMENGINE_METRICS, scope='mmlowformer',
    locations=['mmlowformer.tracking.evaluation.sot_metrics'])
