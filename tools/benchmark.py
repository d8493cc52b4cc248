"""Measure the speed of backbones side by side, or compare measurements.

MODEL is lowformer_b2 (default: all eight variants), an ablation like
lowformer_b1_unfused, timm:NAME with wildcards, peer:fat_b0 to fat_b3,
mmpretrain:NAME, the path of a config, the folder of an exported model, or
package.module:callable. Options of a single model follow an @:
timm:lowformer_b1@eager lowformer_b1@deploy,channels_last,compile
"""
import argparse
import dataclasses
import itertools
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import _ctrl_c  # noqa: F401

from mmlowformer import engine
from mmlowformer.benchmark import paper_claims, report
from mmlowformer.benchmark.memory import available_memory
from mmlowformer.benchmark.models import Spec, find_models
from mmlowformer.benchmark.options import (
    MODES,
    Options,
    Settings,
    add_execution_options,
    add_timing_options,
    check_execution_options,
    execution_options,
    options_for,
)
from mmlowformer.benchmark.record import as_csv, as_json, read
from mmlowformer.benchmark.run import benchmark
from mmlowformer.benchmark.terminal_report import (
    ProgressBar,
    make_console,
    make_table,
)
from mmlowformer.engine import (
    UserError,
    check_new,
    positive,
    rename_option,
    replace_text,
    write_errors,
)
from mmlowformer.models.ablations import ABLATIONS

PRESETS = {
    # As the authors measured.
    'paper': dict(backend='torchscript', dtype='fp32'),
    'deploy': dict(deploy=True, channels_last=True, compile='default'),
    # Several measurements, see run_claims.
    'claims': {},
}
SHAPES = dict(paper=[(224, 224), (512, 512)])
# Large batches take long on a CPU and are no faster.
BATCH_SIZES = dict(paper=dict(cpu=200, cuda=200), claims=dict(cpu=2, cuda=200))
# Images in a call when --batch-size is auto.
AUTOMATIC = dict(cpu=2, cuda=64)
# Options that --preset claims sets by itself.
SET_BY_CLAIMS = ('models', 'full_model', 'deploy', 'channels_last', 'amp',
                     'cuda_graph')
# What --list shows unless models are named.
EVERY_MODEL = ['lowformer_*', *(f'lowformer_{name}' for name in ABLATIONS),
               'peer:*']
FILES = ('json', 'csv', 'markdown', 'plot')
# Of the available memory for models by default.
MEMORY_SHARE = 0.8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='*', metavar='MODEL',
                        help='models to measure, see above')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'),
                        help='height and width of the images (default: 512 '
                        '512)')
    parser.add_argument('--batch-size', nargs='+', default=['auto'],
                        metavar='N', help='images in a call; several '
                        'are measured one after the other (default: auto, '
                        'which is 2 on a CPU, 64 on a GPU, 1 for latency, 200 '
                        'for --preset paper)')
    parser.add_argument('--mode', choices=MODES, default='throughput',
                        help='images per second, time of each call, or '
                        'training steps (default: throughput)')
    add_execution_options(parser)
    parser.add_argument('--preset', choices=PRESETS,
                        help='paper: TorchScript, frozen and optimized, '
                        'float32, 200 images of 224x224, then of 512x512; '
                        'deploy: --deploy --channels-last --compile; claims: '
                        "compare the authors' claims with measurements, with "
                        '--compile of compiled models, too')
    add_timing_options(parser, min_time=5, repeats=9)
    parser.add_argument('--profile', nargs='?', type=int, const=11, default=0,
                        metavar='N', help='list the time of each operator, '
                        'the median of N calls (default: 11)')
    parser.add_argument('--full-model', action='store_true',
                        help='measure the whole model of a config instead '
                        'of its backbone')
    rename_option(parser, '--whole', '--full-model')
    for kind in FILES:
        parser.add_argument(f'--{kind}', metavar='F',
                            help=f'write a new {kind} file' if kind != 'plot'
                            else 'write a new PNG file')
    parser.add_argument('--resume', action='store_true',
                        help='continue the measurement in the file of --json, '
                        'which is written after each round, if it exists')
    parser.add_argument('--isolate', action='store_true',
                        help='measure each model in a process of its own: if '
                        'one crashes, the others are measured')
    parser.add_argument('--max-memory', type=positive, metavar='GB',
                        help='memory for the models that are measured '
                        'together; the others follow in groups, each with the '
                        'first model (default: '
                        f'{MEMORY_SHARE:.0%} of what is available)'.replace(
                            '%', '%%'))
    parser.add_argument('--trust-config', action='store_true',
                        help='allow exported models of the format pt2, which '
                        'may run code of their author')
    parser.add_argument('--wide', action='store_true',
                        help='show all columns, in more than 80 characters')
    parser.add_argument('--list', action='store_true',
                        help='list the models, with ablations and peers, '
                        'and stop')
    parser.add_argument('--compare', nargs=2, metavar=('A', 'B'),
                        help='compare two files written with --json')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Refuse wrong arguments before anything is built."""
    check_execution_options(args)
    if args.backend != 'torch' and args.mode == 'train':
        raise UserError('--mode train needs --backend torch')
    if args.mode == 'train' and args.deploy:
        raise UserError('--mode train: a deployed network cannot be trained, '
                        'omit --deploy')
    if args.fused and args.mode != 'train':
        raise UserError('--fused needs --mode train')
    if args.preset == 'claims':
        check_claims(args)
    check_values(args)


def check_claims(args: argparse.Namespace) -> None:
    if (any(getattr(args, name) for name in SET_BY_CLAIMS)
            or (args.mode, args.dtype, args.backend) != (
                'throughput', 'fp32', 'torch') or len(args.batch_size) > 1):
        raise UserError('--preset claims sets models, modes, data type and '
                        'backends; it takes --shape, one --batch-size of '
                        'throughput, and --compile')


def check_values(args: argparse.Namespace) -> None:
    if args.resume and not args.json:
        raise UserError('--resume needs --json, the file to continue')
    if args.profile < 0:
        raise UserError('--profile has to be at least 0')
    if args.shape and min(args.shape) < 32:
        raise UserError(f'--shape {args.shape[0]} {args.shape[1]}: images '
                        'have to be at least 32 pixels high and wide')
    for kind in FILES:
        path = getattr(args, kind)
        if path and not Path(path).resolve().parent.is_dir():
            raise UserError(f'--{kind} {path}: there is no such folder')


def check_files(args: argparse.Namespace, suffixes: Iterable[str]) -> None:
    """Make sure that only files of the same measurement are replaced."""
    for suffix in suffixes:
        if not (args.resume and with_suffix(args.json, suffix).exists()):
            check_new(*(with_suffix(getattr(args, kind), suffix)
                        for kind in FILES if getattr(args, kind)))


def batch_sizes(args: argparse.Namespace) -> list[int]:
    sizes = []
    for text in args.batch_size:
        if text == 'auto':
            text = 1 if args.mode == 'latency' else BATCH_SIZES.get(
                args.preset, AUTOMATIC)[args.device]
        elif not text.isdigit() or int(text) < 1:
            raise UserError(f'--batch-size {text}: positive numbers, or auto')
        sizes.append(int(text))
    return list(dict.fromkeys(sizes))


def shapes(args: argparse.Namespace) -> list[tuple[int, int]]:
    if args.shape:
        return [tuple(args.shape)]
    return SHAPES.get(args.preset, [(512, 512)])


def show(record: dict, wide: bool) -> None:
    console = make_console(wide)
    console.print(report.describe(record))
    header, rows = report.add_ratio_column(record, report.table_header(record),
                                    report.table_rows(record))
    if not wide:
        header, rows = report.narrow(header, rows)
    console.print(make_table(header, rows, wide))
    if profile := report.profile_rows(record):
        console.print(make_table(report.PROFILE_HEADER, profile, wide))
    unsteady = [row['name'] for row in record['rows'] if row.get('unsteady')]
    if unsteady:
        console.print(f'! spread above 5 %: {", ".join(unsteady)}. Close '
                      'other programs, or raise --min-time and --repeats.')


def write(record: dict, args: argparse.Namespace, suffix: str) -> None:
    """Write the files beside the JSON, with the suffix in their names."""
    texts = dict(
        csv=as_csv(record), markdown='\n'.join(report.tables(record)))
    for kind, text in texts.items():
        if getattr(args, kind):
            replace(with_suffix(getattr(args, kind), suffix), text)
    if args.plot and any(not row['failure'] for row in record['rows']):
        report.plot(record, str(with_suffix(args.plot, suffix)))


def replace(path: str | Path, text: str) -> None:
    """Write a file, which may be that of an interrupted measurement."""
    with write_errors(Path(path)):
        replace_text(path, text)


def with_suffix(name: str, suffix: str) -> Path:
    path = Path(name)
    return path.with_name(f'{path.stem}{suffix}{path.suffix}')


def show_comparison(paths: list[str], wide: bool) -> None:
    rows, differing = report.compare(*map(read, paths))
    console = make_console(wide)
    for name, path in zip('AB', paths):
        console.print(f'{name}: {path}', soft_wrap=True)
    console.print(make_table(
        ['model', 'A, images/s', 'B, images/s', 'B / A'], rows, wide))
    for line in differing:
        console.print(f'! differs: {line}')


def options_for_all(args: argparse.Namespace) -> Options:
    return dataclasses.replace(execution_options(args),
                               **PRESETS.get(args.preset, {}))


def claims_suffix(mode: str, shape: tuple[int, int]) -> str:
    return f'_{mode}_{shape[0]}x{shape[1]}'


def run_claims(args: argparse.Namespace) -> bool:
    """Measure the models of the claims, and compare."""
    options = [paper_claims.PAPER, paper_claims.DEPLOYED]
    if args.compile:
        options.append(paper_claims.COMPILED if args.compile == 'default' else
                       f'{paper_claims.COMPILED}={args.compile}')
    parts = paper_claims.parts(options)
    check_files(args, ['', *(claims_suffix(*place) for place in parts)])
    records: dict = {}
    for (mode, shape), models in parts.items():
        settings = Settings(
            shape=tuple(args.shape or shape), mode=mode,
            batch_size=1 if mode == 'latency' else batch_sizes(args)[0],
            options=Options(device=args.device, threads=args.threads),
            min_time=args.min_time, repeats=args.repeats,
            profiled_calls=args.profile)
        records[mode, shape] = record = measure_and_show(
            find_models(models, shape=settings.shape), settings, args,
            claims_suffix(mode, shape))
        if not record['complete']:
            break
    show_claims(paper_claims.evaluate_claims(records), args)
    return is_measured(records.values())


def show_claims(results: list[dict], args: argparse.Namespace) -> None:
    rows = paper_claims.table_rows(results)
    console = make_console(args.wide)
    console.print('LowFormer over the peer; for latency, less is better.')
    console.print(make_table(paper_claims.HEADER, rows, args.wide))
    if args.json:
        replace(args.json, as_json(dict(claims=results)))
    if args.markdown:
        replace(args.markdown, report.markdown(paper_claims.HEADER, rows))


def run(args: argparse.Namespace) -> bool:
    """Measure, and return whether any model could be measured."""
    check(args)
    if args.preset == 'claims':
        return run_claims(args)
    sizes = batch_sizes(args)
    models = args.models or (EVERY_MODEL if args.list else ['lowformer_*'])
    found = {shape: find_models(models, args.full_model,
                                shape, trust=args.trust_config)
             for shape in shapes(args)}
    specs = next(iter(found.values()))
    for spec in specs:
        options_for(options_for_all(args), spec.options)
    if args.list:
        for spec in specs:
            print(f'{spec.name:<40}{spec.kind or ""}'.rstrip())
        return True
    several = [len(found) > 1, len(sizes) > 1]
    suffixes = {
        (shape, size): ''.join(itertools.compress(
            (f'_{shape[0]}x{shape[1]}', f'_batch{size}'), several))
        for shape, size in itertools.product(found, sizes)}
    check_files(args, suffixes.values())
    records = []
    for (shape, size), suffix in suffixes.items():
        settings = Settings(
            shape=shape, batch_size=size, mode=args.mode,
            options=options_for_all(args), min_time=args.min_time,
            repeats=args.repeats, profiled_calls=args.profile,
            cpu_time=args.cpu_time)
        records.append(measure_and_show(found[shape], settings, args, suffix))
        if not records[-1]['complete']:
            break
    return is_measured(records)


def measure_and_show(specs: list[Spec], settings: Settings,
                     args: argparse.Namespace, suffix: str) -> dict:
    """Measure, show and write, with the suffix in names of files."""
    progress = ProgressBar()
    device = settings.options.device
    memory = (2**30 * args.max_memory if args.max_memory else
              MEMORY_SHARE * (available_memory(device) or math.inf))
    with progress.bar:
        record = benchmark(
            specs, settings, progress=progress,
            path=with_suffix(args.json, suffix) if args.json else None,
            isolate=args.isolate, max_memory=memory)
    show(record, args.wide)
    write(record, args, suffix)
    return record


def is_measured(records: Iterable[dict]) -> bool:
    """Whether any model could be measured."""
    records = list(records)
    if not all(record['complete'] for record in records):
        raise KeyboardInterrupt
    return any(not row['failure'] for record in records
               for row in record['rows'])


def interrupted(args: argparse.Namespace) -> str:
    if not args.json:
        return 'Interrupted: only the models shown above were measured.'
    return (f'Interrupted: {args.json} has the complete rounds. Run the same '
            'command with --resume to continue.')


def main() -> None:
    args = parse_args()
    # Models may be named in modules of the current folder.
    sys.path.append(os.getcwd())
    with (engine.one_line_errors('benchmark.py'),
          engine.exit_on_interrupt(lambda: interrupted(args))):
        if args.compare:
            show_comparison(args.compare, args.wide)
        elif not run(args):
            sys.exit('benchmark.py: no model could be measured')


if __name__ == '__main__':
    main()
