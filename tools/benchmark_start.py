"""Compare the start of a training with MMEngine's own start.

The data are generated, by default a tenth of COCO or ADE20K. Each start is a
process that ends after an iteration on a small image. The first start of
tools/train.py checks the data, later ones remember the result.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import _ctrl_c  # noqa: F401
import numpy as np
from mmengine.config import Config
from PIL import Image

from mmlowformer import engine, get_config
from mmlowformer.datasets.synthetic.large import (
    HEIGHT,
    WIDTH,
    link_images,
    write_coco,
)
from mmlowformer.engine import UserError, dicts_in, median

# Images of the real data sets.
COCO, ADE20K = 118_287, 20_210
LIBRARIES = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = sys.argv[2]
Runner.from_cfg(cfg).train()
"""
TOOL = Path(__file__).with_name('train.py')
LABELS = ('MMEngine alone', 'first start', 'later start')


class Start(NamedTuple):
    """What a start costs."""

    seconds: float  # of the CPU
    mebibytes: float


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=['boxes', 'masks'], default='boxes')
    parser.add_argument('--images', type=engine.at_least(10), metavar='N',
                        help='training images (default: a tenth of COCO or '
                        'ADE20K); a tenth of them validates')
    parser.add_argument('--repeats', type=engine.at_least(1), default=3,
                        metavar='N',
                        help='interleaved starts of each (default: 3)')
    return parser.parse_args()


def make_boxes(root: Path, parts: dict[str, int]) -> Config:
    """Generate annotations as long as COCO's."""
    cfg = get_config('retinanet_lowformer_b0_coco')
    Image.new('RGB', (WIDTH, HEIGHT)).save(root / 'image.jpg')
    for part, count in parts.items():
        names = link_images(root / 'image.jpg', root / f'{part}2017', count)
        classes = write_coco(
            root / f'annotations/instances_{part}2017.json', names)
    cfg.val_evaluator.ann_file = f'{root}/annotations/instances_val2017.json'
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.metainfo = dict(classes=tuple(classes))
    return cfg


def make_masks(root: Path, parts: dict[str, int]) -> Config:
    """Generate masks with as many classes as ADE20K."""
    blocks = np.random.default_rng(0).integers(0, 151, (12, 16), np.uint8)
    Image.new('RGB', (WIDTH, HEIGHT)).save(root / 'image.jpg')
    Image.fromarray(blocks.repeat(40, 0).repeat(40, 1)).save(root / 'mask.png')
    for part, folder in (('train', 'training'), ('val', 'validation')):
        link_images(root / 'image.jpg', root / 'images' / folder, parts[part])
        link_images(root / 'mask.png', root / 'annotations' / folder,
                    parts[part])
    return get_config('fpn_lowformer_b0_ade20k')


def write_config(cfg: Config, root: Path) -> Path:
    """Make a training stop after an iteration; leave out our hooks."""
    cfg.default_hooks = {
        name: hook for name, hook in cfg.default_hooks.items()
        if not hook.type.startswith('mmlowformer.')}
    cfg.merge_from_dict(dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1, val_begin=2,
                       val_interval=1),
        log_processor=dict(by_epoch=False), param_scheduler=None,
        model=dict(backbone=dict(init_cfg=None)),
        default_hooks=dict(
            checkpoint=dict(by_epoch=False), logger=dict(interval=1))))
    cfg.train_cfg.pop('max_epochs', None)
    for _, step in dicts_in(cfg.train_dataloader):
        if 'scale' in step:
            step['scale'] = (64, 64)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].update(
            batch_size=1, num_workers=0, persistent_workers=False)
        cfg[name].dataset.data_root = f'{root}/'
    cfg.dump(root / 'config.py')
    return root / 'config.py'


def start(command: list, root: Path, cache: Path) -> Start:
    """Run a process and return what it used."""
    environment = dict(os.environ, XDG_CACHE_HOME=str(cache))
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=root, env=environment,
            stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            output.seek(0)
            raise UserError('a start failed: ' + output.read().decode(
                errors='replace')[-2000:])
    return Start(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(root: Path, config: Path, repeats: int) -> list[list[Start]]:
    """Start each ``repeats`` times, in turns."""
    starts: list[list[Start]] = [[] for _ in LABELS]
    for repeat in range(repeats):
        cache = root / f'cache_{repeat}'
        for index, command in enumerate((
                ['-c', LIBRARIES, config], *2 * [[TOOL, config]])):
            folder = root / f'work_dir_{repeat}_{index}'
            starts[index].append(start(
                [*command, *(['--work-dir'] if index else []), folder], root,
                cache))
    return starts


def main() -> None:
    args = parse_args()
    with engine.one_line_errors('benchmark_start.py'), \
            tempfile.TemporaryDirectory() as folder:
        make, real = dict(boxes=(make_boxes, COCO),
                          masks=(make_masks, ADE20K))[args.task]
        count = real // 10 if args.images is None else args.images
        root = Path(folder)
        config = write_config(
            make(root, dict(train=count, val=count // 10)), root)
        print(f'{args.task}, {count} training images, {args.repeats} starts')
        starts = measure(root, config, args.repeats)
        alone = median([item.seconds for item in starts[0]])
        for label, items in zip(LABELS, starts):
            seconds = median([item.seconds for item in items])
            print(f'{label:<16}{seconds:8.1f} CPU seconds  '
                  f'{seconds / alone:5.2f} x  '
                  f'{max(item.mebibytes for item in items):6.0f} MiB')


if __name__ == '__main__':
    main()
