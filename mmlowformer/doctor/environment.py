"""Probe an environment."""
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..utils.imports import PACKAGE
from . import probes

NOT_REACHED = 'not reached'
# Seconds for one probe; the first import on a busy machine took over 120.
TIME_LIMIT = 600
# mmcv-lite is enough for other tasks.
OPS_TASKS = ('detection', 'segmentation', 'mot')


@dataclass
class Step:
    """The result of a step of a probe."""

    value: Any = None
    error: str = ''
    # Names of the modules that the error passed through.
    modules: list[str] = field(default_factory=list)
    crashed: bool = False


class Environment:
    """The steps of all probes, and the tasks that the user named."""

    def __init__(self, steps: dict[str, Step], tasks: Iterable[str] = ()):
        self.steps = steps
        self.tasks = frozenset(tasks)
        self.versions: dict[str, str] = self['versions'] or {}
        names = set(self.versions)
        self.forks = bool(names & {'onedl-mmengine', 'onedl-mmcv'})
        self.needs_ops = bool(not self.tasks.isdisjoint(OPS_TASKS)
                              or names & {'mmdet', 'mmsegmentation'})

    def __getitem__(self, step: str) -> Any:
        """The value of a step; None if it failed or did not run."""
        return self.steps[step].value if step in self.steps else None

    @property
    def has_gpu(self) -> bool:
        return bool(self['gpu'] and self['gpu']['available'])

    def error(self, step: str) -> str:
        """Why a step failed; empty if it did not."""
        return self.steps[step].error if step in self.steps else NOT_REACHED

    def first_failed(self, *steps: str) -> str:
        return next(filter(self.error, steps), '')

    def absent(self, module: str) -> bool:
        return f"No module named '{module}'" in self.error(module)

    @property
    def crashed(self) -> str:
        """The step that kept later ones from being reached."""
        return next((name for name, step in self.steps.items()
                     if step.crashed), 'the probe')

    def release(self, name: str) -> tuple[int, ...]:
        """The numbers of a version: ``2.12.1+cu130`` is ``(2, 12, 1)``."""
        version = self[name] or self.versions.get(name, '')
        numbers = re.match(r'\d+(\.\d+)*', version)
        return tuple(map(int, numbers.group().split('.'))) if numbers else ()


class CheckResult(NamedTuple):
    """A finding, the error that users see, and the command that fixes it."""

    status: str
    text: str
    symptom: str = ''
    remedy: str = ''


ok, warning, broken, missing = (
    partial(CheckResult, status)
    for status in ('ok', 'warning', 'broken', 'missing'))


def skipped(cause: str) -> CheckResult:
    return CheckResult('skipped', f'not checked: {cause} does not work')


def examine(subjects: Iterable[str], tasks: Iterable[str]) -> Environment:
    """Run the probes side by side."""
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.
    steps = {'load': Step(load)}
    with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1))) as pool:
        for found in pool.map(run_probe, ['stack', *subjects]):
            steps.update(found)
    return Environment(steps, tasks)


def run_probe(subject: str) -> dict[str, Step]:
    """Probe the stack or a library in a process of its own."""
    command = [sys.executable, probes.__file__, subject, str(PACKAGE.parent)]
    try:
        # In the root folder Python finds only an installed mmlowformer.
        process = subprocess.run(
            command, cwd=os.path.abspath(os.sep), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=TIME_LIMIT)
        output, status = process.stdout, process.returncode
        end = (f'{signal.strsignal(-status)} (Python was killed)'
               if status < 0 else f'Python ended with status {status}')
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b'', f'no end within {TIME_LIMIT} s'
    steps = {}
    for line in output.decode(errors='replace').splitlines():
        if line.startswith(probes.MARK):
            event = json.loads(line.removeprefix(probes.MARK))
            name = event.pop('name')
            steps[name] = Step(**event)
    for step in steps.values():
        if step.crashed:
            step.error = end
    return steps
