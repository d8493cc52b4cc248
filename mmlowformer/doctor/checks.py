"""Which checks a task needs, in the order in which to fix problems."""
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import NamedTuple

from ..export.requirements import INT8_PACKAGES, PACKAGES
from . import machine, software
from .environment import (
    NOT_REACHED,
    OPS_TASKS,
    CheckResult,
    Environment,
    skipped,
)
from .software import LIBRARIES

TASKS = dict(
    backbone='LowFormer by itself',
    detection='MMDetection with it',
    segmentation='MMSegmentation with it',
    classification='MMPreTrain with it',
    train='tools/train.py and tools/test.py',
    benchmark='tools/benchmark.py',
    export='tools/export.py',
    mot='multi-object tracking')
ALL = tuple(TASKS)
TRACKERS = ('lap', 'motmetrics', 'trackeval')
PEERS = ('timm', 'onnx', 'onnxruntime', 'openvino')


class Check(NamedTuple):
    """A line of the report.

    A task fails if a check that it needs does. The check is skipped if a step
    of ``after`` failed.
    """

    name: str
    function: Callable[[Environment], CheckResult | None]
    needed_by: tuple[str, ...] = ALL
    shown_for: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    only_for_tasks: bool = False


STACK = ('torch', 'mmengine', 'mmcv')
CHECKS = (
    Check('Python', software.python),
    Check('families', software.families),
    Check('setuptools', software.setuptools),
    Check('torch', software.torch),
    Check('numpy', software.numpy),
    Check('torchvision', software.torchvision, ('classification', ),
          ('detection', 'segmentation', 'train', 'benchmark'), ('torch', )),
    Check('GPU', machine.gpu, ('train', 'benchmark'), ALL, ('torch', )),
    Check('mmengine', partial(software.imports, 'mmengine')),
    Check('mmcv', software.mmcv, after=STACK[:2]),
    Check('compiler', machine.compiler, OPS_TASKS),
    Check('mmcv ops', software.ops, OPS_TASKS, ('train', ), STACK),
    Check('mmcv on GPU', software.ops_on_gpu, OPS_TASKS, ('train', )),
    Check('mmlowformer', software.installed),
    Check('backbone', software.backbone, after=STACK),
    Check('weights', software.weights, after=(*STACK, 'mmlowformer')),
    *(Check(name, partial(software.library, name), tasks, ('train', ), STACK)
      for name, tasks in LIBRARIES.items()),
    Check('a library', software.any_library, ('train', ),
          only_for_tasks=True),
    Check('checkpoints', software.checkpoints, ('train', ),
          after=(*STACK, 'mmlowformer')),
    Check('distributed', software.distributed, ('train', ),
          after=('torch', 'distributed')),
    Check('shared memory', machine.shared_memory, ('train', )),
    Check('disk', machine.disk, ('train', )),
    Check('to compare', partial(software.packages, PEERS,
                                "No module named '{}'", ()), (),
          ('benchmark', ), only_for_tasks=True),
    *(Check(name, partial(software.export_format, name, needs), (),
            ('export', ), only_for_tasks=True)
      for name, needs in (*PACKAGES.items(), *(
          (f'{name}, 8 bits', needs)
          for name, needs in INT8_PACKAGES.items()))),
    Check('many objects', partial(
        software.packages, TRACKERS, 'multi-object tracking needs {}',
        ('numpy', )), ('mot', ), only_for_tasks=True),
    Check('load', machine.load, (), ('benchmark', ), only_for_tasks=True))


def subjects_for(tasks: Collection[str]) -> list[str]:
    """What to probe: all libraries if no task names one, and exports."""
    named = [name for name, needing in LIBRARIES.items()
             if not set(needing).isdisjoint(tasks)]
    if not named and (not tasks or 'train' in tasks):
        named = list(LIBRARIES)
    return named + ['export'] * ('export' in tasks)


def run_checks(env: Environment
               ) -> Iterator[tuple[str, CheckResult, bool]]:
    """Names, results, and whether they make the exit status 1."""
    # Without tasks, only what is installed has to work, and the backbone.
    needing = env.tasks or {'backbone'}
    for check in CHECKS:
        if (env.tasks.isdisjoint(check.needed_by + check.shown_for)
                if env.tasks else check.only_for_tasks):
            continue
        failures: tuple[str, ...] = () if env.tasks else ('broken', )
        if not needing.isdisjoint(check.needed_by):
            failures = ('broken', 'missing', 'skipped')
        if result := run_check(check, env):
            yield check.name, result, result.status in failures


def run_check(check: Check, env: Environment) -> CheckResult | None:
    """The result of a check, or None if it does not apply."""
    if check.name in LIBRARIES and check.name not in env.steps:
        return None
    cause = env.first_failed(*check.after)
    if cause and not env.absent(check.name):
        return skipped(cause if cause in env.steps else env.crashed)
    result = check.function(env)
    if result and result.symptom == NOT_REACHED:
        return skipped(env.crashed)
    return result
