"""Test a checkpoint on the test set of its config."""
import argparse
import os
import shutil
from pathlib import Path

import _ctrl_c  # noqa: F401
import mmengine
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mmlowformer import engine
from mmlowformer.config.loading import dicts_in, kind_of
from mmlowformer.config.model_kind import follows_many
from mmlowformer.datasets.checks.check_datasets import datasets_in
from mmlowformer.engine import UserError
from mmlowformer.errors import is_first_process
from mmlowformer.runtime.model_spec import is_exported
from mmlowformer.tracking.evaluation.submission import (
    check_submission,
    write_submission,
)
from mmlowformer.tracking.saved_tracks import check_kept, start_over
from mmlowformer.utils.files import check_new, check_new_folder

PREDICTIONS = ('.pkl', '.pickle')
METRICS = ('.json', )
# MOTChallengeMetric's folder.
OF_METRIC = 'default-tracker'
# Tracks, and what TrackEval writes beside them.
FILES_OF_METRIC = ('.txt', '.csv', '.png', '.pdf')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    engine.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='the checkpoint to test, or '
                        'the folder of an exported model')
    parser.add_argument('--trust-config', action='store_true',
                        help='open an exported model of the format pt2, '
                        'which may run code: you trust who made it')
    parser.add_argument('--out', metavar='F',
                        help='write the predictions to F.pkl, or the metrics '
                        'to F.json, which may not be there')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation: several scales, and '
                        'flipped')
    engine.add_deploy_arguments(parser)
    parser.add_argument('--show-dir', metavar='DIR',
                        help='write images, or videos, with the predictions '
                        'drawn in, to a folder that is empty or not there')
    parser.add_argument('--resume', action='store_true',
                        help='of a tracker: go on with a test that was '
                        'interrupted, with the videos that are not finished')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='with --show-dir: the least score of a box that '
                        "is drawn (default: the config's, or 0.3)")
    parser.add_argument('--submission', metavar='ZIP',
                        help='of a tracker: write an archive for the server '
                        'of GOT-10k or TrackingNet')
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> Config:
    """Everything that can be wrong is found here, before work starts."""
    if args.out and not args.out.endswith(PREDICTIONS + METRICS):
        raise UserError(f'--out {args.out} has to end in '
                        f'{" or ".join(PREDICTIONS + METRICS)}')
    if args.score_thr is not None and not args.show_dir:
        raise UserError('--score-thr is for the pictures of --show-dir; '
                        'metrics count all boxes')
    settings = engine.deploy_settings(args)
    exported = is_exported(args.checkpoint)
    for option in ('tta', 'deploy') if exported else ():
        if getattr(args, option):
            raise UserError(f'--{option} is for checkpoints, not for exported '
                            'models')
    check_places(args)
    cfg = engine.prepare_test(args, 'test')
    if settings:
        cfg.custom_hooks = [
            *(hook for hook in cfg.get('custom_hooks') or []
              if kind_of(hook) != 'DeployHook'),
            dict(type='mmlowformer.DeployHook', **settings)]
    prepare_tracking(cfg, args)
    if args.tta:
        engine.use_tta(cfg)
    if args.out and args.out.endswith(PREDICTIONS):
        dump = dict(type='mmengine.DumpResults', out_file_path=args.out)
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, list):
            evaluators = [evaluators]
        cfg.test_evaluator = [*evaluators, dump]
    return cfg


def check_places(args: argparse.Namespace) -> None:
    engine.check_outputs(args.out, args.show_dir)
    if args.submission:
        check_new(args.submission)
    if args.show_dir and not args.resume:
        check_new_folder(args.show_dir)


def prepare_tracking(cfg: Config, args: argparse.Namespace) -> None:
    for option in ('resume', 'submission'):
        if getattr(args, option) and not engine.is_tracker(cfg):
            raise UserError(f'--{option} is for trackers of one object')
    if follows_many(cfg):
        prepare_identities(cfg, args)
    if args.submission:
        with DATASETS.switch_scope_and_registry(cfg.default_scope) as \
                registry:
            check_submission(args.submission, registry.get(
                cfg.test_dataloader.dataset.type))
    if args.resume:
        resume(cfg, args.checkpoint)


def prepare_identities(cfg: Config, args: argparse.Namespace) -> None:
    if args.out and args.out.endswith(PREDICTIONS):
        raise UserError(f'--out {args.out} is for images; of many objects '
                        f'the tracks are written to {tracks_of(cfg)}, and '
                        'the metrics to F.json')
    if args.score_thr is not None:
        raise UserError('--score-thr is for boxes of images; what is followed '
                        'is said by the thresholds in model.tracker')
    for _, evaluator in dicts_in(cfg.test_evaluator):
        if kind_of(evaluator) == 'MOTChallengeMetric':
            remove_tracks(
                evaluator.setdefault('outfile_prefix', tracks_of(cfg)))


def remove_tracks(folder: str) -> None:
    """Those of an earlier test, and nothing else.

    The metric would remove all, when another process has begun to write there.
    """
    if not is_first_process():
        return
    tracks = Path(folder, OF_METRIC)
    foreign = [path for path in Path(folder).rglob('*') if path != tracks
               and (path.parent != tracks
                    or path.suffix not in FILES_OF_METRIC)]
    if foreign:
        raise UserError(f'{foreign[0]} is no track of a test, which replaces '
                        f'all in {folder}: name another --work-dir')
    shutil.rmtree(folder, ignore_errors=True)


def tracks_of(cfg: Config) -> str:
    return os.path.join(cfg.work_dir, 'tracks')


def resume(cfg: Config, checkpoint: str) -> None:
    done = check_kept(tracks_of(cfg), checkpoint)
    engine.show(f'{done} videos are finished already.')
    for dataset in datasets_in(cfg.test_dataloader):
        for transform in dataset['pipeline']:
            if kind_of(transform) == 'PackVideo':
                transform['kept'] = tracks_of(cfg)


def keep_tracks(runner: Runner, args: argparse.Namespace) -> None:
    folder = tracks_of(runner.cfg)
    if not args.resume and is_main_process():
        start_over(folder)
    # Before another process writes there.
    barrier()
    runner.register_hook(dict(type='mmlowformer.SaveTracksHook',
                              out_dir=folder, checkpoint=args.checkpoint))


def interrupted(cfg: Config) -> str:
    if not engine.is_tracker(cfg):
        return 'Interrupted: no metrics.'
    return ('Interrupted. The same command with --resume goes on with the '
            'videos that are not finished.')


def test(cfg: Config, args: argparse.Namespace) -> dict:
    runner = engine.build_test_runner(cfg, args)
    engine.describe_runner(runner, args.config, testing=True)
    engine.tell_of_compiling(args)
    if args.show_dir:
        engine.add_visualization_hook(runner, args.show_dir, args.score_thr)
    if engine.is_tracker(cfg):
        keep_tracks(runner, args)
    metrics = runner.test()
    if args.submission and is_main_process():
        write_submission(runner.test_dataloader.dataset,
                         tracks_of(runner.cfg), args.submission)
    return metrics


def report(metrics: dict, cfg: Config, args: argparse.Namespace) -> None:
    if not metrics:
        print('No metrics: nothing was predicted.')
    width = max(22, *map(len, metrics), 0) + 2
    for name, value in metrics.items():
        print(f'{name:<{width}}{engine.format_metric(value)}')
    if args.out and args.out.endswith(METRICS):
        mmengine.dump(metrics, args.out, indent=2)
    if args.out:
        print(f'Written: {args.out}')
    if args.submission:
        print(f'To be submitted: {args.submission}')
    if args.show_dir:
        count = sum(file.is_file() for file in Path(args.show_dir).rglob('*'))
        print(f'Pictures: {count} in {args.show_dir}')
        engine.suggest_prediction(args.checkpoint, cfg)


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.destroy_process_group(),
          engine.one_line_errors('test.py'),
          engine.quiet_screen(tables=True),
          engine.exit_on_interrupt(lambda: 'Interrupted: no metrics.')):
        cfg = prepare(args)
        with (engine.exit_on_interrupt(lambda: interrupted(cfg)),
              engine.explain_build_errors(cfg)):
            metrics = test(cfg, args)
        if is_main_process():
            report(metrics, cfg, args)


if __name__ == '__main__':
    main()
