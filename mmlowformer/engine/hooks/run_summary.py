"""Say what a run starts from, just before it does."""
import math

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from ...config.loading import config_folder
from ...errors import printable
from ...models import LowFormer, find_lowformers, unwrap_model
from ...models.exported_model import ExportedModel
from ...registry import HOOKS
from ...utils.checkpoint_schemes import TRAIN_THEM, published_weights
from ...utils.console import say, warn
from ...utils.text import counted, line, wrapped
from ..lr_scaling import base_batch_size, effective_batch_size
from . import SwitchableHook
from .progress_bar import by_iteration

SHOWN_CLASSES = 5
FINISHED = (
    'This training is finished, no iteration is left. To train longer: '
    '--cfg-options with a greater train_cfg.max_epochs or max_iters; note '
    'that the learning rate has reached its end.')


@HOOKS.register_module()
class RunSummaryHook(SwitchableHook):
    """Prints weights, data, batch size, learning rate and length of a run.

    Warns if the learning rate does not belong to the batch size, or if a
    LowFormer starts from scratch because no weights of it were published.

    Args:
        enabled (bool): Whether to print. Defaults to True.
    """

    # After all hooks that load, before ProgressBarHook.
    priority = 'LOW'

    def __init__(self, enabled: bool = True):
        super().__init__()
        self._weights = ''

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Count the tensors that fit."""
        needed = unwrap_model(runner.model).state_dict()
        given = checkpoint.get('state_dict', checkpoint)
        count = sum(name in given and given[name].shape == value.shape
                    for name, value in needed.items())
        source = runner.cfg.get('load_from') or runner.work_dir
        self._weights = (f'{count}/{len(needed)} tensors of the model from '
                         f'{source}')

    def before_train(self, runner: Runner) -> None:
        """Print the summary of a training."""
        if self._weights:
            say(line('Weights', self._weights))
        else:
            describe_random_weights(runner)
        say(line('Training', describe_data(runner.train_dataloader.dataset)))
        if runner.val_loop is not None:
            say(line('Validation',
                     describe_data(runner.val_dataloader.dataset)))
        text, warning = describe_batch(
            runner.cfg, get_world_size(), learning_rate(runner.optim_wrapper),
            len(runner.train_dataloader.dataset))
        say(line('Steps', ', '.join(filter(None, (
            text, describe_speed(runner))))))
        say(line('Length', _length(runner)))
        if warning:
            warn(warning)
        if runner.iter >= runner.max_iters:
            say(wrapped(FINISHED))

    def before_test(self, runner: Runner) -> None:
        """Print the summary of a test."""
        model = unwrap_model(runner.model)
        say(line('Weights', str(model.folder) if isinstance(
            model, ExportedModel) else self._weights))
        say(line('Data', describe_data(runner.test_dataloader.dataset)))


def describe_data(dataset: BaseDataset) -> str:
    """Images, boxes and classes of a data set."""
    if hasattr(dataset, 'describe'):  # Of videos.
        return dataset.describe()
    frames = getattr(dataset, 'num_all_imgs', None)  # MMDetection's.
    counts = [counted(len(dataset), 'image') if frames is None else
              f'{counted(len(dataset), "video")} of '
              f'{counted(frames, "frame")}']
    boxes = _count_boxes(dataset)
    if boxes is not None:
        counts.append(counted(boxes, 'box', 'boxes'))
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes:
        names = ', '.join(map(printable, classes[:SHOWN_CLASSES]))
        more = ', ...' if len(classes) > SHOWN_CLASSES else ''
        counts.append(f'{counted(len(classes), "class", "classes")} '
                      f'({names}{more})')
    return ', '.join(counts)


def _count_boxes(dataset: BaseDataset) -> int | None:
    read = getattr(dataset, 'get_data_info', None)
    if read is None or not len(dataset) or 'instances' not in read(0):
        return None
    return sum(not box.get('ignore_flag') for index in range(len(dataset))
               for box in read(index)['instances'])


def describe_batch(cfg: Config, world_size: int, lr: float | None,
                   images: int) -> tuple[str, str]:
    """Batch size and learning rate, and a warning if they do not fit."""
    batch = effective_batch_size(cfg, world_size, images)
    base = base_batch_size(cfg)
    recipe_lr = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    if lr is None or recipe_lr is None:
        return f'batch size {batch}', ''
    per_process = cfg.train_dataloader.batch_size
    limit = ('' if images >= world_size * per_process else
             f', as there are only {images}')
    text = (f'batch size {batch} = '
            f'{counted(world_size, "process", "processes")} x '
            f'{counted(per_process, "image")} x '
            f'{cfg.optim_wrapper.get("accumulative_counts", 1)} accumulation'
            f'{limit} '
            f'(base batch size {base or "not in the config"}), learning '
            f'rate {lr:.4g}')
    if not math.isclose(lr, recipe_lr, rel_tol=1e-6):
        return f'{text}, in the config {recipe_lr:.4g}', ''
    if base and batch != base:
        return text, (
            f'The learning rate {lr:.4g} was chosen for a batch size of '
            f'{base}, not {batch}. Add --auto-scale-lr to make it '
            f'{lr * batch / base:.4g}.')
    return text, ''


def learning_rate(optim_wrapper: OptimWrapper) -> float | None:
    """The highest rate of a parameter group, before any warm-up."""
    groups = getattr(optim_wrapper, 'param_groups', None)
    if not isinstance(groups, list):
        return None
    return max(group.get('initial_lr', group['lr']) for group in groups)


def describe_speed(runner: Runner) -> str:
    """What makes a training faster than a plain one."""
    words = [hook.describe_speed() for hook in runner.hooks
             if hasattr(hook, 'describe_speed')]
    groups = getattr(runner.optim_wrapper, 'param_groups', None)
    if isinstance(groups, list):
        kind = type(runner.optim_wrapper.optimizer).__name__
        words += [f'{name} {kind}' for name in ('fused', 'foreach')
                  if groups[0].get(name)]
    return ', '.join(filter(None, words))


def _length(runner: Runner) -> str:
    if by_iteration(runner):
        return (f'{runner.iter} of {counted(runner.max_iters, "iteration")} '
                'done')
    each = counted(len(runner.train_dataloader), 'iteration')
    return (f'{runner.epoch} of {counted(runner.max_epochs, "epoch")} done, '
            f'of {each} each')


def describe_random_weights(runner: Runner) -> None:
    """Say which LowFormers start from scratch, and what they could take."""
    model = unwrap_model(runner.model)
    if getattr(model, 'init_cfg', None):
        return
    on_imagenet = type(runner.train_dataloader.dataset).__name__ == 'ImageNet'
    for backbone in find_lowformers(model).values():
        if backbone.init_cfg:
            continue
        text = (f'{backbone.variant_name} starts from scratch: '
                f'0/{len(backbone.state_dict())} of its tensors are '
                'pretrained.')
        arch = backbone.variant_name.removeprefix('LowFormer').lstrip('-')
        if on_imagenet or not arch:
            say(line('Weights', text))
        elif published_weights(arch):
            say(line('Weights', text + _advice(runner, backbone, arch)))
        else:
            warn(f'{text} No weights of {arch} were published.'
                 + _how_to_train(arch))


def _advice(runner: Runner, backbone: LowFormer, arch: str) -> str:
    """How to start from published weights, if these fit."""
    with torch.device('meta'):
        published = LowFormer(arch).state_dict()
    try:
        backbone.own_tensors(published)
    except ValueError:
        return ''
    text = ' Add --weights published to start from ImageNet weights'
    return text + ('.' if runner.cfg.get('lr_with_weights') else
                   ', with a lower learning rate.')


def _how_to_train(arch: str) -> str:
    config = config_folder() / f'lowformer_{arch}_in1k.py'
    return f' {TRAIN_THEM.format(arch)}.' if config.exists() else ''
