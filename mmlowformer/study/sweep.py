"""Series of measurements that are saved one by one and can be resumed."""
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..benchmark.environment import describe_environment
from ..benchmark.models import Spec
from ..benchmark.options import Settings
from ..benchmark.record import as_json, check_same_settings, rounded
from ..benchmark.report import applied_options, describe_machine
from ..benchmark.run import BenchmarkProgress, benchmark
from ..errors import UserError, damage_errors, first_line
from ..utils.files import replace_text, write_errors
from ..utils.timing import Timer

SCHEMA = 1
KEYS = {'complete', 'settings', 'environment', 'cells'}
KINDS = ['layers', 'network', 'resolution', 'choose']


@dataclass
class Measurement:
    """One measurement of a series."""

    # Plain values that identify it in the series.
    key: dict
    # Returns plain values, among them ``complete``.
    measure: Callable[[BenchmarkProgress], dict]
    # Its share of the time of the series.
    cost: float = 1.
    # Steps that it reports to the progress.
    steps: int = 1

    @property
    def title(self) -> str:
        """The key as text."""
        return ' '.join(str(value) for value in self.key.values())


def read(path: str | Path, kind: str | None = None) -> dict:
    """Read a study of a kind, or of any."""
    try:
        text = Path(path).read_text(encoding='utf-8')
        # Older files name block types so.
        content = json.loads(text.replace('"design"', '"block_type"').replace(
            '"designs"', '"block_types"'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') \
            from error
    if not (isinstance(content, dict) and content.get('schema') == SCHEMA
            and content.get('study') in KINDS and content.keys() >= KEYS
            and isinstance(content['cells'], list)):
        raise UserError(f'{path} is not a study of this version')
    if kind not in (None, content['study']):
        raise UserError(f'{path} is a study of another kind, '
                        f'{content["study"]}: name another --out')
    return content


def write(path: Path, content: dict) -> None:
    """Write a study atomically."""
    with write_errors(path):
        replace_text(path, as_json(content))


def opened(path: Path, kind: str, settings: dict, device: str) -> dict:
    """Open the study in a file, or start a new one."""
    fresh = rounded(dict(
        schema=SCHEMA, study=kind, complete=False, settings=settings,
        environment=describe_environment(device), cells=[]))
    if not path.exists():
        return fresh
    known = read(path, kind)
    with damage_errors(f'{path} is damaged, delete it'):
        check_same_settings(path, '--out', *(
            dict(content['settings'], **content['environment'])
            for content in (known, fresh)))
    return known


def run(study: dict, measurements: list[Measurement], path: Path,
        progress: BenchmarkProgress | None = None, final: bool = True) -> dict:
    """Add the measurements that a study lacks, and save each at once.

    It is incomplete after Ctrl-C, and without its ``final`` measurements.
    """
    progress = progress or BenchmarkProgress()
    done = [cell['key'] for cell in study['cells']]
    left = [item for item in measurements if rounded(item.key) not in done]
    if final and not left and not study['complete']:
        # Fewer measurements are requested than before.
        write(path, dict(study, complete=True))
    study['complete'] = final and not left
    progress.start_series(sum(item.cost for item in left))
    try:
        for item in left:
            progress.start_measurement(item.title, item.cost, item.steps)
            record = item.measure(progress)
            if not record.pop('complete'):
                return study
            study['cells'].append(rounded(dict(key=item.key, **record)))
            study['complete'] = final and item is left[-1]
            write(path, study)
    except KeyboardInterrupt:
        pass
    return study


def describe(study: dict) -> str:
    """Describe settings and machine in a line."""
    options = study['settings']['options']
    return (f'{"" if study["complete"] else "INCOMPLETE: "}'
            f'{options["dtype"]}, {options["backend"]}, '
            f'{", ".join(applied_options(study["settings"])) or "eager"}; '
            f'{describe_machine(study["environment"])}')


def steps_of(models: int, settings: Settings) -> int:
    """Steps of measuring models: build each, time each, and the peak."""
    return models * (1 + settings.repeats) + settings.repeats


def measure_models(specs: list[Spec], settings: Settings,
                   timer: Timer | None, progress: BenchmarkProgress) -> dict:
    """Measure models, as a measurement of a series."""
    record = benchmark(specs, settings, timer, progress)
    return {key: record[key] for key in ('complete', 'peak', 'rows')}


def measure_or_note(specs: list[Spec], settings: Settings,
                    timer: Timer | None, progress: BenchmarkProgress) -> dict:
    """Measure models, or record the reason of a failure in their rows."""
    try:
        return measure_models(specs, settings, timer, progress)
    except UserError as error:
        return dict(complete=True, peak={}, rows=[
            dict(name=spec.name, failure=str(error)) for spec in specs])


def grouped(rows: Iterable[dict], key: str) -> dict[str, list[dict]]:
    """Rows by one of their values, in the order of its first row."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def rows_of(study: dict) -> list[dict]:
    """All rows of a study, with the keys of their measurements."""
    return [dict(cell['key'], **row) for cell in study['cells']
            for row in cell['rows']]
