"""Compare predicting image files with the bare model on ready tensors.

The model of CONFIG has random weights; the files are generated. What is lost
to reading them, to preparing them and to writing the results is the rest to
100 %: all of it is to happen while the network computes.
"""
import argparse
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import _ctrl_c  # noqa: F401
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from mmlowformer import Predictor, engine
from mmlowformer.config.loading import dicts_in, find_config, read_config
from mmlowformer.datasets.synthetic.shapes import make_dataset
from mmlowformer.engine import UserError
from mmlowformer.predict.pipeline import Pipeline
from mmlowformer.predict.writer import CocoIdMapper, Writer
from mmlowformer.utils.timing import (
    WIDE_SPREAD,
    Candidate,
    CudaTimer,
    Timer,
    median,
    spread,
    take_turns,
    warm_up,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='a config, or its name '
                        '(retinanet_lowformer_b1_coco)',
                        default='retinanet_lowformer_b1_coco')
    parser.add_argument('--size', type=int, default=512, metavar='N',
                        help='height and width of the files, and of what the '
                        'network gets (512)')
    parser.add_argument('--images', type=int, default=16, metavar='N',
                        help='files in a turn (16)')
    parser.add_argument('--batch-size', type=int, default=2, metavar='N',
                        help='images in a call (2)')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='turns of each (5)')
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--pictures', action='store_true',
                        help='draw and write pictures, too')
    parser.add_argument('--min-share', type=float, metavar='P',
                        help='exit with status 1 below so many percent')
    return parser.parse_args()


def untrained(args: argparse.Namespace, folder: Path) -> Predictor:
    """The model, from a checkpoint as a training leaves it."""
    cfg = read_config(find_config(args.config))
    sizes = dict(Resize=dict(scale=(args.size, args.size)),
                 ResizeEdge=dict(scale=args.size),
                 CenterCrop=dict(crop_size=args.size))
    for _, part in dicts_in(cfg.test_dataloader):
        part.update(sizes.get(part.get('type'), {}))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        state = MODELS.build(cfg.model).state_dict()
    file = folder / 'untrained.pth'
    torch.save(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), file)
    return Predictor(file, device=args.device, batch_size=args.batch_size)


def files_of(args: argparse.Namespace, folder: Path) -> list[str]:
    make_dataset(folder / 'shapes', train=args.images, val=1, size=args.size)
    return sorted(map(str, (folder / 'shapes/coco/train2017').iterdir()))


def bare(predictor: Predictor, pipeline: Pipeline, files: list[str]
         ) -> Callable[[], None]:
    """Calls the model alone, on tensors that are there already."""
    ready = (pipeline(file).data for file in files)
    batches = []
    while batch := list(islice(ready, predictor.batch_size)):
        batches.append(batch)

    def call() -> None:
        for batch in batches:
            with torch.no_grad(), DefaultScope.overwrite_default_scope(
                    pipeline.scope):
                predictor.module.test_step(pseudo_collate(batch))

    return call


def through(predictor: Predictor, files: list[str], folder: Path,
            pictures: bool) -> Callable[[], None]:
    """Does what tools/predict.py does."""
    def call() -> None:
        with Writer(folder, CocoIdMapper(), pictures=pictures,
                    ahead=predictor.batch_size + 1) as writer:
            for item in predictor.stream(files):
                result = item.get()
                writer.add(item.position, Path(result.name).name, result)

    return call


def calls_in(predictor: Predictor, call: Callable[[], None]) -> list[int]:
    """Images in each call of the model."""
    counts, step = [], predictor.module.test_step

    def counting(data):
        counts.append(len(data['inputs']))
        return step(data)

    predictor.module.test_step = counting
    call()
    predictor.module.test_step = step
    return counts


def measure(args: argparse.Namespace, folder: Path) -> float:
    """Show the rates; percent of the bare model's."""
    predictor, files = untrained(args, folder), files_of(args, folder)
    pair = {
        'the bare model': Candidate(bare(predictor, predictor.pipeline,
                                         files)),
        'from files': Candidate(through(predictor, files, folder / 'out',
                                        args.pictures))}
    counts = calls_in(predictor, pair['from files'].call)
    timer = CudaTimer() if args.device == 'cuda' else Timer()
    for candidate in pair.values():
        warm_up(candidate, timer, 1, 0, 0)
    take_turns(list(pair.values()), timer, args.repeats)
    print(f'{args.config}, {args.size}x{args.size}, {len(files)} files, '
          f'{args.device}, {torch.get_num_threads()} threads')
    print(f'images in each call: {min(counts)} to {max(counts)}')
    rates = [len(files) / median(candidate.seconds)
             for candidate in pair.values()]
    for (name, candidate), rate in zip(pair.items(), rates):
        wide = spread(candidate.seconds)
        print(f'{name:<16}{rate:8.2f} images/s' + (
            f'  (quartiles {wide:.0%} apart)' if wide > WIDE_SPREAD else ''))
    share = 100 * rates[1] / rates[0]
    print(f'{"":<16}{share:8.1f} %')
    return share


def main() -> None:
    args = parse_args()
    with engine.one_line_errors('benchmark_predict.py'), \
            engine.quiet_screen(), \
            tempfile.TemporaryDirectory() as folder:
        for name in ('images', 'batch_size', 'repeats'):
            if getattr(args, name) < 1:
                raise UserError(f'--{name.replace("_", "-")} has to be at '
                                'least 1')
        share = measure(args, Path(folder))
    if args.min_share and share < args.min_share:
        sys.exit(f'benchmark_predict.py: {share:.1f} % is less than '
                 f'{args.min_share:g} %')


if __name__ == '__main__':
    main()
