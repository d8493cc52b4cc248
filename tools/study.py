"""Study which designs are fast on your device, beyond counting MACs.

  layers      building blocks of equal MACs, over channels and resolutions
  network     the time of each layer while a network runs
  resolution  latency over the size of the images
  choose      the best network within a budget of milliseconds
  show        tables and charts of an OUT.json

Each measurement is saved in OUT.json as soon as it is complete, with OUT.csv,
OUT.md and charts beside it. The same command resumes a study that was stopped.
"""
import argparse
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from glob import escape, glob
from pathlib import Path

import _ctrl_c  # noqa: F401
from matplotlib import rc_context

from mmlowformer import engine
from mmlowformer.benchmark.candidates import set_up
from mmlowformer.benchmark.models import find_models
from mmlowformer.benchmark.options import (
    Settings,
    add_execution_options,
    add_timing_options,
    check_execution_options,
    execution_options,
)
from mmlowformer.benchmark.terminal_report import (
    ProgressBar,
    make_console,
    make_table,
)
from mmlowformer.engine import (
    UserError,
    at_least,
    check_new,
    damage_errors,
    positive,
    rename_option,
    replace_text,
    write_errors,
)
from mmlowformer.study import (
    architecture_search,
    block_sweep,
    layer_profile,
    resolution_sweep,
    sweep,
    tables,
)
from mmlowformer.study.block_types import BLOCK_TYPES
from mmlowformer.study.plots import DRAW, PLAIN_TEXT

MIN_SIZE = 32
# Of the files beside OUT.json; charts may have more in their names.
SUFFIXES = ('.csv', '.md', '.png')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    for name, add, run in (('layers', add_layers, run_layers),
                           ('network', add_network, run_network),
                           ('resolution', add_resolution, run_resolution),
                           ('choose', add_choose, run_choose)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        add(command)
        add_execution_options(command)
        command.add_argument('--out', default=f'study_{name}',
                             help='prefix of new files; an OUT.json of the '
                             'same study is resumed (default: %(default)s)')
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show tracebacks of errors')
    show = commands.add_parser('show')
    show.set_defaults(run=run_show)
    show.add_argument('file', metavar='OUT.json',
                      help='file that a study has written')
    return parser.parse_args()


def add_layers(command: argparse.ArgumentParser) -> None:
    command.add_argument('--channels', type=at_least(8), nargs='+',
                         metavar='C', default=list(block_sweep.CHANNELS),
                         help='channels of the feature maps')
    command.add_argument('--sizes', type=at_least(1), nargs='+', metavar='S',
                         default=list(block_sweep.SIZES),
                         help='heights and widths of the feature maps')
    command.add_argument('--batch-size', type=at_least(1), nargs='+',
                         metavar='N', default=list(block_sweep.BATCH_SIZES),
                         help='images in a call')
    command.add_argument('--block-types', nargs='+', metavar='B',
                         choices=BLOCK_TYPES, default=list(BLOCK_TYPES),
                         help='building blocks (default: '
                         f'{", ".join(BLOCK_TYPES)})')
    command.add_argument('--max-gmacs', type=positive, metavar='G',
                         default=block_sweep.MAX_MACS / 1e9, help='leave out '
                         'stacks with more multiply-accumulates in a call '
                         '(default: %(default)s)')
    rename_option(command, '--designs', '--block-types')
    rename_option(command, '--most-gmacs', '--max-gmacs')
    add_timing_options(command, min_time=0.25, repeats=5)


def add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument('model', metavar='MODEL', nargs='+',
                         help='as in tools/benchmark.py')
    add_sizes(command, [512])
    command.add_argument('--calls', type=at_least(1), default=25, metavar='N',
                         help='calls whose layers are timed (default: 25)')
    add_timing_options(command, min_time=2, repeats=5)


def add_sizes(command: argparse.ArgumentParser, sizes: list[int]) -> None:
    command.add_argument('--sizes', type=at_least(MIN_SIZE), nargs='+',
                         default=sizes, metavar='S',
                         help='heights and widths of images (default: '
                         f'{" ".join(map(str, sizes))})')
    add_batch_size(command)


def add_batch_size(command: argparse.ArgumentParser) -> None:
    command.add_argument('--batch-size', type=at_least(1), default=1,
                         metavar='N', help='images in a call (default: 1)')


def add_resolution(command: argparse.ArgumentParser) -> None:
    command.add_argument('models', metavar='MODEL', nargs='*',
                         default=list(resolution_sweep.MODELS),
                         help='as in tools/benchmark.py (default: '
                         f'{" ".join(resolution_sweep.MODELS)})')
    add_sizes(command, list(resolution_sweep.SIZES))
    add_timing_options(command, min_time=1, repeats=5)


def add_choose(command: argparse.ArgumentParser) -> None:
    command.add_argument('--budget-ms', type=positive, nargs='+',
                         required=True, metavar='T',
                         help='latency budgets in milliseconds per call')
    command.add_argument('--shape', type=at_least(MIN_SIZE), nargs=2,
                         default=[512, 512], metavar=('H', 'W'),
                         help='height and width of images (default: 512 512)')
    add_batch_size(command)
    command.add_argument('--archs', metavar='F', help='JSON file of your own '
                         'networks: names with arch dicts')
    command.add_argument('--top', type=at_least(1), default=3, metavar='K',
                         help='how many variants, and how many of your own '
                         'networks, to measure again (default: 3)')
    add_timing_options(command, min_time=1, repeats=7)


def settings_of(args: argparse.Namespace, **more) -> Settings:
    return Settings(
        options=execution_options(args), min_time=args.min_time,
        repeats=args.repeats, warm_up_calls=2, warm_up_time=0.1,
        cpu_time=args.cpu_time, **more)


def opened(args: argparse.Namespace, settings: dict) -> tuple[dict, Path]:
    """The study to resume or to start, and its file."""
    set_up(execution_options(args))
    path = Path(f'{args.out}.json')
    if not path.exists():
        # Files beside a known study belong to it, and are replaced.
        check_new(*(f'{args.out}{suffix}' for suffix in SUFFIXES),
                  *glob(f'{escape(args.out)}_*.png'))
    study = sweep.opened(path, args.command, settings, args.device)
    with damage_errors(f'{path} is damaged, delete it'):
        if study['cells']:
            texts_of(study)
    return study, path


def measure(args: argparse.Namespace, settings: dict,
            measurements: list[sweep.Measurement]) -> dict:
    study, path = opened(args, settings)
    with_bar(partial(sweep.run, study, measurements, path))
    return study


def with_bar(work: Callable) -> None:
    progress = ProgressBar()
    with progress.bar:
        work(progress=progress)


def without(settings: Settings, *names: str, **more) -> dict:
    """Settings as in the file, without the ones that vary in the study."""
    return {name: value for name, value in asdict(settings).items()
            if name not in names} | more


def run_layers(args: argparse.Namespace) -> dict:
    grid = block_sweep.Grid(
        tuple(args.channels), tuple(args.sizes), tuple(args.batch_size),
        tuple(args.block_types), 1e9 * args.max_gmacs)
    if not grid.points:
        raise UserError('nothing is left to measure: raise --max-gmacs, or '
                        'name fewer --channels and smaller --sizes')
    settings = settings_of(args)
    return measure(
        args, without(settings, 'shape', 'batch_size', grid=asdict(grid)),
        block_sweep.measurements_of(grid, settings))


def run_network(args: argparse.Namespace) -> dict:
    measurements = []
    for size in args.sizes:
        settings = settings_of(args, shape=(size, size),
                               batch_size=args.batch_size)
        measurements += [
            layer_profile.measurement_of(spec, settings, args.calls)
            for spec in find_models(args.model, shape=(size, size))]
    return measure(
        args, without(settings, 'shape', calls=args.calls, models=args.model,
                      sizes=args.sizes), measurements)


def run_resolution(args: argparse.Namespace) -> dict:
    settings = settings_of(args, mode='latency', batch_size=args.batch_size)
    return measure(
        args, without(settings, 'shape', models=args.models),
        resolution_sweep.measurements_of(
            args.models, sorted(set(args.sizes)), settings))


def run_choose(args: argparse.Namespace) -> dict:
    archs = architecture_search.read_archs(args.archs) if args.archs else {}
    settings = settings_of(args, mode='latency', shape=tuple(args.shape),
                           batch_size=args.batch_size)
    study, path = opened(args, asdict(settings))
    with_bar(partial(architecture_search.choose, study, args.budget_ms, archs,
                     args.top, settings, path))
    return study


def run_show(args: argparse.Namespace) -> dict:
    args.out = args.file.removesuffix('.json')
    study = sweep.read(args.file)
    if not study['cells']:
        raise UserError(f'{args.file} holds no measurement')
    return study


def texts_of(study: dict) -> tuple[dict[str, str], list]:
    """The text files by their suffix, and lines and tables for the screen."""
    shown: list = [sweep.describe(study)]
    for table in tables.tables_of(study):
        if study['study'] == 'layers':
            table = tables.fitting(table)
        shown += [f'\n{table.title}',
                  make_table(table.header, table.rows, wide=False)]
    return {'.csv': tables.csv_of(study), '.md': tables.as_markdown(study)}, [
        *shown, *tables.lines_of(study)]


def finish(study: dict, stem: str) -> None:
    """Show the study, and write its files beside the JSON."""
    texts, shown = texts_of(study)
    console = make_console(wide=False)
    for each in shown:
        console.print(each)
    for suffix, text in texts.items():
        with write_errors(Path(stem + suffix)):
            replace_text(stem + suffix, text)
    with rc_context(PLAIN_TEXT):
        drawn = DRAW[study['study']](study, Path(stem))
    files = [f'{stem}.json', *(stem + suffix for suffix in texts),
             *map(str, drawn)]
    console.print(f'\n{engine.wrapped("Files: " + " ".join(files))}')


def run(args: argparse.Namespace) -> None:
    showing = args.command == 'show'
    if not showing:
        check_execution_options(args)
    study = args.run(args)
    with (damage_errors(f'{args.file} is damaged') if showing else
          nullcontext()):
        if study['cells']:
            finish(study, args.out)
    if not (showing or study['complete']):
        raise KeyboardInterrupt


def main() -> None:
    args = parse_args()
    # Models may be named in modules of the current folder.
    sys.path.append(os.getcwd())
    with (engine.one_line_errors('study.py'),
          engine.exit_on_interrupt(
              lambda: 'Interrupted: complete measurements were kept. Run the '
              'same command again to continue.')):
        run(args)


if __name__ == '__main__':
    main()
