"""Runs in a process of its own, which may die: ``probes.py STACK|HOST PATH``.

Each step is announced before it runs and its outcome written when it has, so
that the reader knows which one a crash interrupted. Imports are inside the
steps for the same reason. PATH is where this mmlowformer is, for an
environment that it is not installed in.
"""
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable

MARK = '@doctor '
DISTRIBUTIONS = (
    'torch', 'torchvision', 'mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite',
    'mmcv-full', 'onedl-mmcv', 'mmdet', 'onedl-mmdetection', 'mmsegmentation',
    'onedl-mmsegmentation', 'mmpretrain', 'onedl-mmpretrain', 'numpy',
    'setuptools', 'huggingface_hub', 'safetensors', 'timm', 'onnx',
    'onnxruntime', 'openvino', 'onnxscript', 'nncf', 'pnnx', 'ncnn',
    'executorch', 'litert-torch', 'ai-edge-litert', 'ai-edge-quantizer',
    'transformers', 'coremltools')


def report(**event) -> None:
    """Write an event on a line of its own, whatever a library has printed."""
    print(f'\n{MARK}{json.dumps(event)}', flush=True)


def step(name: str, function: Callable) -> None:
    """Run a part of the probe, and say how it went."""
    report(begin=name)
    try:
        report(end=name, value=function())
    except BaseException as error:  # A library may raise SystemExit, too.
        report(end=name, error=_describe(error), where=_modules(error))


def _describe(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'


def _modules(error: BaseException) -> list:
    """Names of the modules that the error came through."""
    frames = traceback.walk_tb(error.__traceback__)
    return [frame.f_globals.get('__name__', '') for frame, _ in frames]


def _versions() -> dict:
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _import(name: str) -> Callable:
    def version():
        module = importlib.import_module(name)
        return str(getattr(module, '__version__', ''))

    return version


def _installed() -> str | None:
    spec = importlib.util.find_spec('mmlowformer')
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def _torch_and_numpy() -> int:
    import numpy
    import torch
    return int(torch.from_numpy(numpy.ones(3)).numpy().sum())


def _gpu() -> dict:
    import torch
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        available = torch.cuda.is_available()
    found: dict[str, object] = dict(
        cuda=torch.version.cuda, available=available,
                 warning=' '.join(str(item.message) for item in caught))
    if available:
        found.update(
            name=torch.cuda.get_device_name(),
            count=torch.cuda.device_count(),
            capability=list(torch.cuda.get_device_capability()))
    return found


def _gpu_computes() -> float | None:
    import torch
    if not torch.cuda.is_available():
        return None
    ones = torch.ones(8, 8, device='cuda')
    return (ones @ ones).sum().item()


def _distributed() -> bool:
    import torch
    return torch.distributed.is_available()


def _torchvision_works() -> int:
    import torchvision
    return len(torchvision.ops.nms(*_two_equal_boxes(), 0.5))


def _forward() -> list:
    import torch

    from mmlowformer import LowFormer
    with torch.no_grad():
        maps = LowFormer('b0').eval()(torch.rand(1, 3, 64, 64))
    if not all(map_.isfinite().all() for map_ in maps):
        raise ValueError('the backbone gives values that are not finite')
    return [list(map_.shape[1:]) for map_ in maps]


def _configs() -> str:
    from mmlowformer import get_config
    return get_config('retinanet_lowformer_b0_coco').model.backbone.type


def _pretrained() -> bool:
    """Weights are loaded from a file, and those of another network refused."""
    import torch

    from mmlowformer import LowFormer
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'weights.pth')
        init = dict(type='Pretrained', checkpoint=file)
        torch.save(LowFormer('b0').state_dict(), file)
        LowFormer('b0', init_cfg=init).init_weights()
        torch.save({'another.weight': torch.zeros(1)}, file)
        try:
            LowFormer('b0', init_cfg=init).init_weights()
        except ValueError:
            return True
    raise ValueError('weights of another network were accepted')


def _checkpoint() -> bool:
    """Whether torch.load by itself reads what Runner writes.

    The tools have to read it in any case.
    """
    import numpy
    import torch
    from mmengine.logging import HistoryBuffer

    from mmlowformer import engine
    file = io.BytesIO()
    torch.save(dict(loss=HistoryBuffer([1.], [1]), lr=numpy.float64(1)), file)

    def read():
        file.seek(0)
        return torch.load(file)

    try:
        read()
        alone = True
    except Exception:
        alone = False
    engine.enable_safe_loading(os.environ)
    read()
    return alone


def _boxes(number: int):
    import torch
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(number, 2, generator=generator) * 1000
    size = torch.rand(number, 2, generator=generator) * 20 + 4
    return (torch.cat([corner, corner + size], 1),
            torch.rand(number, generator=generator))


def _seconds(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _two_equal_boxes():
    import torch
    boxes = torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2], [4, 4, 6, 6]])
    return boxes, torch.tensor([0.9, 0.8, 0.7])


def _ops() -> float | None:
    """That mmcv's nms runs, and its time in torchvision's, if that is there.

    Both in turn, and the fastest of each: another process that takes the
    processor away now and then changes neither.
    """
    from mmcv.ops import nms
    kept = nms(*_two_equal_boxes(), 0.5)[1].tolist()
    if kept != [0, 2]:
        raise ValueError(f'nms keeps {kept}, not [0, 2]')
    try:
        reference = importlib.import_module('torchvision.ops').nms
        _torchvision_works()
    except Exception:
        return None
    boxes, scores = _boxes(2000)
    mine, theirs = zip(*(
        (_seconds(lambda: nms(boxes, scores, 0.5)),
         _seconds(lambda: reference(boxes, scores, 0.5))) for _ in range(20)))
    return min(mine) / min(theirs)


def _ops_on_gpu() -> int | None:
    import torch
    if not torch.cuda.is_available():
        return None
    from mmcv.ops import nms
    boxes, scores = _two_equal_boxes()
    return len(nms(boxes.cuda(), scores.cuda(), 0.5)[1])


def _focal_loss_in_bf16() -> float | None:
    import torch
    if not torch.cuda.is_available():
        return None
    from mmcv.ops import sigmoid_focal_loss
    scores = torch.zeros(4, 2, device='cuda', dtype=torch.bfloat16)
    labels = torch.zeros(4, device='cuda', dtype=torch.int64)
    return sigmoid_focal_loss(scores, labels).item()


def _look_up(host: str) -> str:
    registry = importlib.import_module(f'{host}.registry')
    found = registry.MODELS.get('mmlowformer.LowFormer')
    if found is None:
        raise KeyError('mmlowformer.LowFormer is not in the '
                       f'{host}::model registry')
    return found.__name__


def _base_config(host: str) -> bool:
    from mmengine.config import Config
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'config.py')
        with open(file, 'w') as stream:
            stream.write(f"_base_ = '{host}::_base_/default_runtime.py'\n")
        return bool(Config.fromfile(file).default_scope)


def probe_stack(path: str) -> None:
    """All but the libraries that a backbone is used in."""
    step('versions', _versions)
    step('installed', _installed)
    sys.path.append(path)
    for name in ('pkg_resources', 'numpy', 'torch'):
        step(name, _import(name))
    step('torch and numpy', _torch_and_numpy)
    step('gpu', _gpu)
    step('gpu computes', _gpu_computes)
    step('distributed', _distributed)
    step('torchvision', _import('torchvision'))
    step('torchvision works', _torchvision_works)
    for name in ('mmengine', 'cv2', 'mmcv', 'mmlowformer'):
        step(name, _import(name))
    step('forward', _forward)
    step('configs', _configs)
    step('pretrained', _pretrained)
    step('checkpoint', _checkpoint)
    step('mmcv._ext', _import('mmcv._ext'))
    step('ops', _ops)
    step('ops on gpu', _ops_on_gpu)
    step('focal loss in bf16', _focal_loss_in_bf16)


def probe_host(host: str, path: str) -> None:
    """A library, and whether it finds the backbone."""
    sys.path.append(path)
    step(host, _import(host))
    for part in ('models', 'datasets', 'evaluation'):
        step(f'{host}.{part}', _import(f'{host}.{part}'))
    step(f'{host} look-up', lambda: _look_up(host))
    step(f'{host} base', lambda: _base_config(host))


def main(subject: str, path: str) -> None:
    # The folder of this file, which would make its neighbours top modules.
    sys.path[:] = [entry for entry in sys.path
                   if entry != os.path.dirname(os.path.abspath(__file__))]
    if subject == 'stack':
        probe_stack(path)
    elif re.fullmatch(r'\w+', subject):
        probe_host(subject, path)


if __name__ == '__main__':
    main(*sys.argv[1:])
