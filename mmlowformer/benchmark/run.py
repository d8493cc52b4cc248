"""Measure models: prepare them, time them in turns, save, report."""
import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch._dynamo

from ..errors import UserError, damage_errors
from ..utils.files import replace_text, write_errors
from ..utils.timing import (
    WIDE_SPREAD,
    Candidate,
    TakesTurns,
    Timer,
    interleave,
    median,
    percentile,
    relative_iqr,
    timer_for,
    warm_up,
)
from .candidates import (
    TimedModel,
    peak_candidate,
    prepare_model,
    set_up,
    time_turn_of,
)
from .environment import describe_environment
from .models import Spec
from .options import Settings, options_for
from .record import SCHEMA, as_json, check_same_settings, read


class BenchmarkProgress:
    """Callbacks of a measurement; this base class ignores all calls."""

    def message(self, text: str) -> None:
        """Show a message to the user."""

    def start_series(self, total_cost: float) -> None:
        """Start a series of measurements."""

    def start_measurement(self, title: str, cost: float, steps: int) -> None:
        """Start a measurement of a series."""

    def start_phase(self, title: str, steps: int) -> None:
        """Start a phase of a measurement."""

    def step(self, text: str = '') -> None:
        """Start a step of the phase."""


@dataclass
class BenchmarkedModel:
    """A model and its measurements."""

    spec: Spec
    # Plain values, as in the file.
    row: dict
    # Of one call, for each turn.
    seconds: list[float] = field(default_factory=list)
    # While it is in memory.
    timed: TimedModel | None = None

    @property
    def failure(self) -> str | None:
        """Why it has no measurement."""
        if self.timed and self.timed.failure:
            return self.timed.failure
        return self.row['failure']

    @property
    def peak_memory(self) -> int:
        """Bytes, 0 where they are unknown."""
        return next(iter(self.row.get('memory', {}).values()), None) or 0


def benchmark(specs: list[Spec], settings: Settings,
              timer: Timer | None = None,
              progress: BenchmarkProgress | None = None, *,
              path: Path | None = None, isolate: bool = False,
              max_memory: float | None = None) -> dict:
    """Measure models in turns.

    If memory runs out, all models are measured again with half the batch
    size.

    Args:
        specs (list[Spec]): The models.
        settings (Settings): What is measured, and for how long.
        timer (Timer, optional): Defaults to the device's timer.
        progress (BenchmarkProgress, optional): Callbacks.
        path (Path, optional): JSON file that is written after each
            round. A measurement in an existing file is continued.
        isolate (bool): Whether each model has a process of its own, whose
            crash ends the measurement of this model only. Defaults to False.
        max_memory (float, optional): Bytes of memory for the models that are
            measured together. Models that do not fit follow in further
            groups, each with the first model as a reference. Defaults to a
            single group.

    Returns:
        dict: Settings, environment, peak, and a row for each model; plain
        values, as the JSON file has them.

    Raises:
        UserError: If a single image does not fit into memory, or the existing
            file has other settings.
    """
    set_up(settings.options)
    run = _Run(specs, settings, timer or timer_for(
        settings.options.device, settings.cpu_time),
        progress or BenchmarkProgress(), path, isolate, max_memory)
    if run.path and run.path.exists() and (
            complete := run.resume(run.path)):
        return complete
    while True:
        try:
            return run.measure()
        except torch.OutOfMemoryError as error:
            if settings.batch_size == 1:
                raise UserError('out of memory with a single image; name '
                                'smaller models or a smaller --shape') \
                    from error
        # After the except clause, whose traceback keeps tensors alive.
        settings.batch_size //= 2
        run.progress.message('out of memory: all models again with a batch '
                             f'size of {settings.batch_size}')
        run.restart()


class _Run:
    """The state of a measurement."""

    def __init__(self, specs: list[Spec], settings: Settings, timer: Timer,
                 progress: BenchmarkProgress, path: Path | None,
                 isolate: bool, max_memory: float | None):
        self.specs, self.settings, self.timer = specs, settings, timer
        self.progress, self.path = progress, path
        self.max_memory = max_memory
        self.prepare: Callable[
            [Spec, Settings], tuple[dict, TimedModel | None]] = partial(
                prepare_model, timer=timer)
        if isolate:
            from .isolation import prepare_isolated
            self.prepare = prepare_isolated
        self.about = dict(
            schema=SCHEMA, requested_batch_size=settings.batch_size,
            isolated=isolate, models=[spec.name for spec in specs],
            environment=describe_environment(settings.options.device))
        # Of an earlier process, by data type.
        self.known_peaks: dict[str, dict] = {}
        self.restart()

    def restart(self) -> None:
        """Forget all measurements."""
        self.models: list[BenchmarkedModel] = []
        self.peaks: dict[str, tuple[int, Candidate]] = {}
        self.group, self.rounds, self.complete = 0, 0, False
        self._free_memory()

    def resume(self, path: Path) -> dict | None:
        """Take over the measurements of a file; return a complete file."""
        record = read(path)
        with damage_errors(f'{path} is damaged, delete it'):
            size = record['settings']['batch_size']
            record['settings']['batch_size'] = record['requested_batch_size']
            check_same_settings(path, '--json', *(
                dict(each['settings'], **each['environment'],
                     isolated=each.get('isolated'), models=each.get('models'))
                for each in (record, self._about())))
            record['settings']['batch_size'] = size
            if record['complete']:
                return record
            specs = {spec.name: spec for spec in self.specs}
            self.models = [
                BenchmarkedModel(specs[row['name']], row, list(map(
                    float, row.pop('seconds')))) for row in record['rows']]
            self.settings.batch_size = size
            self.known_peaks = record['peak']
            self.group = self.models[-1].row['group']
            self.rounds = int(record['rounds'])
        return None

    def _about(self) -> dict:
        return dict(self.about, settings=asdict(self.settings))

    def measure(self) -> dict:
        """Measure the models that have no measurement yet, and save."""
        try:
            unfinished = [
                model for model in self.models
                if not model.row['failure'] and 'profile' not in model.row]
            if unfinished:
                self._prepare_again(unfinished)
                self._time()
            while left := self._left():
                self._prepare_group(left)
                self._time()
            self.complete = True
        except KeyboardInterrupt:
            self._drop_group_without_rounds()
            # The file has all that an earlier process has measured.
            if not self.models or not self.peaks:
                raise
        finally:
            self._free_memory()
        self._save()
        return self._record()

    def _drop_group_without_rounds(self) -> None:
        if not self.rounds:
            self.models = [model for model in self.models
                           if model.row['group'] < self.group]
            self.group, self.rounds = self.group - 1, self.settings.repeats

    def _left(self) -> list[Spec]:
        measured = {model.spec.name for model in self.models}
        return [spec for spec in self.specs if spec.name not in measured]

    def _prepare_again(self, models: list[BenchmarkedModel]) -> None:
        """Prepare the models of a group that an earlier process began."""
        self.progress.start_phase('build, check, warm up', len(models))
        for model in models:
            self.progress.step(model.spec.name)
            row, model.timed = self.prepare(model.spec, self.settings)
            model.row.update(row)
            if model.timed:
                model.timed.seconds = model.seconds

    def _prepare_group(self, left: list[Spec]) -> None:
        """Prepare models until they fill the memory."""
        self.group, self.rounds = self.group + 1, 0
        reference = self._reference()
        specs = [*reference, *left]
        self.progress.start_phase('build, check, warm up', len(specs))
        for spec in specs:
            if self._is_full():
                self._tell_group(reference)
                break
            self.progress.step(spec.name)
            try:
                row, timed = self.prepare(spec, self.settings)
            except torch.OutOfMemoryError:
                if self.max_memory is None or len(self._in_memory()) < 2:
                    raise
                self._tell_group(reference)
                break
            model = BenchmarkedModel(spec, dict(row, group=self.group),
                                     timed=timed)
            if timed:
                model.seconds = timed.seconds
            self.models.append(model)

    def _tell_group(self, reference: list[Spec]) -> None:
        first = (reference or self._reference())[0].name
        self.progress.message(
            f'{len(self._in_memory())} models fill the memory: the others are '
            f'measured after them, together with {first}')

    def _reference(self) -> list[Spec]:
        """The first model, which is measured in each group."""
        return [model.spec for model in self.models if not model.failure][:1]

    def _in_memory(self) -> list[BenchmarkedModel]:
        return [model for model in self.models if model.timed]

    def _is_full(self) -> bool:
        """Whether a model as large as the largest would not fit."""
        together = self._in_memory()
        if self.max_memory is None or len(together) < 2:
            return False
        sizes = [model.peak_memory for model in together]
        return sum(sizes) + max(sizes) > self.max_memory

    def _time(self) -> None:
        """Time the models that are in memory, and profile them."""
        self._prepare_peaks()
        together = self._in_memory()
        candidates: list[TakesTurns] = [
            *(model.timed for model in together if model.timed),
            *(peak for _, peak in self.peaks.values())]
        repeats = self.settings.repeats
        self.progress.start_phase(
            'measure', (repeats - self.rounds) * len(candidates))
        done = interleave(
            candidates, self.timer, repeats, time_turn_of(self.settings),
            self.progress.step, self._end_round, self.rounds)
        if done < repeats:
            raise KeyboardInterrupt
        self._profile(together)
        self._free_memory()

    def _end_round(self, rounds: int) -> None:
        self.rounds = rounds
        self._save()

    def _prepare_peaks(self) -> None:
        settings = self.settings
        for spec in self.specs:
            dtype = options_for(settings.options, spec.options).dtype
            if dtype in self.peaks:
                continue
            size, peak = peak_candidate(settings.options.device, dtype,
                                        self.timer)
            warm_up(peak, self.timer, 2, 0.2,
                    settings.min_time / settings.repeats / 4)
            known = self.known_peaks.get(dtype, {})
            if known.get('size') == size:
                peak.seconds += known['seconds']
            self.peaks[dtype] = size, peak

    def _profile(self, models: list[BenchmarkedModel]) -> None:
        calls = self.settings.profiled_calls
        if calls:
            self.progress.start_phase('profile', len(models))
        for model in models:
            if calls:
                self.progress.step(model.spec.name)
            model.row['profile'] = model.timed.profile(calls) if (
                calls and model.timed and not model.failure) else []

    def _free_memory(self) -> None:
        """Free the models that are in memory."""
        together = self._in_memory()
        for model in together:
            model.row['failure'] = model.failure
            if model.timed:
                model.timed.close()
            model.timed = None
        if not together:
            return
        # It keeps compiled models.
        torch._dynamo.reset()
        gc.collect()
        torch.cuda.empty_cache()

    def _record(self) -> dict:
        """The measurement as plain values."""
        peaks: dict[str, dict] = {
            dtype: dict(flops=2 * size**3 / median(peak.seconds), size=size)
            for dtype, (size, peak) in self.peaks.items()}
        flops = {dtype: peak['flops'] for dtype, peak in peaks.items()}
        rows = [add_statistics(model, self.settings, flops)
                for model in self.models]
        if not self.complete:
            # What --resume needs.
            for row, model in zip(rows, self.models):
                row['seconds'] = model.seconds
            for dtype, (_, candidate) in self.peaks.items():
                peaks[dtype]['seconds'] = candidate.seconds
        return dict(self._about(), complete=self.complete, rounds=self.rounds,
                    peak=peaks, rows=rows)

    def _save(self) -> None:
        if self.path:
            with write_errors(self.path):
                replace_text(self.path, as_json(self._record()))


def add_statistics(model: BenchmarkedModel, settings: Settings,
                   peaks: dict[str, float]) -> dict:
    """The row of a model with the statistics of its turns."""
    row, seconds = dict(model.row, failure=model.failure), model.seconds
    if row['failure']:
        return row
    rate = settings.batch_size / median(seconds)
    spread = relative_iqr(seconds)
    row.update(
        batch_size=settings.batch_size, images_per_second=rate,
        milliseconds=dict(
            min=1e3 * min(seconds),
            **{f'p{p}': 1e3 * percentile(seconds, p) for p in (50, 90, 99)}),
        spread=spread, unsteady=spread > WIDE_SPREAD, turns=len(seconds))
    if settings.mode != 'train':
        macs = rate * row['macs']
        row.update(macs_per_second=macs, fraction_of_peak=2 * macs / peaks[
            row['options']['dtype']])
    return row
