"""Measure time and memory of the tools at real sizes.

Each case is run with a hundredth, a tenth and all of its data, beside the
plain library alone. Networks are replaced by ones that take no time. The data
are generated in a temporary folder (see TMPDIR) and deleted.
"""
import argparse
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import _ctrl_c  # noqa: F401

from mmlowformer import engine
from mmlowformer.benchmark import record as records
from mmlowformer.benchmark import scale
from mmlowformer.benchmark.environment import describe_environment
from mmlowformer.engine import UserError

TOOLS = Path(__file__).parent
# Free bytes beside data and results.
RESERVE = 2**30


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', nargs='+', choices=scale.CASES,
                        metavar='CASE', default=list(scale.CASES),
                        help='what to measure (default: all): '
                        + ', '.join(scale.CASES))
    parser.add_argument('--quick', nargs='?', type=engine.at_least(1),
                        const=10, default=1, metavar='N',
                        help='divide all sizes by N (default: 10)')
    parser.add_argument('--jobs', type=engine.at_least(1), default=1,
                        metavar='N', help='cases to run at a time (default: '
                        '%(default)s); each needs up to two cores')
    parser.add_argument('--json', default='scale.json', metavar='F',
                        help='file of the results, written after each run '
                        '(default: %(default)s)')
    parser.add_argument('--resume', action='store_true',
                        help='leave out what the file contains')
    return parser.parse_args()


class Measurement:
    """Runs cases and keeps their results in a file."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.file = args, Path(args.json)
        self.cases = {name: scale.CASES[name] for name in args.cases}
        self.processes = scale.Processes()
        self.record = self._earlier() if args.resume else self._new()
        self.record['cases'].update({
            name: case.description() for name, case in self.cases.items()})
        self._lock = threading.Lock()
        self._keep()

    def _new(self) -> dict:
        engine.check_new(self.file)
        return dict(schema=records.SCHEMA, scale=dict(divisor=self.args.quick),
                    environment=describe_environment('cpu'), cases={},
                    rows=[])

    def _earlier(self) -> dict:
        record = records.read(str(self.file))
        if 'scale' not in record:
            raise UserError(f'{self.file} is not of benchmark_scale.py')
        divisor = record['scale']['divisor']
        if divisor != self.args.quick:
            raise UserError(f'{self.file} was measured with --quick '
                            f'{divisor}: use it again, or another --json')
        # What failed is tried again.
        record['rows'] = [row for row in record['rows']
                          if 'failure' not in row]
        return record

    def _keep(self) -> None:
        with engine.write_errors(self.file):
            engine.replace_text(self.file, records.as_json(self.record))

    def groups(self) -> list[list[str]]:
        """Names of cases, in lists that share their data."""
        groups = defaultdict(list)
        for name, case in self.cases.items():
            groups[case.data, case.size].append(name)
        return list(groups.values())

    def sizes(self, name: str) -> list[int]:
        """The sizes of a case."""
        return self.cases[name].sizes(self.args.quick)

    def run(self, root: Path) -> None:
        """Measure all cases."""
        run = partial(self._run_group, root=root)
        with (ThreadPoolExecutor(self.args.jobs) as pool,
              self.processes):  # Leaving it ends what the threads wait for.
            # One job needs no other thread.
            each = map if self.args.jobs == 1 else pool.map
            for _ in each(run, self.groups()):
                pass

    def _run_group(self, names: list[str], root: Path) -> None:
        for size in dict.fromkeys(self.sizes(names[0])):
            missing = [
                (name, side) for name in names for side in scale.SIDES
                if size in self._wanted(name, side)]
            if missing and not self.processes.stopped:
                with tempfile.TemporaryDirectory(dir=root) as folder:
                    self._run_size(missing, size, Path(folder))

    def _wanted(self, name: str, side: str) -> list[int]:
        """Sizes that are not in the record."""
        limit = self.cases[name].library_sizes if side == 'library' else None
        known = [row['size'] for row in scale.series(self.record, name, side)]
        return [size for size in self.sizes(name)[:limit]
                if size not in known]

    def _run_size(self, missing: list[tuple[str, str]], size: int,
                  folder: Path) -> None:
        data, out = folder / 'data', folder / 'results'
        data.mkdir()
        started = time.perf_counter()
        self.cases[missing[0][0]].data(data, size)
        self._add(missing[0][0], 'data', size,
                  dict(seconds=time.perf_counter() - started))
        for name, side in missing:
            if self.processes.stopped:
                return
            out.mkdir()
            command = getattr(self.cases[name], side)(data, out, size)
            if str(command[0]).endswith('.py'):
                command = [TOOLS / command[0], *command[1:]]
            self._add(name, side, size,
                      self.processes.measure(command, folder))
            shutil.rmtree(out)

    def _add(self, name: str, side: str, size: int, result: dict) -> None:
        if self.processes.stopped:
            return
        key = dict(case=name, side=side, size=size)
        with self._lock:
            self.record['rows'] = [
                row for row in self.record['rows']
                if not key.items() <= row.items()] + [key | result]
            self._keep()
        if side != 'data':
            case = self.cases[name]
            engine.show(engine.wrapped(
                f'{name}, {size:,} {case.unit}s, {side}: ' + (
                    f'failed: {result["failure"]}' if 'failure' in result else
                    f'{result["seconds"]:.1f} CPU seconds, '
                    f'{result["mebibytes"]:.0f} MiB'), '  '))

    def failures(self) -> int:
        """How many runs failed."""
        return sum('failure' in row for row in self.record['rows'])

    def minutes(self) -> float:
        """How long the real sizes take, judged by the measured ones."""
        seconds = scale.estimate(self.record, {
            name: case.size for name, case in self.cases.items()})
        groups = [sum(seconds[name] for name in names)
                  for names in self.groups()]
        return max(sum(groups) / self.args.jobs, *groups) / 60


def check_disk(measurement: Measurement, root: str) -> None:
    """Refuse to fill the disk."""
    needed = RESERVE + sum(sorted(
        (max(measurement.cases[name].disk * measurement.sizes(name)[-1]
             for name in names) for names in measurement.groups()),
        reverse=True)[:measurement.args.jobs])
    free = shutil.disk_usage(root).free
    words = (f'{root} needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB '
             'are free')
    if free < needed:
        raise UserError(f'{words}: name another folder with TMPDIR, fewer '
                        '--cases, or --quick')
    engine.show(words)


def summary(record: dict) -> Iterator[str]:
    """Lines about the growth of each case."""
    for name, *cells in scale.growth_rows(record):
        yield f'\n{name}'
        for side, start in zip(scale.SIDES, (0, 4)):
            law, each, memory_law, byte = cells[start:start + 4]
            yield (f'  {side:<8}time {law}, {each} µs for each; memory '
                   f'{memory_law}, {byte} bytes for each')


def main() -> None:
    args = parse_args()
    with (engine.one_line_errors('benchmark_scale.py'),
          engine.exit_on_interrupt(lambda: (
              f'Interrupted: {args.json} has what was measured; --resume '
              'measures the rest.')),
          tempfile.TemporaryDirectory() as folder):
        root = tempfile.gettempdir()
        measurement = Measurement(args)
        check_disk(measurement, root)
        measurement.run(Path(folder))
        for text in summary(measurement.record):
            engine.show(text)
        engine.show(f'\nThe real sizes take about {measurement.minutes():.0f} '
                    f'minutes with --jobs {args.jobs}.')
        engine.show_line('Results', args.json)
        if failed := measurement.failures():
            raise UserError(f'{engine.counted(failed, "run")} failed (named '
                            'above): --resume tries them again')


if __name__ == '__main__':
    main()
