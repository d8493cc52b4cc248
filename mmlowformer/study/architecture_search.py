"""Choose the best network within a latency budget on this device.

Published variants are measured. A user's own networks are predicted, since
they may be many; the promising ones are measured before they are shown.
"""
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ..benchmark.models import Spec, find_models
from ..benchmark.options import Settings
from ..benchmark.run import BenchmarkProgress
from ..errors import UserError, first_line
from ..models import LowFormer
from ..models.ablations import ABLATIONS
from ..models.arch_validation import check_arch
from ..utils.timing import Timer
from .latency_model import costs_of, fit, leave_one_out, line_costs
from .op_counter import Work, count_operators
from .sweep import Measurement, measure_models, run, steps_of, write

# Top-1 accuracy on ImageNet in percent, as the authors report it.
ACCURACIES = dict(b0=78.4, b1=79.9, b15=81.2, b2=81.6, b3=83.6, e1=78.8,
                  e2=81.6, e3=83.0)
# Random networks that are measured for the latency model.
EXTRA = 12
# Networks that exceed the budget by less are measured again, as predictions
# may miss.
MARGIN = 1.05
BLOCKS = (('norm_lowtention', 'norm_mlp', 'local'), ('lowtention', 'local'),
          ('norm_mlp', 'local'), ('local', ),
          ('relu_linear_attention', 'local'))


def read_archs(path: str) -> dict[str, dict]:
    """Read a user's arch dicts from a JSON file."""
    try:
        archs = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'--archs {path} cannot be read: {first_line(error)}'
                        ) from error
    if not isinstance(archs, dict) or not archs:
        raise UserError(f'--archs {path} has to hold names with arch dicts, '
                        'like {"wide": {"variant": "b1", "attention_ratio": '
                        '1}}')
    for name, arch in archs.items():
        if name in LowFormer.arch_settings or name in ABLATIONS:
            raise UserError(f'--archs {path}: {name} is the name of a known '
                            'network; choose another')
        try:
            check_arch(arch, LowFormer.arch_settings)
        except (ValueError, TypeError) as error:
            raise UserError(f'--archs {path}: {name}: {first_line(error)}') \
                from error
    return archs


def random_archs(count: int, seed: int = 0) -> dict[str, dict]:
    """Random networks that resemble the published ones."""
    pick = random.Random(seed)
    return {f'random_{index}': _random_arch(pick) for index in range(count)}


def _random_arch(pick: random.Random) -> dict:
    width = pick.choice((16, 20, 24, 32))
    return dict(
        variant='b1', widths=tuple(width * 2**stage for stage in range(5)),
        depths=(pick.randint(0, 1), pick.randint(1, 2), pick.randint(1, 3),
                pick.randint(3, 6), pick.randint(3, 6)),
        stem_expand_ratio=pick.choice((2, 4)),
        downsample_expand_ratio=pick.choice((4, 6)),
        block=pick.choice(BLOCKS),
        conv_block=pick.choice(('fused_mbconv', 'fused_mbconv', 'mbconv')),
        depthwise_from_channels=pick.choice((0, 128, 256, 512)),
        attention_ratio=pick.choice((0.5, 1)),
        attention_strides=pick.choice(((2, 1), (1, 1), (2, 2))))


def _spec(name: str, arch: dict, family: str) -> Spec:
    return Spec(name, family, partial(LowFormer, arch))


def first_measurement(settings: Settings,
                      timer: Timer | None = None) -> Measurement:
    """Measure variants, ablations and random networks in turns."""
    specs = [*find_models(['lowformer_*', *(f'lowformer_{name}'
                                            for name in ABLATIONS)]),
             *(_spec(name, arch, 'random') for name, arch
               in random_archs(EXTRA).items())]
    return _measurement(dict(part='known networks'), specs, settings, timer)


def final_measurement(budget: float, names: Sequence[str],
                      archs: dict[str, dict], settings: Settings,
                      timer: Timer | None = None) -> Measurement:
    """Measure the candidates for a budget again."""
    specs = [_spec(name, archs[name], 'own') if name in archs else
             find_models([f'lowformer_{name}'])[0] for name in names]
    return _measurement(dict(part=f'{budget:g} ms', names=list(names)), specs,
                        settings, timer)


def _measurement(key: dict, specs: list[Spec], settings: Settings,
                 timer: Timer | None) -> Measurement:
    return Measurement(key, partial(measure_models, specs, settings, timer),
                       len(specs), steps_of(len(specs), settings))


def times_of(rows: Sequence[dict]) -> dict[str, float]:
    """Milliseconds of a call, for each network that could be measured."""
    return {row['name'].removeprefix('lowformer_'): row['milliseconds']['p50']
            for row in rows if not row['failure']}


def compare_latency_models(rows: Sequence[dict], shape: tuple[int, int],
                           batch_size: int) -> dict:
    """Leave-one-out errors of the latency model and of a linear fit.

    Each variant and ablation is predicted by a model that was fitted on all
    other networks, the random ones included.
    """
    rows = [row for row in rows if not row['failure']]
    works = [_work_of(row['name'], shape) for row in rows]
    seconds = [row['milliseconds']['p50'] / 1e3 for row in rows]
    tested = [index for index, row in enumerate(rows)
              if row['family'] != 'random']
    held_out = [dict(name=rows[index]['name'], family=rows[index]['family'],
                     milliseconds=1e3 * seconds[index]) for index in tested]
    comparison: dict = dict(rows=held_out)
    for name, costs in ('predicted', costs_of), ('line', line_costs):
        predicted = leave_one_out([costs(work, batch_size) for work in works],
                                  seconds, tested)
        errors = abs(predicted / [seconds[index] for index in tested] - 1)
        comparison[name] = float(errors.mean())
        comparison[f'{name}_largest'] = float(errors.max())
        for row, value in zip(held_out, 1e3 * predicted):
            row[name] = float(value)
    return comparison


@cache
def _work_of(name: str, shape: tuple[int, int]) -> Work:
    name = name.removeprefix('lowformer_')
    arch = random_archs(EXTRA).get(name, name)
    return count_operators(partial(LowFormer, arch), shape)


def predict(archs: dict[str, dict], rows: Sequence[dict],
            shape: tuple[int, int], batch_size: int) -> dict[str, float]:
    """Predict milliseconds of a user's networks from measured rows."""
    rows = [row for row in rows if not row['failure']]
    rates = fit(
        [costs_of(_work_of(row['name'], shape), batch_size) for row in rows],
        [row['milliseconds']['p50'] for row in rows])
    return {name: float(rates @ costs_of(
        count_operators(partial(LowFormer, arch), shape), batch_size))
        for name, arch in archs.items()}


@dataclass
class Choice:
    """The recommended networks for a budget."""

    # Milliseconds of a call.
    budget: float
    # The best first; all met the budget when they were measured again.
    names: list[str]
    milliseconds: dict[str, float]
    # Candidates that exceeded the budget then.
    dropped: list[str]


def candidates(budget: float, times: dict[str, float], own: dict[str, float],
               count: int) -> list[str]:
    """The networks to measure again for a budget."""
    known = [name for name, time in times.items()
             if name in ACCURACIES and time <= MARGIN * budget]
    known.sort(key=lambda name: (-ACCURACIES[name], times[name]))
    mine = [name for name, time in own.items() if time <= MARGIN * budget]
    mine.sort(key=lambda name: -own[name])
    return [*known[:count], *mine[:count]]


def decide(budget: float, names: Sequence[str],
           rows: Sequence[dict]) -> Choice:
    """Keep the candidates that meet the budget when measured again."""
    times = times_of(rows)
    kept = [name for name in names if times.get(name, budget * 2) <= budget]
    return Choice(budget, kept, {name: times[name] for name in kept},
                  [name for name in names if name not in kept])


def choose(study: dict, budgets: Sequence[float], archs: dict[str, dict],
           count: int, settings: Settings, path: Path,
           progress: BenchmarkProgress | None = None,
           timer: Timer | None = None) -> list[Choice]:
    """Choose networks for budgets in milliseconds, and save the study.

    For each budget, ``count`` variants and as many of the user's ``archs`` are
    measured again. Ctrl-C leaves the budgets that were not measured.
    """
    first = first_measurement(settings, timer)
    # The networks to measure again depend on the first measurement.
    run(study, [first], path, progress, final=False)
    if not study['cells']:
        return []
    rows = study['cells'][0]['rows']
    size = settings.shape, settings.batch_size
    study['held_out'] = compare_latency_models(rows, *size)
    study['predictions'] = predict(archs, rows, *size) if archs else {}
    wanted = {budget: candidates(budget, times_of(rows), study['predictions'],
                                 count) for budget in budgets}
    again = {budget: final_measurement(budget, names, archs, settings, timer)
             for budget, names in wanted.items() if names}
    run(study, [first, *again.values()], path, progress)
    measured = [(cell['key'], cell['rows']) for cell in study['cells']]
    choices = []
    for budget, names in wanted.items():
        found = [rows for key, rows in measured
                 if names and key == again[budget].key]
        if found or not names:
            choices.append(decide(budget, names, found[0] if found else []))
    study['choices'] = [asdict(choice) for choice in choices]
    write(path, study)
    return choices
