"""Prepare, resume and submit tests of trackers."""
import argparse
import os
import shutil
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from ..config.loading import dicts_in, kind_of
from ..config.model_kind import follows_many, is_tracker
from ..datasets.checks.check_datasets import datasets_in
from ..errors import UserError, is_first_process
from ..tracking.evaluation.submission import (
    check_submission,
    write_submission,
)
from ..tracking.saved_tracks import check_kept, start_over
from ..utils.console import show
from ..utils.text import counted

# MOTChallengeMetric's folder of tracks, in which TrackEval writes, too.
METRIC_FOLDER = 'default-tracker'
METRIC_SUFFIXES = ('.txt', '.csv', '.png', '.pdf')


def prepare_tracker_test(cfg: Config, args: argparse.Namespace) -> None:
    """Check the options of a test, and point it at its folder of tracks."""
    for option in ('resume', 'submission'):
        if getattr(args, option) and not is_tracker(cfg):
            raise UserError(f'--{option} is for trackers of one object')
    if follows_many(cfg):
        _prepare_mot(cfg, args)
    if args.submission:
        with DATASETS.switch_scope_and_registry(cfg.default_scope) as \
                registry:
            dataset = cfg.test_dataloader.dataset
            check_submission(args.submission, registry.get(dataset.type),
                             dataset)
    if args.resume:
        _resume(cfg, args.checkpoint)


def _prepare_mot(cfg: Config, args: argparse.Namespace) -> None:
    if args.out and not args.out.endswith('.json'):
        raise UserError(f'--out {args.out} is for images; the tracks of many '
                        f'objects are written to {_tracks_of(cfg)}, and the '
                        'metrics to F.json')
    if args.score_thr is not None:
        raise UserError('--score-thr is for boxes of images; set the '
                        'thresholds in model.tracker instead')
    for _, evaluator in dicts_in(cfg.test_evaluator):
        if kind_of(evaluator) == 'MOTChallengeMetric':
            _remove_mot_tracks(
                evaluator.setdefault('outfile_prefix', _tracks_of(cfg)))


def _remove_mot_tracks(folder: str) -> None:
    """Remove the tracks of an earlier test, and nothing else.

    The metric itself would remove all, even new tracks of another process.
    """
    if not is_first_process():
        return
    tracks = Path(folder, METRIC_FOLDER)
    foreign = [path for path in Path(folder).rglob('*') if path != tracks
               and (path.parent != tracks
                    or path.suffix not in METRIC_SUFFIXES)]
    if foreign:
        raise UserError(f'{foreign[0]} is no track of a test, which replaces '
                        f'all in {folder}: name another --work-dir')
    shutil.rmtree(folder, ignore_errors=True)


def _tracks_of(cfg: Config) -> str:
    return os.path.join(cfg.work_dir, 'tracks')


def _resume(cfg: Config, checkpoint: str) -> None:
    done = check_kept(_tracks_of(cfg), checkpoint)
    show(f'Finished already: {counted(done, "video")}.')
    for dataset in datasets_in(cfg.test_dataloader):
        for transform in dataset['pipeline']:
            if kind_of(transform) == 'PackVideo':
                transform['kept'] = _tracks_of(cfg)


def save_tracks(runner: Runner, args: argparse.Namespace) -> None:
    """Let a test of a tracker of one object save its tracks."""
    if not is_tracker(runner.cfg):
        return
    folder = _tracks_of(runner.cfg)
    if not args.resume and is_main_process():
        start_over(folder)
    # Before another process writes there.
    barrier()
    runner.register_hook(dict(type='mmlowformer.SaveTracksHook',
                              out_dir=folder, checkpoint=args.checkpoint))


def submit_tracks(runner: Runner, file: str | None) -> None:
    """Write the archive of ``--submission``."""
    if file and is_main_process():
        write_submission(runner.test_dataloader.dataset,
                         _tracks_of(runner.cfg), file)
