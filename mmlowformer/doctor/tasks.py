"""Which checks a task needs, in the order in which troubles are mended."""
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from . import (
    backbone,
    exports,
    machine,
    mot,
    openmmlab,
    ops,
    stack,
)
from .facts import NOT_REACHED, Facts
from .results import BROKEN, MISSING, SKIPPED, Result, skipped

TASKS = dict(
    backbone='LowFormer by itself',
    detection='MMDetection with it',
    segmentation='MMSegmentation with it',
    classification='MMPreTrain with it',
    train='tools/train.py and tools/test.py',
    benchmark='tools/benchmark.py',
    export='tools/export.py',
    mot='trackers of many objects')
ALL = tuple(TASKS)
HOST_OF = dict(detection='mmdet', segmentation='mmseg',
               classification='mmpretrain', mot='mmdet')


@dataclass(frozen=True)
class Check:
    """A check and when it is made."""

    function: Callable[[Facts], Iterator[Result]]
    needed_by: tuple[str, ...] = ()
    shown_for: tuple[str, ...] = ()
    unasked: bool = True


CHECKS = (
    Check(stack.check_python, ALL),
    Check(stack.check_families, ALL),
    Check(stack.check_setuptools, ALL),
    Check(stack.check_torch, ALL),
    Check(stack.check_numpy, ALL),
    Check(stack.check_torchvision, ('classification', ),
          ('detection', 'segmentation', 'train', 'benchmark')),
    Check(machine.check_gpu, ('train', 'benchmark'), ALL),
    Check(stack.check_mmengine, ALL),
    Check(stack.check_mmcv, ALL),
    Check(ops.check_compiler, ('detection', 'segmentation', 'mot')),
    Check(ops.check_ops, ('detection', 'segmentation', 'mot'), ('train', )),
    Check(stack.check_installed, ALL),
    Check(backbone.check_backbone, ALL),
    Check(backbone.check_pretrained, ALL),
    Check(openmmlab.check_host('mmdet'), ('detection', 'mot'), ('train', )),
    Check(openmmlab.check_host('mmseg'), ('segmentation', ), ('train', )),
    Check(openmmlab.check_host('mmpretrain'), ('classification', ),
          ('train', )),
    Check(openmmlab.check_any_host, ('train', ), unasked=False),
    Check(backbone.check_checkpoint, ('train', )),
    Check(machine.check_distributed, ('train', )),
    Check(machine.check_shared_memory, ('train', )),
    Check(machine.check_disk, ('train', )),
    Check(machine.check_peers, (), ('benchmark', ), unasked=False),
    Check(exports.check_formats, (), ('export', ), unasked=False),
    Check(mot.check_packages, ('mot', ), unasked=False),
    Check(machine.check_load, (), ('benchmark', ), unasked=False),
)


def hosts_for(tasks: Collection[str]) -> list[str]:
    """The libraries to look at; all of them if no task names one."""
    named = dict.fromkeys(host for task, host in HOST_OF.items()
                          if task in tasks)
    any_will_do = not tasks or 'train' in tasks
    return list(named or (dict.fromkeys(HOST_OF.values()) if any_will_do
                          else ()))


def run_checks(facts: Facts) -> Iterator[tuple[Result, bool]]:
    """Judge the facts for the tasks in them."""
    # This package is there, so its backbone has to work in any case.
    tasks = facts.tasks or {'backbone'}
    for check in CHECKS:
        if facts.tasks.isdisjoint(check.needed_by + check.shown_for) \
                and not (check.unasked and not facts.tasks):
            continue
        needed = not tasks.isdisjoint(check.needed_by)
        for result in check.function(facts):
            if result.symptom == NOT_REACHED:
                result = skipped(result.name, facts.crashed)
            yield result, _is_trouble(result, needed, not facts.tasks)


def _is_trouble(result: Result, needed: bool, unasked: bool) -> bool:
    if result.status == BROKEN:
        return needed or unasked
    return result.status in (MISSING, SKIPPED) and needed
