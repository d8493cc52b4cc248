"""Measure the cost of automatic mixed precision in each block of a LowFormer.

Test images go through the backbone in float32 and in low precision. For each
block this prints the largest magnitude of its values, and the relative error
of its output: accumulated, and with only this block in low precision.
"""
import argparse
import os
from collections.abc import Iterator
from contextlib import nullcontext

import _ctrl_c  # noqa: F401
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from mmlowformer import LowFormer, engine
from mmlowformer.analysis import precision
from mmlowformer.datasets.image_errors import name_images_in_errors
from mmlowformer.engine import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    engine.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--dtype', nargs='+', default=['bf16', 'fp16'],
                        choices=list(precision.DTYPES),
                        help='types to compare with float32 (default: both)')
    parser.add_argument('--images', type=engine.at_least(1), default=64,
                        metavar='N',
                        help='number of test images, taken evenly from all '
                        '(default: 64)')
    parser.add_argument('--float32', metavar='REGEX',
                        help='keep layers whose names match in float32; '
                        '"sum$" matches the residual additions')
    parser.add_argument('--metrics', action='store_true',
                        help='also test on the full test set in each type')
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> Config:
    if args.launcher != 'none':
        raise UserError('precision.py runs in one process: omit --launcher')
    cfg = engine.prepare_test(args, 'precision')
    # The tables are the output; Runner's reports would hide them.
    cfg.log_level = 'WARNING'
    progress_bar = cfg.get('default_hooks', {}).get('progress_bar')
    if progress_bar:
        progress_bar.enabled = False
    return cfg


def build(cfg: Config, args: argparse.Namespace) -> Runner:
    runner = engine.build_test_runner(cfg, args)
    runner.load_or_resume()
    runner.model.eval()
    return runner


def preprocessed(runner: Runner, count: int) -> Iterator[Tensor]:
    """Batches of test images as the backbone gets them."""
    loader = runner.test_loop.dataloader
    name_images_in_errors(loader.dataset)
    size = len(loader.dataset)
    chosen = torch.linspace(0, size - 1, min(count, size)).round().int()
    for indices in chosen.split(loader.batch_size):
        batch = loader.collate_fn([loader.dataset[i] for i in
                                   indices.tolist()])
        yield runner.model.data_preprocessor(batch, False)['inputs']


def print_errors(errors: list[precision.BlockError], title: str) -> None:
    width = max(len(error.name) for error in errors)
    print(f'\n{title}\n{"block":<{width}} {"largest":>9} {"accumulated":>12} '
          f'{"alone":>9}')
    for error in errors:
        print(f'{error.name:<{width}} {error.largest:>9.2f} '
              f'{error.accumulated:>12.5f} {error.alone:>9.5f}')


def print_metrics(metrics: dict[str, dict]) -> None:
    """One row for each metric, one column for each type."""
    names = list(next(iter(metrics.values())))
    width = max(len(name) for name in ['metric', *names])
    print(f'\n{"metric":<{width}}'
          + ''.join(f'{dtype:>10}' for dtype in metrics))
    for name in names:
        values = [columns[name] for columns in metrics.values()]
        print(f'{name:<{width}}' + ''.join(
            f'{value:>10.4g}' if isinstance(value, float) else f'{value:>10}'
            for value in values))


def test_in_each(runner: Runner, backbone: LowFormer,
                 dtypes: list[str]) -> dict[str, dict]:
    """The metrics of the config, by type."""
    metrics = {}
    for dtype in ['float32', *dtypes]:
        with precision.low_precision(backbone, precision.DTYPES.get(dtype)):
            metrics[dtype] = runner.test()
    return metrics


def measure(runner: Runner, args: argparse.Namespace) -> None:
    backbone = precision.find_backbone(runner.model)
    count = min(args.images, len(runner.test_loop.dataloader.dataset))
    kept = (precision.float32_layers(backbone, args.float32)
            if args.float32 else nullcontext())
    with kept:
        for dtype in args.dtype:
            errors = precision.measure(
                backbone, preprocessed(runner, args.images),
                precision.DTYPES[dtype])
            print_errors(errors, f'{dtype} on {engine.device_name()}, {count} '
                         'images')
        if args.metrics:
            print_metrics(test_in_each(runner, backbone, args.dtype))


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with engine.one_line_errors('precision.py'):
        cfg = prepare(args)
        with engine.explain_build_errors(cfg):
            measure(build(cfg, args), args)


if __name__ == '__main__':
    main()
