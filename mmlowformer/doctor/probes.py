"""Look at an environment, step by step: ``probes.py SUBJECT PATH``.

This runs in a process of its own. It prints each step before and after, so
that the reader knows which one a crash interrupted, and imports what a step
needs in that step. PATH holds this mmlowformer, in case it is not installed.
"""
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module as load
from pathlib import Path

MARK = '@doctor '


def report(**event) -> None:
    """Print an event on a line of its own, whatever a library has printed."""
    print(f'\n{MARK}{json.dumps(event)}', flush=True)


def run(name: str, function: Callable | None) -> None:
    """Run a step, by default import what has its name, and report the end."""
    report(name=name, crashed=True)
    try:
        report(name=name, value=function() if function else str(
            getattr(load(name), '__version__', '')))
    except BaseException as error:  # A library may raise SystemExit, too.
        line = str(error).strip().partition('\n')[0]
        frames = traceback.walk_tb(error.__traceback__)
        report(name=name, error=f'{type(error).__name__}: {line}', modules=[
            frame.f_globals.get('__name__', '') for frame, _ in frames])


def versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for item in importlib.metadata.distributions():
        # A broken installation may have no name.
        with contextlib.suppress(Exception):
            name = re.sub(r'[-_.]+', '-', item.metadata['Name']).lower()
            found.setdefault(name, item.version)
    return found


def installed() -> str | None:
    spec = importlib.util.find_spec('mmlowformer')
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def gpu() -> dict:
    import torch
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        available = torch.cuda.is_available()
    found: dict = dict(
        cuda=torch.version.cuda, available=available,
        warning=' '.join(str(item.message) for item in caught))
    if available:
        found.update(name=torch.cuda.get_device_name(),
                     count=torch.cuda.device_count(),
                     capability=torch.cuda.get_device_capability())
    return found


def nms(module: str, device: str = 'cpu') -> list[int]:
    """Run a library's nms on three boxes, two of which are equal."""
    import torch
    boxes = torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2], [4, 4, 6, 6]])
    found = load(module).nms(boxes.to(device), torch.tensor(
        [0.9, 0.8, 0.7], device=device), 0.5)
    # mmcv's returns the boxes, too.
    kept = (found[1] if isinstance(found, tuple) else found).tolist()
    if kept != [0, 2]:
        raise ValueError(f'nms keeps {kept}, not [0, 2]')
    return kept


def forward() -> None:
    import torch

    from mmlowformer import LowFormer
    with torch.no_grad():
        outputs = LowFormer('b0').eval()(torch.rand(1, 3, 64, 64))
    if not all(output.isfinite().all() for output in outputs):
        raise ValueError('the backbone outputs values that are not finite')


def pretrained() -> None:
    """Load weights from a file; those of another network must be refused."""
    import torch

    from mmlowformer import LowFormer
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'weights.pth')
        network = LowFormer('b0', init_cfg=dict(
            type='Pretrained', checkpoint=file))
        torch.save(network.state_dict(), file)
        network.init_weights()
        torch.save({'another.weight': torch.zeros(1)}, file)
        with contextlib.suppress(ValueError):
            LowFormer('b0', init_cfg=network.init_cfg).init_weights()
            raise RuntimeError('weights of another network were accepted')


def checkpoint() -> bool:
    """Whether plain torch.load reads what Runner saves; the tools must."""
    import numpy
    import torch
    from mmengine.logging import HistoryBuffer

    from mmlowformer import engine
    file = io.BytesIO()
    torch.save(dict(loss=HistoryBuffer([1.], [1]), lr=numpy.float64(1)), file)
    plain = False
    with contextlib.suppress(Exception):
        torch.load(io.BytesIO(file.getvalue()))
        plain = True
    engine.enable_safe_loading(os.environ)
    torch.load(io.BytesIO(file.getvalue()))
    return plain


def optimized(file: str) -> bool:
    """Whether a library was compiled with optimization.

    Without it, each short inline function of torch is a symbol of its own.
    """
    return b'_ZNK3c106Device4typeEv' not in Path(file).read_bytes()


def ops() -> bool:
    nms('mmcv.ops')
    return optimized(str(load('mmcv._ext').__file__))


def executorch() -> None:
    """Convert a layer and run it: each runtime is compiled for one torch."""
    import torch
    exir = load('executorch.exir')
    runtime = load('executorch.runtime').Runtime.get()
    example = (torch.tensor([-1., 2.]), )
    program = exir.to_edge_transform_and_lower(
        torch.export.export(torch.nn.ReLU(), example)).to_executorch()
    method = runtime.load_program(program.buffer).load_method('forward')
    found = method.execute(example)[0].tolist()
    if found != [0, 2]:
        raise ValueError(f'ReLU gives {found}, not [0, 2]')


# Without a function, what has the name is imported.
STACK: dict[str, Callable | None] = {
    'pkg_resources': None, 'numpy': None,
    'numpy.in1d': lambda: bool(load('numpy').in1d), 'torch': None,
    'torch and numpy': lambda: load('torch').from_numpy(
        load('numpy').ones(3)).numpy().tolist(),
    'gpu': gpu,
    'gpu computes': lambda: load('torch').ones(
        8, 8, device='cuda').matrix_power(2).sum().item(),
    'distributed': lambda: load('torch').distributed.is_available(),
    'torchvision': lambda: nms('torchvision.ops') and load(
        'torchvision').__version__,
    'mmengine': None, 'cv2': None, 'mmcv': None,
    'mmlowformer': lambda: load('mmlowformer.models') and load(
        'mmlowformer').__version__,
    'forward': forward,
    'configs': lambda: load('mmlowformer').get_config(
        'retinanet_lowformer_b0_coco').model.backbone.type,
    'pretrained': pretrained, 'checkpoint': checkpoint,
    'mmcv._ext': None, 'ops': ops,
    # An error counts if there is a GPU.
    'ops on gpu': lambda: nms('mmcv.ops', 'cuda')}
# Formats whose packages are tried.
EXPORT: dict[str, Callable | None] = {'executorch': executorch}


def library_steps(name: str) -> dict[str, Callable | None]:
    base = f"_base_ = '{name}::_base_/default_runtime.py'"
    return {
        name: None, f'{name}.models': None,
        f'{name}.datasets': None, f'{name}.evaluation': None,
        f'{name} look-up': lambda: str(load(f'{name}.registry').MODELS.build(
            dict(type='mmlowformer.LowFormer', arch='b0')).arch),
        f'{name} base': lambda: len(load(
            'mmengine.config').Config.fromstring(base, '.py'))}


def main(subject: str, path: str) -> None:
    # Modules beside this file must not hide others of the same name.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    if subject == 'stack':
        run('versions', versions)
        run('installed', installed)
    sys.path.append(path)
    steps = dict(stack=STACK, export=EXPORT).get(
        subject) or library_steps(subject)
    for name, function in steps.items():
        run(name, function)


if __name__ == '__main__':
    main(*sys.argv[1:])
