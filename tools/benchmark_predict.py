"""Compare prediction from image files with the model alone on tensors.

The model of CONFIG has random weights; the files are generated. 100 % means
that reading, preprocessing and writing happen while the network computes.
"""
import argparse
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import _ctrl_c  # noqa: F401
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from mmlowformer import Predictor, engine
from mmlowformer.datasets.synthetic.shapes import make_dataset
from mmlowformer.engine import (
    WIDE_SPREAD,
    Candidate,
    UserError,
    dicts_in,
    find_config,
    interleave,
    median,
    read_config,
    relative_iqr,
    timer_for,
    warm_up,
)
from mmlowformer.predict.pipeline import Pipeline
from mmlowformer.predict.writer import CocoIdMapper, Writer


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='a config, or its name '
                        '(retinanet_lowformer_b1_coco)',
                        default='retinanet_lowformer_b1_coco')
    parser.add_argument('--size', type=int, default=512, metavar='N',
                        help='height and width of the files and of the inputs '
                        '(default: 512)')
    parser.add_argument('--images', type=engine.at_least(1), default=16,
                        metavar='N', help='files in a turn (default: 16)')
    parser.add_argument('--batch-size', type=engine.at_least(1), default=2,
                        metavar='N', help='images in a call (default: 2)')
    parser.add_argument('--repeats', type=engine.at_least(1), default=5,
                        metavar='N', help='turns of each (default: 5)')
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--pictures', action='store_true',
                        help='also draw and write images')
    parser.add_argument('--min-share', type=float, metavar='P',
                        help='exit with status 1 below P percent')
    return parser.parse_args()


def untrained(args: argparse.Namespace, folder: Path) -> Predictor:
    """The model, from a checkpoint with random weights."""
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


def bare(predictor: Predictor, pipeline: Pipeline, files: list[str]
         ) -> Callable[[], None]:
    """A function that calls the model alone on prepared tensors."""
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
    """A function that predicts as tools/predict.py does."""
    def call() -> None:
        folder.mkdir(exist_ok=True)
        with Writer(folder / 'predictions.jsonl', CocoIdMapper(),
                    pictures=pictures,
                    ahead=predictor.batch_size + 1) as writer:
            for item in predictor.stream(files):
                result = item.get()
                writer.add(item.position, Path(result.name).name, result)

    return call


def calls_in(predictor: Predictor, call: Callable[[], None]) -> list[int]:
    """Number of images in each call of the model."""
    counts, step = [], predictor.module.test_step

    def counting(data):
        counts.append(len(data['inputs']))
        return step(data)

    predictor.module.test_step = counting
    call()
    predictor.module.test_step = step
    return counts


def measure(args: argparse.Namespace, folder: Path) -> float:
    """Print both rates; return their ratio in percent."""
    predictor = untrained(args, folder)
    make_dataset(folder / 'shapes', train=args.images, val=1, size=args.size)
    files = sorted(map(str, (folder / 'shapes/coco/train2017').iterdir()))
    pair = {
        'model alone': Candidate(bare(predictor, predictor.pipeline, files)),
        'from files': Candidate(through(predictor, files, folder / 'out',
                                        args.pictures))}
    counts = calls_in(predictor, pair['from files'].call)
    timer = timer_for(args.device)
    for candidate in pair.values():
        warm_up(candidate, timer, 1, 0, 0)
    interleave(list(pair.values()), timer, args.repeats)
    print(f'{args.config}, {args.size}x{args.size}, {len(files)} files, '
          f'{args.device}, '
          f'{engine.counted(torch.get_num_threads(), "thread")}')
    print(f'images in each call: {min(counts)} to {max(counts)}')
    rates = [len(files) / median(candidate.seconds)
             for candidate in pair.values()]
    for (name, candidate), rate in zip(pair.items(), rates):
        wide = relative_iqr(candidate.seconds)
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
        share = measure(args, Path(folder))
        if args.min_share and share < args.min_share:
            raise UserError(f'{share:.1f} % is less than {args.min_share:g} %')


if __name__ == '__main__':
    main()
