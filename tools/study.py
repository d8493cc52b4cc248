"""Where multiply-accumulates and time part, on your device.

  layers      building blocks of equal work, over channels and resolutions
  network     what each layer takes while a network runs
  resolution  latency over the size of the images
  choose      the best network within a budget of milliseconds
  show        tables and pictures of a file, measured before

Each measurement is kept in OUT.json as soon as it is complete, with OUT.csv,
OUT.md and pictures beside it. The same command goes on where it was stopped.
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
from mmlowformer.benchmark.arguments import (
    add_timing,
    add_ways,
    check_ways,
    options_of,
)
from mmlowformer.benchmark.models import find_models
from mmlowformer.benchmark.run import Settings, set_up
from mmlowformer.benchmark.terminal_report import (
    ProgressBar,
    console_of,
    table_of,
)
from mmlowformer.engine import UserError
from mmlowformer.errors import damage_errors
from mmlowformer.study import (
    architecture_search as choosing,
)
from mmlowformer.study import (
    block_sweep as layers,
)
from mmlowformer.study import (
    layer_profile as network,
)
from mmlowformer.study import (
    resolution_sweep as resolution,
)
from mmlowformer.study import (
    sweep,
)
from mmlowformer.study.block_designs import DESIGNS
from mmlowformer.study.plots import DRAW, PLAIN_TEXT
from mmlowformer.study.tables import (
    as_markdown,
    csv_of,
    fitting,
    lines_of,
    tables_of,
)
from mmlowformer.utils.deprecation import rename_option
from mmlowformer.utils.files import check_new, replace_text

SMALLEST = 32


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True,
                                     metavar='COMMAND')
    for add in (add_layers, add_network, add_resolution, add_choose):
        command = add(commands)
        add_ways(command)
        command.add_argument('--out', metavar='OUT', help='what the names of '
                             'the files begin with, which may not be there '
                             'unless OUT.json is a study to go on with '
                             '(default: study_ and the command)')
        command.add_argument('--debug', action=engine.Debug, nargs=0,
                             help='show the tracebacks of errors, too')
    show = commands.add_parser('show', help='tables and pictures of a file')
    show.set_defaults(run=run_show)
    show.add_argument('file', metavar='OUT.json')
    return parser.parse_args()


def add_layers(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'layers', help='building blocks of equal work')
    command.set_defaults(run=run_layers)
    command.add_argument('--channels', type=int, nargs='+', metavar='C',
                         default=list(layers.CHANNELS))
    command.add_argument('--sizes', type=int, nargs='+', metavar='S',
                         default=list(layers.SIZES),
                         help='heights and widths of the maps')
    command.add_argument('--batch-size', type=int, nargs='+', metavar='N',
                         default=list(layers.BATCH_SIZES))
    command.add_argument('--designs', nargs='+', metavar='D',
                         default=list(DESIGNS), help='building blocks '
                         f'(all): {", ".join(DESIGNS)}')
    command.add_argument('--max-gmacs', type=float, metavar='G',
                         default=layers.MAX_MACS / 1e9, help='leave out '
                         'where stacks have more multiply-accumulates in a '
                         f'call ({layers.MAX_MACS / 1e9:g})')
    rename_option(command, '--most-gmacs', '--max-gmacs')
    add_timing(command, min_time=0.25, repeats=5)
    return command


def add_network(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'network', help='what each layer takes while a network runs')
    command.set_defaults(run=run_network)
    command.add_argument('model', metavar='MODEL', nargs='+',
                         help='as tools/benchmark.py takes it')
    add_images(command, [512])
    command.add_argument('--calls', type=int, default=25, metavar='N',
                         help='whose layers are timed (25)')
    add_timing(command, min_time=2, repeats=5)
    return command


def add_images(command: argparse.ArgumentParser, sizes: list[int]) -> None:
    command.add_argument('--sizes', type=int, nargs='+', default=sizes,
                         metavar='S', help='heights and widths of images '
                         f'({" ".join(map(str, sizes))})')
    command.add_argument('--batch-size', type=int, default=1, metavar='N')


def add_resolution(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'resolution', help='latency over the size of the images')
    command.set_defaults(run=run_resolution)
    command.add_argument('models', metavar='MODEL', nargs='*',
                         default=list(resolution.MODELS),
                         help='as tools/benchmark.py takes them (default: '
                         f'{" ".join(resolution.MODELS)})')
    add_images(command, list(resolution.SIZES))
    add_timing(command, min_time=1, repeats=5)
    return command


def add_choose(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        'choose', help='the best network within a budget of milliseconds')
    command.set_defaults(run=run_choose)
    command.add_argument('--budget-ms', type=float, nargs='+', required=True,
                         metavar='T', help='of a call')
    command.add_argument('--shape', type=int, nargs=2, default=[512, 512],
                         metavar=('H', 'W'), help='of the images (512 512)')
    command.add_argument('--batch-size', type=int, default=1, metavar='N',
                         help='images in a call (1)')
    command.add_argument('--archs', metavar='F', help='JSON of networks of '
                         'your own: names with arch dicts')
    command.add_argument('--top', type=int, default=3, metavar='K',
                         help='of the variants and of your own, how many to '
                         'measure again (3)')
    add_timing(command, min_time=1, repeats=7)
    return command


def check(args: argparse.Namespace) -> None:
    check_ways(args)
    for name, least in (('batch_size', 1), ('channels', 8), ('top', 1),
                        ('calls', 1), ('budget_ms', 1e-9),
                        ('shape', SMALLEST), ('max_gmacs', 1e-9)):
        values = getattr(args, name, None)
        if values is not None and min(
                values if isinstance(values, list) else [values]) < least:
            raise UserError(f'--{name.replace("_", "-")} has to be at least '
                            f'{least:g}' if least >= 1 else
                            f'--{name.replace("_", "-")} has to be positive')
    least = 1 if args.command == 'layers' else SMALLEST
    if min(getattr(args, 'sizes', [least])) < least:
        raise UserError(f'--sizes have to be at least {least}')


def settings_of(args: argparse.Namespace, **more) -> Settings:
    return Settings(
        options=options_of(args), min_time=args.min_time,
        repeats=args.repeats, warm_up_calls=2, warm_up_time=0.1,
        cpu_time=args.cpu_time, **more)


def stem_of(args: argparse.Namespace) -> str:
    return args.out or f'study_{args.command}'


def opened(args: argparse.Namespace, settings: dict) -> tuple[dict, Path]:
    """The study to go on with, and its file."""
    set_up(options_of(args))
    stem = stem_of(args)
    path = Path(f'{stem}.json')
    if not path.exists():
        # What lies beside a study is of that study, and written anew.
        check_new(f'{stem}.csv', f'{stem}.md', f'{stem}.png',
                  *glob(f'{escape(stem)}_*.png'))
    study = sweep.opened(path, args.command, settings, args.device)
    with damage_errors(f'{path} is damaged, delete it'):
        if study['cells']:
            texts_of(study)
    return study, path


def measure(args: argparse.Namespace, settings: dict,
            cells: list[sweep.Cell]) -> dict:
    study, path = opened(args, settings)
    with_bar(partial(sweep.run, study, cells, path))
    return study


def with_bar(work: Callable):
    progress = ProgressBar()
    with progress.bar:
        return work(progress=progress)


def run_layers(args: argparse.Namespace) -> dict:
    for design in args.designs:
        if design not in DESIGNS:
            raise UserError(f'--designs: {design!r} is none of '
                            f'{", ".join(DESIGNS)}')
    grid = layers.Grid(*map(tuple, (args.channels, args.sizes,
                                    args.batch_size, args.designs)),
                       max_macs=1e9 * args.max_gmacs)
    if not grid.places:
        raise UserError('nothing is left to measure: raise --max-gmacs, or '
                        'name fewer --channels and smaller --sizes')
    settings = settings_of(args)
    plain = dict(asdict(settings), grid=layers.plain_grid(grid))
    # Those of the grid.
    del plain['shape'], plain['batch_size']
    return measure(args, plain, layers.cells_of(grid, settings))


def run_network(args: argparse.Namespace) -> dict:
    cells = []
    for size in args.sizes:
        settings = network.settings_for(settings_of(args), size,
                                        args.batch_size)
        cells += [network.cell_of(spec, settings, args.calls)
                  for spec in find_models(args.model, shape=(size, size))]
    plain = dict(asdict(settings), calls=args.calls, models=args.model,
                 sizes=args.sizes)
    del plain['shape']
    return measure(args, plain, cells)


def run_resolution(args: argparse.Namespace) -> dict:
    settings = settings_of(args, mode='latency', batch_size=args.batch_size)
    plain = dict(asdict(settings), models=args.models)
    del plain['shape']
    return measure(args, plain, resolution.cells_of(
        args.models, sorted(set(args.sizes)), settings))


def run_choose(args: argparse.Namespace) -> dict:
    archs = choosing.read_archs(args.archs) if args.archs else {}
    settings = settings_of(args, mode='latency', shape=tuple(args.shape),
                           batch_size=args.batch_size)
    study, path = opened(args, asdict(settings))
    with_bar(partial(choosing.choose, study, args.budget_ms, archs, args.top,
                     settings, path))
    return study


def run_show(args: argparse.Namespace) -> dict:
    args.out = args.file.removesuffix('.json')
    study = sweep.read(args.file)
    if not study['cells']:
        raise UserError(f'{args.file} holds no measurement')
    return study


def texts_of(study: dict) -> tuple[str, str, list]:
    """The CSV, the Markdown, and what is shown on the screen."""
    shown = [sweep.describe(study)]
    for table in tables_of(study):
        if study['study'] == 'layers':
            table = fitting(table)
        shown += [f'\n{table.title}',
                  table_of(table.header, table.rows, wide=False)]
    return csv_of(study), as_markdown(study), shown + lines_of(study)


def finish(study: dict, stem: str) -> None:
    """Show what there is, and write it beside the JSON."""
    table, markdown, shown = texts_of(study)
    console = console_of(wide=False)
    for each in shown:
        console.print(each)
    try:
        replace_text(f'{stem}.csv', table)
        replace_text(f'{stem}.md', markdown)
    except OSError as error:
        raise UserError(f'{stem}.csv and {stem}.md cannot be written: '
                        f'{error.strerror}') from error
    with rc_context(PLAIN_TEXT):
        drawn = DRAW[study['study']](study, Path(stem))
    files = [f'{stem}.json', f'{stem}.csv', f'{stem}.md', *map(str, drawn)]
    console.print(f'\n{engine.wrapped("Files: " + " ".join(files))}')


def run(args: argparse.Namespace) -> None:
    if args.command != 'show':
        check(args)
    study = args.run(args)
    showing = args.command == 'show'
    with (damage_errors(f'{args.file} is damaged') if showing else
          nullcontext()):
        if study['cells']:
            finish(study, stem_of(args))
    if not (showing or study['complete']):
        raise KeyboardInterrupt


def main() -> None:
    args = parse_args()
    # So that modules of the current folder can be named.
    sys.path.append(os.getcwd())
    with (engine.one_line_errors('study.py'),
          engine.exit_on_interrupt(lambda: 'Interrupted: what is complete was '
                                   'kept. The same command goes on.')):
        run(args)


if __name__ == '__main__':
    main()
