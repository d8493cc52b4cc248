"""Say what was built, before a run, and what came of it."""
import os
import shutil
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner
from torch import nn

from ..analysis.curves import read_logs
from ..checkpoint.work_dir import checkpoint_in
from ..config.model_kind import follows_many, is_tracker
from ..errors import UserError
from ..models import find_lowformers, unwrap_model
from ..models.exported_model import ExportedModel
from ..utils.console import say, show
from ..utils.device import device_name
from ..utils.terminal import format_duration
from ..utils.text import command, counted, line, short, wrapped
from .best_metrics import best_scores, format_metric
from .hooks.progress_bar import by_iteration


def describe_runner(runner: Runner, config: str, *,
                    testing: bool = False) -> None:
    """Print model, device and folders of a Runner."""
    scope = runner.cfg.get('default_scope')
    log = Path(Path(runner.log_dir).name, f'{runner.timestamp}.log')
    for label, text in (
            ('Config', short(config)),
            ('Model', _model(runner.model, training=not testing)),
            ('Device', f'{device_name()}, {precision(runner.cfg, testing)}, '
             f'scope {scope}'),
            ('Work dir', f'{short(runner.work_dir)}, all details in {log}')):
        say(line(label, text))


def describe_model(model: nn.Module, checkpoint: str) -> None:
    """Print model, weights and device of a prediction."""
    device = next((item.device for item in model.parameters()), None)
    name = (device_name() if device is None or device.type == 'cpu' else
            str(device))
    for label, text in (('Model', _model(model)),
                        ('Weights', short(checkpoint_in(checkpoint)
                                          or checkpoint)),
                        ('Device', name)):
        show(line(label, text))


def _model(model: nn.Module, *, training: bool = False) -> str:
    model = unwrap_model(model)
    if isinstance(model, ExportedModel):
        return f'{model.description.model}, by {model.session.name}'
    names = {backbone.variant_name
             for backbone in find_lowformers(model).values()}
    parameters = list(model.parameters())
    total = sum(item.numel() for item in parameters)
    trained = sum(item.numel() for item in parameters if item.requires_grad)
    frozen = (f', {trained / 1e6:.2f} M trained'
              if training and trained < total else '')
    kind = ' with '.join((type(model).__name__, *sorted(names)))
    return f'{kind}, {total / 1e6:.2f} M parameters{frozen}'


def precision(cfg: Config, testing: bool) -> str:
    """The numeric precision of a run."""
    if testing:
        mixed, dtype = (cfg.get('test_cfg') or {}).get('fp16'), None
    else:
        wrapper = cfg.get('optim_wrapper') or {}
        kind = str(wrapper.get('type'))
        mixed = kind.endswith(('AmpOptimWrapper', 'BFloat16OptimWrapper'))
        dtype = ('bfloat16' if kind.endswith('BFloat16OptimWrapper') else
                 wrapper.get('dtype'))
    return f'mixed precision ({dtype or "float16"})' if mixed else 'float32'


def print_summary(runner: Runner, seconds: float) -> None:
    """Print the results of a training, and the next commands."""
    say(f'\nFinished after {format_duration(seconds)}.')
    if runner.train_loop.stop_training:
        say(wrapped(_stopped(runner)))
    tested = None
    last = runner.message_hub.runtime_info.get('last_ckpt')
    if last and Path(last).is_file():
        tested = last
        say(line('Last', short(last)))
    for best in best_scores(runner):
        # It may be in the work dir that training resumed from.
        if not Path(best.file).is_file():
            continue
        say(line('Best', f'{best.metric} {format_metric(best.score)} in '
                 f'{best.when}: {short(best.file)}'))
        tested = best.file
    pictures = list(Path(runner.log_dir).rglob('vis_image/*'))
    if pictures:
        say(line('Pictures', f'{len(pictures)} in '
                 f'{short(pictures[0].parent)}'))
    if _has_curves(runner.work_dir):
        say('Curves:\n  ' + command(
            _python(), _tool('analyze_log.py'), short(runner.work_dir)))
    # Without a test pipeline, nothing can be tested or predicted.
    if tested and runner.cfg.get('test_dataloader'):
        # The config in the work dir contains the --cfg-options.
        config = Path(runner.work_dir, Path(runner.cfg.filename).name)
        say('Test, with pictures of the predictions:\n  ' + command(
            _python(), _tool('test.py'), short(config), short(tested),
            '--show-dir', short(Path(runner.work_dir, 'pictures'))))
        suggest_prediction(tested, runner.cfg)


def _stopped(runner: Runner) -> str:
    """Say which hook stopped a training early, and when."""
    by = ' or '.join(
        f'{type(hook).__name__} ({hook.monitor})' for hook in runner.hooks
        if isinstance(hook, EarlyStoppingHook)) or 'a hook'
    done = (f'{runner.iter} of {counted(runner.max_iters, "iteration")}'
            if by_iteration(runner) else
            f'{runner.epoch} of {counted(runner.max_epochs, "epoch")}')
    return f'It was stopped early by {by}, after {done}.'


def _has_curves(work_dir: str | Path) -> bool:
    try:
        return bool(read_logs([work_dir]))
    except UserError:
        return False


def suggest_prediction(checkpoint: str | Path,
                       cfg: Config | None = None) -> None:
    """Print the command that predicts with a checkpoint."""
    what, words = 'image', ['IMAGE']
    if cfg is not None and is_tracker(cfg):
        what, words = 'video', ['VIDEO', '--box', 'x,y,w,h']
    elif cfg is not None and follows_many(cfg):
        what, words = 'video', ['VIDEO', '--track']
    say(f'Predict, on your own {what}:\n  ' + command(
        _python(), _tool('predict.py'), short(checkpoint), *words))


def _python() -> str:
    """``python``, or the path of the running Python if that is another.

    After ``make demo`` the environment is not active in the shell.
    """
    first = shutil.which('python')
    here = os.path.abspath(sys.executable)
    return 'python' if first and os.path.abspath(first) == here else short(
        here)


def _tool(name: str) -> str:
    return short(Path(sys.argv[0]).resolve().with_name(name))
