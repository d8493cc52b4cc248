"""Test a checkpoint on the test set of its config."""
import argparse
import os
from pathlib import Path

import _ctrl_c  # noqa: F401
import mmengine
from mmengine.config import Config
from mmengine.dist import is_main_process

from mmlowformer import engine
from mmlowformer.engine import UserError

PREDICTIONS = ('.pkl', '.pickle')
METRICS = ('.json', )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    engine.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='the checkpoint to test, the '
                        'work dir of a training (its best checkpoint), or the '
                        'folder of an exported model')
    parser.add_argument('--data', metavar='D',
                        help='test on other data: a COCO annotation file, a '
                        'folder of masks, or a folder with a folder per class')
    parser.add_argument('--images', metavar='DIR',
                        help='with --data: folder of the images (default: '
                        'images, beside the annotation file or the masks)')
    parser.add_argument('--trust-config', action='store_true',
                        help='open an exported model in the pt2 format, '
                        'which may run code: only if you trust its author')
    parser.add_argument('--out', metavar='F',
                        help='write the predictions to a new file F.pkl, or '
                        'the metrics to F.json')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation: several scales, and '
                        'flipped images')
    engine.add_deploy_arguments(parser)
    parser.add_argument('--show-dir', metavar='DIR',
                        help='draw the predictions into images or videos in '
                        'a new or empty folder')
    parser.add_argument('--report', metavar='DIR',
                        help='write a report to a new or empty folder: kinds '
                        'of errors, confused classes, the worst images; for '
                        'detectors, the best score threshold')
    parser.add_argument('--resume', action='store_true',
                        help='trackers of one object: resume an interrupted '
                        'test with its unfinished videos')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='with --show-dir: minimum score of a drawn box '
                        "(default: the config's, or 0.3); with --report: of "
                        'a box that counts (default: the best)')
    parser.add_argument('--submission', metavar='ZIP',
                        help='trackers of one object: write an archive for '
                        'the server of GOT-10k or TrackingNet')
    args = parser.parse_args()
    if args.images and not args.data:
        parser.error('--images belongs to --data: name the annotations')
    return args


def prepare(args: argparse.Namespace) -> Config:
    """Check all that can be wrong before work starts."""
    if args.out and not args.out.endswith(PREDICTIONS + METRICS):
        raise UserError(f'--out {args.out} has to end in '
                        f'{" or ".join(PREDICTIONS + METRICS)}')
    if args.score_thr is not None and not (args.show_dir or args.report):
        raise UserError('--score-thr is for --show-dir and --report; metrics '
                        'count all boxes')
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        raise UserError('--score-thr has to be from 0 to 1, not '
                        f'{args.score_thr}')
    settings = engine.deploy_settings(args)
    engine.check_outputs(args.out, args.show_dir, args.submission,
                         args.report, resume=args.resume)
    cfg = engine.prepare_test(args, 'test')
    if settings:
        engine.use_deploy_hook(cfg, settings)
    engine.prepare_tracker_test(cfg, args)
    if args.tta:
        engine.use_tta(cfg)
    if args.out and args.out.endswith(PREDICTIONS):
        dump = dict(type='mmengine.DumpResults', out_file_path=args.out)
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, list):
            evaluators = [evaluators]
        cfg.test_evaluator = [*evaluators, dump]
    return cfg


def interrupted(cfg: Config) -> str:
    if not engine.is_tracker(cfg):
        return 'Interrupted: no metrics.'
    return ('Interrupted. Run the same command with --resume to test the '
            'unfinished videos.')


def test(cfg: Config, args: argparse.Namespace) -> dict:
    runner = engine.build_test_runner(cfg, args)
    engine.describe_runner(runner, args.config, testing=True)
    engine.print_compile_note(args)
    if args.show_dir:
        engine.add_visualization_hook(runner, args.show_dir, args.score_thr)
    if args.report:
        engine.add_report_hook(runner, args.report, args.score_thr)
    engine.save_tracks(runner, args)
    metrics = runner.test()
    engine.submit_tracks(runner, args.submission)
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
        print(f'Submission: {args.submission}')
    if args.report:
        print(f'Report: {args.report}')
    if args.show_dir:
        count = sum(file.is_file() for file in Path(args.show_dir).rglob('*'))
        print(f'Pictures: {count} in {args.show_dir}')
        engine.suggest_prediction(args.checkpoint, cfg)


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.destroy_process_group(),
          engine.one_line_errors('test.py'),
          engine.quiet_screen(tables=True), engine.parse_once(),
          engine.exit_on_interrupt(lambda: 'Interrupted: no metrics.')):
        cfg = prepare(args)
        with (engine.exit_on_interrupt(lambda: interrupted(cfg)),
              engine.explain_build_errors(cfg)):
            metrics = test(cfg, args)
        if is_main_process():
            report(metrics, cfg, args)


if __name__ == '__main__':
    main()
