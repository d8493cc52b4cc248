"""Test a checkpoint on the test set of its config."""
import argparse
import os
from pathlib import Path

import mmengine
from mmengine.config import Config
from mmengine.dist import is_main_process

from mmlowformer import engine
from mmlowformer.configs import kind_of
from mmlowformer.engine import UserError
from mmlowformer.runtime.description import is_exported

PREDICTIONS = ('.pkl', '.pickle')
METRICS = ('.json', )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    engine.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='the checkpoint to test, or '
                        'the folder of an exported model')
    parser.add_argument('--out', metavar='F',
                        help='write the predictions to F.pkl, or the metrics '
                        'to F.json')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation: several scales, and '
                        'flipped')
    engine.add_deploy_arguments(parser)
    parser.add_argument('--show-dir', metavar='DIR',
                        help='write images with the predictions drawn in')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='with --show-dir: the least score of a box that '
                        "is drawn (default: the config's, or 0.3)")
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
    engine.check_outputs(args.out, args.show_dir)
    cfg = engine.prepare_test(args, 'test')
    if settings:
        cfg.custom_hooks = [
            *(hook for hook in cfg.get('custom_hooks') or []
              if kind_of(hook) != 'DeployHook'),
            dict(type='mmlowformer.DeployHook', **settings)]
    if args.tta:
        engine.use_tta(cfg)
    if args.out and args.out.endswith(PREDICTIONS):
        dump = dict(type='mmengine.DumpResults', out_file_path=args.out)
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, list):
            evaluators = [evaluators]
        cfg.test_evaluator = [*evaluators, dump]
    return cfg


def test(cfg: Config, args: argparse.Namespace) -> dict:
    runner = engine.build_tester(cfg, args)
    engine.describe_runner(runner, args.config, testing=True)
    if args.show_dir:
        engine.draw_predictions(runner, args.show_dir, args.score_thr)
    weights = args.checkpoint if is_exported(args.checkpoint) else ''
    for hook in (engine.Describe(weights=weights), engine.WarnOfOddSettings(),
                 engine.ShowProgress()):
        runner.register_hook(hook)
    return runner.test()


def report(metrics: dict, args: argparse.Namespace) -> None:
    if not metrics:
        print('No metrics: nothing was predicted.')
    for name, value in metrics.items():
        print(f'{name:<24}{engine.shown(value)}')
    if args.out and args.out.endswith(METRICS):
        mmengine.dump(metrics, args.out, indent=2)
    if args.out:
        print(f'Written: {args.out}')
    if args.show_dir:
        count = sum(file.is_file() for file in Path(args.show_dir).rglob('*'))
        print(f'Pictures: {count} in {args.show_dir}')
        engine.suggest_prediction(args.checkpoint)


def main() -> None:
    args = parse_args()
    engine.load_safely(os.environ)
    with (engine.one_line_errors('test.py'),
          engine.quiet_screen(tables=True),
          engine.exit_on_interrupt(lambda: 'Interrupted: no metrics.')):
        cfg = prepare(args)
        with engine.config_mistakes(cfg):
            metrics = test(cfg, args)
        if is_main_process():
            report(metrics, args)


if __name__ == '__main__':
    main()
