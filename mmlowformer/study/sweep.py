"""Series of measurements, kept one by one, that can be gone on with."""
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..benchmark.environment import describe_environment
from ..benchmark.models import Spec
from ..benchmark.report import (
    HARMLESS,
    as_json,
    describe_machine,
    flat,
    rounded,
    ways,
)
from ..benchmark.run import BenchmarkProgress, Settings, measure
from ..errors import UserError, damage_errors, first_line
from ..utils.files import replace_text
from ..utils.timing import Timer

SCHEMA = 1
KEYS = {'complete', 'settings', 'environment', 'cells'}
KINDS = ['layers', 'network', 'resolution', 'choose']
# What changes from run to run and makes no other measurement.
PASSING = (*HARMLESS, 'platform')


@dataclass
class Cell:
    """One measurement of a series.

    Attributes:
        key (dict): What tells it from the others, plain values.
        measure (Callable): Takes a :class:`BenchmarkProgress`; returns plain
            values, with ``complete`` among them.
        cost (float): About how long it takes, compared with the others.
        steps (int): How many steps it tells the progress.
    """

    key: dict
    measure: Callable[[BenchmarkProgress], dict]
    cost: float = 1.
    steps: int = 1

    @property
    def title(self) -> str:
        """What tells it from the others, as text."""
        return ' '.join(str(value) for value in self.key.values())


def read(path: str | Path, kind: str | None = None) -> dict:
    """Read a study."""
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') \
            from error
    if not (isinstance(content, dict) and content.get('schema') == SCHEMA
            and content.get('study') in KINDS and content.keys() >= KEYS
            and isinstance(content['cells'], list)):
        raise UserError(f'{path} is no study of this version')
    if kind not in (None, content['study']):
        raise UserError(f'{path} holds a study of another kind, '
                        f'{content["study"]}: name another --out')
    return content


def write(path: Path, content: dict) -> None:
    """Write a study, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, as_json(content))
    except OSError as error:
        raise UserError(f'{path} cannot be written: {first_line(error)}') \
            from error


def opened(path: Path, kind: str, settings: dict, device: str) -> dict:
    """The study that a file holds, or a new one."""
    fresh = rounded(dict(
        schema=SCHEMA, study=kind, complete=False, settings=settings,
        environment=describe_environment(device), cells=[]))
    if not path.exists():
        return fresh
    known = read(path, kind)
    with damage_errors(f'{path} is damaged, delete it'):
        differing = _differences(known, fresh)
    if differing:
        raise UserError(
            f'{path} was measured with other settings ({differing[0]}): name '
            'another --out, or delete it')
    return known


def _differences(known: dict, fresh: dict) -> list[str]:
    one, other = (flat(dict(content['settings'], **content['environment']))
                  for content in (known, fresh))
    return [f'{key} {one.get(key)}, not {other.get(key)}'
            for key in dict.fromkeys([*one, *other])
            if one.get(key) != other.get(key) and key not in PASSING]


def run(study: dict, cells: list[Cell], path: Path,
        progress: BenchmarkProgress | None = None, final: bool = True) -> dict:
    """Measure what a study still lacks; each measurement is kept at once."""
    progress = progress or BenchmarkProgress()
    done = [cell['key'] for cell in study['cells']]
    left = [cell for cell in cells if rounded(cell.key) not in done]
    if final and not left and not study['complete']:
        # Asked for less than before.
        write(path, dict(study, complete=True))
    study['complete'] = final and not left
    progress.start_series(sum(cell.cost for cell in left))
    try:
        for cell in left:
            progress.start_measurement(cell.title, cell.cost, cell.steps)
            record = cell.measure(progress)
            if not record.pop('complete'):
                return study
            study['cells'].append(rounded(dict(key=cell.key, **record)))
            study['complete'] = final and cell is left[-1]
            write(path, study)
    except KeyboardInterrupt:
        pass
    return study


def describe(study: dict) -> str:
    """Settings and machine in a line."""
    options = study['settings']['options']
    return (f'{"" if study["complete"] else "INCOMPLETE: "}'
            f'{options["dtype"]}, {options["backend"]}, '
            f'{", ".join(ways(study["settings"])) or "eager"}; '
            f'{describe_machine(study["environment"])}')


def measure_or_note(specs: list[Spec], settings: Settings,
                    timer: Timer | None, progress: BenchmarkProgress) -> dict:
    """Measure models, or note why that cannot be done, and go on."""
    try:
        return measure(specs, settings, timer, progress)
    except UserError as error:
        return dict(complete=True, peak={}, rows=[
            dict(name=spec.name, failure=str(error)) for spec in specs])


def rows_of(study: dict) -> list[dict]:
    """All rows of a study, with the keys of their cells."""
    return [dict(cell['key'], **row) for cell in study['cells']
            for row in cell['rows']]
