"""Compare the outputs and the speed of mmcv's ops with torchvision's.

An mmcv that was compiled without optimization is several times slower.
"""
import argparse
from collections.abc import Callable
from typing import NamedTuple

import _ctrl_c  # noqa: F401
import torch
import torchvision.ops
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmlowformer.errors import UserError, one_line_errors
from mmlowformer.utils.tensors import relative_error
from mmlowformer.utils.timing import (
    WIDE_SPREAD,
    Candidate,
    Timer,
    interleave,
    median,
    relative_iqr,
    timer_for,
    warm_up,
)

# Relative to the largest value; sums in another order differ by less.
TOLERANCE = 1e-4


class Comparison(NamedTuple):
    """The same operation of both libraries."""

    name: str
    mmcv: Callable[[], Tensor]
    torchvision: Callable[[], Tensor]

    def check(self) -> None:
        """Refuse outputs that differ."""
        mine, reference = self.mmcv(), self.torchvision()
        if mine.shape != reference.shape:
            raise UserError(f'{self.name}: shapes differ: {list(mine.shape)} '
                            f'and {list(reference.shape)}')
        error = relative_error(mine, reference)
        if not error <= TOLERANCE:
            raise UserError(f'{self.name}: outputs differ by {error:.1e} of '
                            'the largest value')


def random_boxes(count: int, size: int, device: str) -> Tensor:
    corners = torch.rand(count, 2, device=device) * size
    sides = torch.rand(count, 2, device=device) * size / 8 + 1
    return torch.cat([corners, corners + sides], 1)


def compare_nms(ops, boxes: int, device: str) -> Comparison:
    places = random_boxes(boxes, 800, device)
    # Without ties, which the libraries order differently.
    scores = torch.randperm(boxes, device=device) / boxes
    return Comparison(
        f'nms of {boxes:,} boxes',
        lambda: ops.nms(places, scores, 0.5)[1],
        lambda: torchvision.ops.nms(places, scores, 0.5))


def compare_roi_align(ops, boxes: int, device: str,
                      backward: bool) -> Comparison:
    features = torch.rand(2, 64, 100, 100, device=device,
                          requires_grad=backward)
    images = torch.arange(boxes, device=device)[:, None] % 2
    rois = torch.cat([images, random_boxes(boxes, 800, device)], 1)
    # Output size, scale, samples, and at last whether it is aligned.
    settings = (7, 7), 1 / 8, 2

    def done(output: Tensor) -> Tensor:
        if not backward:
            return output
        return torch.autograd.grad(output.square().sum(), features)[0]

    return Comparison(
        f'roi_align of {boxes:,} boxes' + ', backward' * backward,
        lambda: done(ops.roi_align(features, rois, *settings, 'avg', True)),
        lambda: done(torchvision.ops.roi_align(features, rois, *settings,
                                               True)))


def compare_deform_conv(ops, device: str) -> Comparison:
    inputs = torch.rand(2, 64, 64, 64, device=device)
    offsets = torch.randn(2, 18, 64, 64, device=device)
    masks = torch.rand(2, 9, 64, 64, device=device)
    weight = torch.randn(64, 64, 3, 3, device=device)
    return Comparison(
        'deform_conv2d, modulated',
        lambda: ops.modulated_deform_conv2d(
            inputs, offsets, masks, weight, None, 1, 1, 1, 1, 1),
        lambda: torchvision.ops.deform_conv2d(
            inputs, offsets, weight, padding=1, mask=masks))


def time_both(comparison: Comparison, timer: Timer, repeats: int,
              turn_seconds: float) -> list[Candidate]:
    pair = [Candidate(comparison.mmcv), Candidate(comparison.torchvision)]
    for candidate in pair:
        warm_up(candidate, timer, 3, turn_seconds, turn_seconds)
    if interleave(pair, timer, repeats) < repeats:
        raise KeyboardInterrupt
    return pair


def add_row(table: Table, name: str, pair: list[Candidate]) -> float:
    """Add the times of both libraries, and return their ratio."""
    medians = [median(candidate.seconds) for candidate in pair]
    ratio = medians[0] / medians[1]
    table.add_row(name, *[
        f'{1e3 * value:.1f}'
        + ' (wide)' * (relative_iqr(candidate.seconds) > WIDE_SPREAD)
        for value, candidate in zip(medians, pair)], f'{ratio:.2f}')
    return ratio


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--boxes', type=int, default=5000,
                        help='boxes for nms; a tenth of them for '
                        'roi_align (default: 5000)')
    parser.add_argument('--repeats', type=int, default=9,
                        help='turns of each library (default: 9)')
    parser.add_argument('--turn', type=float, default=0.5, metavar='SECONDS',
                        help='length of a turn (default: 0.5)')
    parser.add_argument('--cpu-time', action='store_true',
                        help='count processor seconds instead of elapsed '
                        'time, for a shared machine')
    parser.add_argument('--max-ratio', type=float, metavar='R',
                        help='exit with status 1 if mmcv takes more than R '
                        'times as long')
    return parser.parse_args()


def comparisons(ops, boxes: int, device: str) -> list[Comparison]:
    few = max(1, boxes // 10)
    return [compare_nms(ops, boxes, device),
            compare_roi_align(ops, few, device, backward=False),
            compare_roi_align(ops, few, device, backward=True),
            compare_deform_conv(ops, device)]


def run(args: argparse.Namespace) -> None:
    try:
        from mmcv import ops
    except ImportError as error:
        raise UserError(f'mmcv has no ops here: {error}') from error
    torch.manual_seed(0)
    timer = timer_for(args.device, args.cpu_time)
    table = Table('ms, median', 'mmcv', 'torchvision', 'ratio',
                  caption=f'{args.device}, {torch.get_num_threads()} threads; '
                  f'(wide): quartiles more than {WIDE_SPREAD:.0%} apart')
    slow = []
    try:
        for comparison in comparisons(ops, args.boxes, args.device):
            comparison.check()
            pair = time_both(comparison, timer, args.repeats, args.turn)
            ratio = add_row(table, comparison.name, pair)
            if args.max_ratio and ratio > args.max_ratio:
                slow.append(f'{comparison.name} {ratio:.2f}')
    # Also after Ctrl-C, and if the outputs of the next operation differ.
    finally:
        Console().print(table)
    if slow:
        raise UserError(f"more than {args.max_ratio:g} times torchvision's: "
                        f'{", ".join(slow)}')


def main() -> None:
    args = parse_args()
    with one_line_errors('benchmark_ops.py'):
        run(args)


if __name__ == '__main__':
    main()
