"""What the tools share that run a checkpoint on a test set."""
import argparse
import os

from mmengine.config import Config
from mmengine.runner import Runner

from ..data.checks import check_datasets
from ..errors import UserError
from ..weights.fitting import LoadAnyLayout, check_fits
from ..weights.reading import check_checkpoint
from .console import QuietRunner
from .launch import adapt_to_device, load_config, require_scope


def prepare_test(args: argparse.Namespace, folder: str) -> Config:
    """The config to test with; all that can be wrong with it is found here.

    Args:
        args (argparse.Namespace): With ``checkpoint`` and what
            :func:`add_common_arguments` adds.
        folder (str): Where results go, inside the config's ``work_dir``,
            unless the user names one.

    Returns:
        Config: What a Runner can be built from.

    Raises:
        UserError: If config, checkpoint or data are missing or do not fit.
    """
    cfg = load_config(args)
    require_scope(cfg)
    if not args.work_dir:
        # Runner writes the config there; that of the training stays.
        cfg.work_dir = os.path.join(cfg.work_dir, folder)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{args.config} has no test_dataloader')
    check_checkpoint(args.checkpoint)
    check_datasets(cfg, ['test_dataloader'])
    adapt_to_device(cfg)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    return cfg


def build_tester(cfg: Config, checkpoint: str) -> Runner:
    """A Runner that is going to load a checkpoint of any layout.

    Args:
        cfg (Config): Of :func:`prepare_test`.
        checkpoint (str): The file.

    Returns:
        Runner: Nothing is loaded yet.

    Raises:
        UserError: If the checkpoint does not fit the model.
    """
    runner = QuietRunner.from_cfg(cfg)
    check_fits(runner.model, checkpoint)
    runner.register_hook(LoadAnyLayout(checkpoint))
    return runner
