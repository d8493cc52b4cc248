"""Train a detector, segmentor or classifier from a config."""
import argparse
import os
import time

import _ctrl_c  # noqa: F401
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from mmlowformer import engine
from mmlowformer.engine import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    engine.add_common_arguments(parser)
    parser.add_argument('--weights', metavar='W',
                        help='what the LowFormer starts from: published '
                        '(ImageNet weights of its variant), none (from '
                        'scratch), a file, a URL or hf-hub:REPOSITORY '
                        '(default: as the config says)')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='PATH',
                        help='resume from a checkpoint; without PATH, from '
                        'the latest one in the work dir')
    engine.add_speed_arguments(parser)
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate from the base batch '
                        'size to the actual one')
    parser.add_argument('--seed', type=int, metavar='N', help='random seed')
    return parser.parse_args()


def set_resume(cfg: Config, resume: str | None) -> None:
    """Resume from a checkpoint, or make sure that none is overwritten."""
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume is None:
        saved = engine.saved_checkpoints(cfg.work_dir)
        if saved:
            raise UserError(
                f'{cfg.work_dir} holds checkpoints of an earlier training '
                f'({saved[0].name}). Add --resume to continue it, name '
                'another folder with --work-dir, or delete it.')
        return
    cfg.resume = True
    if resume == 'auto':
        latest = engine.latest_checkpoint(cfg.work_dir)
        if latest is None:
            print_log(f'No checkpoint in {cfg.work_dir}: training starts '
                      'from the beginning.', 'current')
            cfg.resume = False
            return
        resume = str(latest)
    engine.check_resumable(resume)
    cfg.load_from = resume


def prepare(args: argparse.Namespace) -> Config:
    """Check all that can be wrong before work starts."""
    if args.seed is not None:
        args.cfg_options['randomness.seed'] = args.seed
    cfg = engine.load_config(args)
    engine.check_settings(cfg)
    engine.require_scope(cfg)
    engine.require_packages(cfg)
    if not cfg.get('train_dataloader'):
        raise UserError(f'{args.config} has no train_dataloader')
    engine.check_training(cfg)
    engine.check_work_dir(cfg)
    engine.check_free(cfg.work_dir)
    engine.check_places(cfg.work_dir)
    engine.apply_speed_options(cfg, args)
    if args.allow_nan:
        cfg.default_hooks.pop('check_nan', None)
    if args.weights:
        engine.set_weights(cfg, args.weights)
    set_resume(cfg, args.resume)
    if engine.names_weights(cfg):
        engine.fetch_weights(cfg)
        if not cfg.get('resume'):
            engine.check_pretrained(cfg.model)
    engine.check_datasets(cfg, ['train_dataloader', 'val_dataloader'])
    engine.adapt_to_device(cfg)
    return cfg


def takes_over_lr_scaling(cfg: Config, flag: bool) -> bool:
    """Whether to scale the learning rate here instead of in MMEngine."""
    wanted = flag or (cfg.get('auto_scale_lr') or {}).get('enable', False)
    if cfg.get('auto_scale_lr'):
        cfg.auto_scale_lr.enable = False
    return wanted


def train(cfg: Config, args: argparse.Namespace) -> None:
    auto_scale_lr = takes_over_lr_scaling(cfg, args.auto_scale_lr)
    # A copy, so that the config in the work dir keeps the recipe's rate and
    # scales once more if it is trained from.
    scaled = Config(cfg.to_dict())
    runner = engine.QuietRunner.from_cfg(cfg)
    engine.describe_runner(runner, args.config)
    if auto_scale_lr:
        engine.scale_learning_rate(scaled, get_world_size(),
                                   len(runner.train_dataloader.dataset))
        runner.optim_wrapper = scaled.optim_wrapper
    if cfg.get('load_from'):
        engine.check_fits(runner.model, cfg.load_from,
                          partial=not cfg.get('resume'),
                          allow_nan=args.allow_nan)
    started = time.monotonic()
    runner.train()
    engine.print_summary(runner, time.monotonic() - started)


def interrupted(work_dir: str) -> str:
    """Describe whether a checkpoint can be resumed."""
    latest = engine.latest_checkpoint(work_dir)
    if latest is None:
        return ('Interrupted before the first checkpoint: there is nothing '
                'to resume, the same command starts again.')
    return (f'Interrupted. The same command with --resume continues from '
            f'{latest}.')


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.destroy_process_group(), engine.one_line_errors('train.py'),
          engine.quiet_screen(), engine.parse_once()):
        cfg = prepare(args)
        with (engine.exit_on_interrupt(lambda: interrupted(cfg.work_dir)),
              engine.work_dir_lock(cfg.work_dir),
              engine.explain_build_errors(cfg),
              engine.full_disk_errors(cfg.work_dir)):
            train(cfg, args)


if __name__ == '__main__':
    main()
