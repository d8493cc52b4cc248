"""Writing down what an exported model is."""
import importlib.metadata
import platform
from collections.abc import Sequence

from mmengine.config import Config
from torch import nn

from ..config.loading import kind_of
from ..models import find_lowformers
from ..predict.predictor import SCORE
from ..predict.trained_model import TrainedModel
from ..runtime.model_spec import Description
from ..version import __version__
from .formats import Format
from .preprocessing import prepare_steps
from .program import LEAST_SIDE, Shape
from .wrappers import Network

PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet',
            'mmsegmentation', 'mmpretrain', 'onnx', 'onnxscript',
            'onnxruntime', 'openvino', 'nncf', 'pnnx', 'ncnn', 'executorch',
            'litert-torch', 'ai-edge-litert', 'ai-edge-quantizer',
            'coremltools')


def describe(trained: TrainedModel, network: Network, shape: Shape,
             form: Format, precision: str) -> Description:
    """What is known about an exported model before it is written."""
    rule = network.rule
    names = sorted({backbone.variant_name for backbone in
                    find_lowformers(trained.module).values()})
    kind = ('backbone' if network.task == 'features' else
            type(trained.module).__name__)
    return Description(
        task=network.task, model=' with '.join((kind, *names)),
        format=form.name, files=[], precision=precision,
        classes=trained.classes,
        palette=[[int(part) for part in colour]
                 for colour in trained.palette],
        input=dict(
            name='images', layout='NCHW', dtype='float32', range=[0, 255],
            channel_order=rule.channel_order, shape=shape.described,
            least_size=LEAST_SIDE if shape.dynamic else 1,
            mean=list(rule.mean), std=list(rule.std)),
        padding=dict(divisor=rule.divisor, value=rule.value,
                     by='model' if form.pads else 'runtime'),
        prepare=prepare_steps(trained.pipeline),
        outputs=outputs(network, trained, shape), decoding=network.decoding,
        host=dict(scope=trained.scope, pipeline=_values(trained.pipeline),
                  score_thr=SCORE if trained.score_thr is None else
                  trained.score_thr),
        versions=versions())


def _values(pipeline: Sequence[dict]) -> str:
    """Transforms as text that ``ast.literal_eval`` reads: JSON has no tuples.

    Classes in it become their names.
    """
    return repr([dict(Config(dict(step)).to_dict(), type=kind_of(step))
                 for step in pipeline])


def outputs(network: Network, trained: TrainedModel, shape: Shape
            ) -> list[dict]:
    """Names and shapes of what a network gives, words for what is open."""
    batch, _, height, width = shape.described
    count = _classes(trained.module) or len(trained.classes)
    if network.task == 'classification':
        return [dict(name='scores', shape=[batch, count])]
    if network.task == 'segmentation':
        return [dict(name='logits', shape=[batch, count, height, width])]
    if 'boxes' in network.output_names:
        rows = network.decoding['max_dets']
        return [dict(name='boxes', shape=[batch, rows, 4]),
                dict(name='scores', shape=[batch, rows]),
                dict(name='labels', shape=[batch, rows])]
    return [dict(name=name, shape=[batch, *_map(network, name, shape)])
            for name in network.output_names]


def _classes(module: nn.Module) -> int | None:
    for name in ('head', 'decode_head'):
        head = getattr(module, name, None)
        # A segmentor of two classes may tell them by one channel.
        count = getattr(head, 'out_channels', None) or getattr(
            head, 'num_classes', None)
        if count:
            return int(count)
    return None


def _map(network: Network, name: str, shape: Shape) -> list:
    """Channels, height and width of a map."""
    index = network.output_names.index(name)
    if network.task == 'features':
        channels = network.model.out_channels[index]
        stride = network.model.out_strides[index]
    else:
        kind, level = name.split('_')
        decoding = network.decoding
        step = decoding['levels'][int(level)]
        stride = step['stride'][0]
        channels = len(step['anchors']) * (
            decoding['classes'] if kind == 'scores' else 4)
    return [channels, *(
        f'{side}/{stride}' if isinstance(side, str) else
        -(-_padded(side, network.rule.divisor) // stride)
        for side in shape.described[2:])]


def _padded(side: int, divisor: int) -> int:
    return -(-side // divisor) * divisor


def versions() -> dict[str, str]:
    """Of this package and of what has a part in an export."""
    found = dict(mmlowformer=__version__, python=platform.python_version())
    for name in PACKAGES:
        for installed in (name, f'onedl-{name}'):
            try:
                found[installed] = importlib.metadata.version(installed)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
