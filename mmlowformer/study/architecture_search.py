"""The best network within a budget of time, on this device.

Published variants are measured. Networks of one's own are many: their times
are predicted, and the promising ones measured before they are shown.
"""
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ..benchmark.models import Spec, find_models
from ..benchmark.run import BenchmarkProgress, Settings, measure
from ..errors import UserError, first_line
from ..models import LowFormer
from ..models.ablations import ABLATIONS
from ..models.arch_validation import check_arch
from ..utils.timing import Timer
from .latency_model import costs_of, fit, hold_out, line_costs
from .op_counter import Work, count_work
from .sweep import Cell, run, write

# Per cent of ImageNet's validation set that the authors report as right.
ACCURACIES = dict(b0=78.4, b1=79.9, b15=81.2, b2=81.6, b3=83.6, e1=78.8,
                  e2=81.6, e3=83.0)
# Networks that are measured for the predictor alone.
EXTRA = 12
# A prediction may miss: so much above the budget is worth measuring.
MARGIN = 1.05
BLOCKS = (('norm_lowtention', 'norm_mlp', 'local'), ('lowtention', 'local'),
          ('norm_mlp', 'local'), ('local', ),
          ('relu_linear_attention', 'local'))


def read_archs(path: str) -> dict[str, dict]:
    """Read arch dicts of one's own."""
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
            raise UserError(f'--archs {path}: {name} is a network that is '
                            'there already; give yours another name')
        try:
            check_arch(arch, LowFormer.arch_settings)
        except (ValueError, TypeError) as error:
            raise UserError(f'--archs {path}: {name}: {first_line(error)}') \
                from error
    return archs


def random_archs(count: int, seed: int = 0) -> dict[str, dict]:
    """Networks between and beside the published ones."""
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


def first_cell(settings: Settings, timer: Timer | None = None) -> Cell:
    """The measurement of all that is known, in turns."""
    specs = [*find_models(['lowformer_*', *(f'lowformer_{name}'
                                            for name in ABLATIONS)]),
             *(_spec(name, arch, 'random') for name, arch
               in random_archs(EXTRA).items())]
    return _cell('known networks', specs, settings, timer)


def _cell(name: str, specs: list[Spec], settings: Settings,
          timer: Timer | None) -> Cell:
    def run(progress: BenchmarkProgress) -> dict:
        record = measure(specs, settings, timer, progress)
        return dict(complete=record['complete'], peak=record['peak'],
                    rows=record['rows'])

    steps = len(specs) * (1 + settings.repeats) + settings.repeats
    return Cell(dict(part=name), run, len(specs), steps)


def times_of(rows: Sequence[dict]) -> dict[str, float]:
    """Milliseconds of a call of each network that could be measured."""
    return {row['name'].removeprefix('lowformer_'): row['milliseconds']['p50']
            for row in rows if not row['failure']}


def compare_predictors(rows: Sequence[dict], shape: tuple[int, int],
                       batch_size: int) -> dict:
    """The errors of the predictor, and of a line of MACs, held out.

    Variants and ablations are predicted, each by what was fitted on all
    others, the random networks included.
    """
    rows = [row for row in rows if not row['failure']]
    works = [_work_of(row['name'], shape) for row in rows]
    seconds = [row['milliseconds']['p50'] / 1e3 for row in rows]
    tested = [place for place, row in enumerate(rows)
              if row['family'] != 'random']
    both = {name: hold_out([costs(work, batch_size) for work in works],
                           seconds, tested)
            for name, costs in (('predicted', costs_of),
                                ('line', line_costs))}
    found: dict = {name: held.error for name, held in both.items()}
    found.update({f'{name}_largest': held.largest
                  for name, held in both.items()})
    found['rows'] = [
        dict(name=rows[place]['name'], family=rows[place]['family'],
             milliseconds=1e3 * seconds[place],
             **{name: 1e3 * held.predicted[index]
                for name, held in both.items()})
        for index, place in enumerate(tested)]
    return found


@cache
def _work_of(name: str, shape: tuple[int, int]) -> Work:
    """Of a network of the first measurement."""
    name = name.removeprefix('lowformer_')
    arch = random_archs(EXTRA).get(name, name)
    return count_work(partial(LowFormer, arch), shape)


def predict(archs: dict[str, dict], rows: Sequence[dict],
            shape: tuple[int, int], batch_size: int) -> dict[str, float]:
    """Predict networks of one's own."""
    rows = [row for row in rows if not row['failure']]
    predictor = fit(
        [costs_of(_work_of(row['name'], shape), batch_size) for row in rows],
        [row['milliseconds']['p50'] for row in rows])
    return {name: predictor(costs_of(
        count_work(partial(LowFormer, arch), shape), batch_size))
        for name, arch in archs.items()}


@dataclass
class Choice:
    """What is recommended for a budget.

    Attributes:
        budget (float): Milliseconds of a call.
        names (list[str]): The best first; all kept the budget when they were
            measured again.
        milliseconds (dict[str, float]): As measured again.
        dropped (list[str]): What did not keep it then.
    """

    budget: float
    names: list[str]
    milliseconds: dict[str, float]
    dropped: list[str]


def candidates(budget: float, times: dict[str, float], own: dict[str, float],
               count: int) -> list[str]:
    """What is worth measuring again for a budget."""
    known = [name for name, time in times.items()
             if name in ACCURACIES and time <= MARGIN * budget]
    known.sort(key=lambda name: (-ACCURACIES[name], times[name]))
    mine = [name for name, time in own.items() if time <= MARGIN * budget]
    mine.sort(key=lambda name: -own[name])
    return [*known[:count], *mine[:count]]


def again_cell(budget: float, names: Sequence[str], archs: dict[str, dict],
               settings: Settings, timer: Timer | None = None) -> Cell:
    """The measurement that decides about a budget."""
    specs = [_spec(name, archs[name], 'own') if name in archs else
             find_models([f'lowformer_{name}'])[0] for name in names]
    cell = _cell(f'{budget:g} ms', specs, settings, timer)
    cell.key['names'] = list(names)
    return cell


def decide(budget: float, names: Sequence[str],
           rows: Sequence[dict]) -> Choice:
    """What keeps a budget when it is measured again."""
    times = times_of(rows)
    kept = [name for name in names if times.get(name, budget * 2) <= budget]
    return Choice(budget, kept, {name: times[name] for name in kept},
                  [name for name in names if name not in kept])


def choose(study: dict, budgets: Sequence[float], archs: dict[str, dict],
           count: int, settings: Settings, path: Path,
           progress: BenchmarkProgress | None = None,
           timer: Timer | None = None) -> list[Choice]:
    """Measure, predict, and measure again."""
    first = first_cell(settings, timer)
    # Which networks to measure again is not known before.
    run(study, [first], path, progress, final=False)
    if not study['cells']:
        return []
    rows = study['cells'][0]['rows']
    size = settings.shape, settings.batch_size
    study['held_out'] = compare_predictors(rows, *size)
    study['predictions'] = predict(archs, rows, *size) if archs else {}
    wanted = {budget: candidates(budget, times_of(rows), study['predictions'],
                                 count) for budget in budgets}
    again = {budget: again_cell(budget, names, archs, settings, timer)
             for budget, names in wanted.items() if names}
    run(study, [first, *again.values()], path, progress)
    choices = _decisions(study, wanted, again)
    study['choices'] = [asdict(choice) for choice in choices]
    write(path, study)
    return choices


def _decisions(study: dict, wanted: dict[float, list[str]],
               again: dict[float, Cell]) -> list[Choice]:
    measured = {tuple(cell['key'].get('names', ())): cell['rows']
                for cell in study['cells']
                if cell['key'] in [cell.key for cell in again.values()]}
    return [decide(budget, names, measured.get(tuple(names), []))
            for budget, names in wanted.items()
            if not names or tuple(names) in measured]
