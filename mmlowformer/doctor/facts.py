"""Gathering what the checks judge."""
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import probes

PACKAGE = Path(__file__).resolve().parents[1]
NOT_REACHED = 'not reached'
# For one probe; a first import after a restart takes its time.
TIME_LIMIT = 120


@dataclass
class Outcome:
    """How a step of a probe ended."""

    value: object = None
    error: str = ''
    crash: bool = False
    where: list[str] = field(default_factory=list)


@dataclass
class Facts:
    """The environment as the probes saw it."""

    steps: dict[str, Outcome]
    tasks: frozenset[str] = frozenset()
    load: float = 0.

    @property
    def versions(self) -> dict[str, str]:
        """Installed distributions."""
        return self.value('versions') or {}

    @property
    def forks(self) -> bool:
        """Whether this is an environment with the maintained forks."""
        return 'onedl-mmengine' in self.versions \
            or 'onedl-mmcv' in self.versions

    @property
    def needs_ops(self) -> bool:
        """Whether mmcv-lite would not do."""
        return bool(self.tasks & {'detection', 'segmentation'}
                    or {'mmdet', 'mmsegmentation'} & set(self.versions))

    def value(self, step: str):
        """What a step found, None if it failed or did not run."""
        return self.steps[step].value if step in self.steps else None

    def error(self, step: str) -> str:
        """Why a step failed; empty if it did not."""
        outcome = self.steps.get(step)
        return outcome.error if outcome else NOT_REACHED

    def works(self, step: str) -> bool:
        """Whether a step ran to its end."""
        return not self.error(step)

    @property
    def crashed(self) -> str:
        """The step that ended the process of those that were not reached."""
        return next((step for step, outcome in self.steps.items()
                     if outcome.crash), 'the probe')

    def absent(self, module: str) -> bool:
        """Whether importing a module failed because there is none."""
        return f"No module named '{module}'" in self.error(module)

    def first_failed(self, *steps: str) -> str | None:
        """The first of the steps that did not work."""
        return next((step for step in steps if not self.works(step)), None)


def gather(hosts: Iterable[str], tasks: Iterable[str] = ()) -> Facts:
    """Run the probes, side by side."""
    subjects = ['stack', *hosts]
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.
    with ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1))) as pool:
        steps = {}
        for outcomes in pool.map(run_probe, subjects):
            steps.update(outcomes)
    return Facts(steps, frozenset(tasks), load)


def run_probe(subject: str) -> dict[str, Outcome]:
    """Look at a subject in a process of its own."""
    command = [sys.executable, probes.__file__, subject, str(PACKAGE.parent)]
    try:
        # In a folder that cannot hold a mmlowformer which is not installed.
        done = subprocess.run(
            command, cwd=os.path.abspath(os.sep), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired as error:
        return read_events(error.stdout, f'no end within {TIME_LIMIT} s')
    return read_events(done.stdout, _end_of_process(done.returncode))


def _end_of_process(status: int) -> str:
    if status < 0:
        return f'{signal.strsignal(-status)} (Python was killed)'
    return f'Python ended with status {status}'


def read_events(output: bytes | None, end: str) -> dict[str, Outcome]:
    """Outcomes in the output of a probe."""
    outcomes = {}
    for line in (output or b'').decode(errors='replace').splitlines():
        if not line.startswith(probes.MARK):
            continue
        event = json.loads(line.removeprefix(probes.MARK))
        if 'begin' in event:
            outcomes[event['begin']] = Outcome(error=end, crash=True)
        else:
            step = event.pop('end')
            outcomes[step] = Outcome(**event)
    return outcomes
