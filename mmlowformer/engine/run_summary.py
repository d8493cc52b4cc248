"""What a run is going to do, before work begins, and what came of it."""
import os
import shutil
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.runner import Runner
from torch import nn

from ..analysis.curves import read_logs
from ..config.model_kind import follows_many, is_tracker
from ..errors import UserError, printable
from ..models import bare, find_lowformers
from ..models.exported_model import ExportedModel
from ..utils.console import say, show
from ..utils.device import device_name
from ..utils.progress_bar import hours
from ..utils.text import command, line, short, wrapped
from .best_metrics import best_scores, shown
from .hooks.progress import by_iteration

SHOWN_CLASSES = 5


def describe_runner(runner: Runner, config: str, *,
                    testing: bool = False) -> None:
    """Say what was built: model, device and folders."""
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
    """Say what predicts, and where."""
    device = next((item.device for item in model.parameters()), None)
    name = (device_name() if device is None or device.type == 'cpu' else
            str(device))
    for label, text in (('Model', _model(model)),
                        ('Weights', short(checkpoint)), ('Device', name)):
        show(line(label, text))


def _model(model: nn.Module, *, training: bool = False) -> str:
    model = bare(model)
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
    """What a run computes in."""
    if testing:
        mixed, dtype = (cfg.get('test_cfg') or {}).get('fp16'), None
    else:
        wrapper = cfg.get('optim_wrapper') or {}
        mixed = str(wrapper.get('type')).endswith('AmpOptimWrapper')
        dtype = wrapper.get('dtype')
    return f'mixed precision ({dtype or "float16"})' if mixed else 'float32'


def describe_data(dataset: BaseDataset) -> str:
    """Images, boxes and classes of a data set."""
    if hasattr(dataset, 'describe'):  # Of videos.
        return dataset.describe()
    frames = getattr(dataset, 'num_all_imgs', None)  # MMDetection's.
    counts = [f'{len(dataset)} images' if frames is None else
              f'{len(dataset)} videos of {frames} frames']
    boxes = _count_boxes(dataset)
    if boxes is not None:
        counts.append(f'{boxes} boxes')
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes:
        names = ', '.join(map(printable, classes[:SHOWN_CLASSES]))
        more = ', ...' if len(classes) > SHOWN_CLASSES else ''
        counts.append(f'{len(classes)} classes ({names}{more})')
    return ', '.join(counts)


def _count_boxes(dataset: BaseDataset) -> int | None:
    read = getattr(dataset, 'get_data_info', None)
    if read is None or not len(dataset) or 'instances' not in read(0):
        return None
    return sum(not box.get('ignore_flag') for index in range(len(dataset))
               for box in read(index)['instances'])


class Describe(Hook):
    """Says what a run starts from, just before it does."""

    # After all that loads, before ShowProgress.
    priority = 'LOW'

    def __init__(self, batch: str = '', weights: str = ''):
        self.batch = batch
        self.weights = weights

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Count the tensors that fit."""
        needed = bare(runner.model).state_dict()
        given = checkpoint.get('state_dict', checkpoint)
        count = sum(name in given and given[name].shape == value.shape
                    for name, value in needed.items())
        self.weights = (f'{count}/{len(needed)} tensors of the model from '
                        f'{runner.cfg.load_from}')

    def before_train(self, runner: Runner) -> None:
        """Say it for a training."""
        if self.weights:
            say(line('Weights', self.weights))
        say(line('Training', describe_data(runner.train_dataloader.dataset)))
        if runner.val_loop is not None:
            say(line('Validation',
                     describe_data(runner.val_dataloader.dataset)))
        say(line('Steps', self.batch))
        say(line('Length', _length(runner)))
        if is_finished(runner):
            say(wrapped(_FINISHED))

    def before_test(self, runner: Runner) -> None:
        """Say it for a test."""
        say(line('Weights', self.weights))
        say(line('Data', describe_data(runner.test_dataloader.dataset)))


_FINISHED = (
    'This training is finished, no iteration is left. To go on nevertheless: '
    '--cfg-options with a greater train_cfg.max_epochs or max_iters; mind '
    'that the learning rate is at its end.')


def _length(runner: Runner) -> str:
    if by_iteration(runner):
        return f'{runner.iter} of {runner.max_iters} iterations done'
    return (f'{runner.epoch} of {runner.max_epochs} epochs done, of '
            f'{len(runner.train_dataloader)} iterations each')


def is_finished(runner: Runner) -> bool:
    """Whether nothing is left to train."""
    return runner.iter >= runner.max_iters


def conclude(runner: Runner, seconds: float) -> None:
    """Say what came of a training, and what to do with it."""
    say(f'\nFinished after {hours(seconds)}.')
    if runner.train_loop.stop_training:
        say(wrapped(_stopped(runner)))
    tested = None
    last = runner.message_hub.runtime_info.get('last_ckpt')
    if last and Path(last).is_file():
        tested = last
        say(line('Last', short(last)))
    for best in best_scores(runner):
        # It may be of the work dir that the training was resumed from.
        if not Path(best.file).is_file():
            continue
        say(line('Best', f'{best.metric} {shown(best.score)} in {best.when}: '
                 f'{short(best.file)}'))
        tested = best.file
    pictures = list(Path(runner.log_dir).rglob('vis_image/*'))
    if pictures:
        say(line('Pictures', f'{len(pictures)} in '
                 f'{short(pictures[0].parent)}'))
    if _has_curves(runner.work_dir):
        say('Curves:\n  ' + command(
            _python(), _tool('analyze_log.py'), short(runner.work_dir)))
    # Neither a test nor a prediction knows what to do with images else.
    if tested and runner.cfg.get('test_dataloader'):
        # The config in the work dir has the command line's options in it.
        config = Path(runner.work_dir, Path(runner.cfg.filename).name)
        say('Test, with pictures of the predictions:\n  ' + command(
            _python(), _tool('test.py'), short(config), short(tested),
            '--show-dir', short(Path(runner.work_dir, 'pictures'))))
        suggest_prediction(tested, runner.cfg)


def _stopped(runner: Runner) -> str:
    """That a training ended early, and by which hook."""
    by = ' or '.join(
        f'{type(hook).__name__} ({hook.monitor})' for hook in runner.hooks
        if isinstance(hook, EarlyStoppingHook)) or 'a hook'
    done = (f'{runner.iter} of {runner.max_iters} iterations'
            if by_iteration(runner) else
            f'{runner.epoch} of {runner.max_epochs} epochs')
    return f'It was stopped early by {by}, after {done}.'


def _has_curves(work_dir: str | Path) -> bool:
    try:
        return bool(read_logs([work_dir]))
    except UserError:
        return False


def suggest_prediction(checkpoint: str | Path,
                       cfg: Config | None = None) -> None:
    """Say how to use a model on images of one's own."""
    what, words = 'photo', ['PHOTO']
    if cfg is not None and is_tracker(cfg):
        what, words = 'video', ['VIDEO', '--box', 'x,y,w,h']
    elif cfg is not None and follows_many(cfg):
        what, words = 'video', ['VIDEO', '--track']
    say(f'Predict, on a {what} of yours:\n  ' + command(
        _python(), _tool('predict.py'), short(checkpoint), *words))


def _python() -> str:
    """What starts the Python that runs: its path, where it is not the first.

    ``make demo`` ends in a shell in which the environment is not active.
    """
    first = shutil.which('python')
    here = os.path.abspath(sys.executable)
    return 'python' if first and os.path.abspath(first) == here else short(
        here)


def _tool(name: str) -> str:
    return short(Path(sys.argv[0]).resolve().with_name(name))
