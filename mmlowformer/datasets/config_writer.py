"""Plain configs for custom data, written beside the data."""
import difflib
import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from pprint import pformat
from string import Template
from typing import Any, NamedTuple

from mmengine.config import Config

from ..config.loading import get_config_path
from ..errors import UserError
from ..utils.checkpoint_schemes import published_weights
from ..utils.files import replace_text
from .checks.coco import read_boxes
from .config_templates import CLASSIFICATION, DETECTION, SEGMENTATION
from .custom_config import (
    classification_data,
    detection_data,
    segmentation_data,
)
from .formats import AnnotatedImage, ImageFolder
from .formats.coco import annotations_by_image, as_annotation
from .inspection.anchor_fit import against_anchors, smallest_fitting
from .inspection.settings import (
    TrainingSettings,
    advised_size,
    choose_image_size,
    choose_settings,
    describe_resizing,
    sampled_sizes,
    small_boxes_note,
    usual_side,
)

# MMEngine replaces it by the folder of the config.
HERE = "'{{ fileDirname }}'"


class Task(NamedTuple):
    """The template of a task and its values."""

    template: str
    base: str  # base config
    name: str  # written config
    lr: float  # per image, from scratch
    tuned_lr: float  # per image, with weights
    layouts: tuple[dict[str, str], ...]  # where the data may be
    look: Callable[[dict], tuple[int, tuple[str, ...]]]


class Settings(NamedTuple):
    """Options of ``tools/data.py config``; None is chosen by the data."""

    arch: str
    image_size: tuple[int, int] | None = None
    epochs: int | None = None
    batch_size: int | None = None
    weights: str | None = None  # None: the published ones, if any
    gpus: int = 1
    images: str | None = None  # folder of the images, of boxes


TASKS = dict(
    boxes=Task(
        DETECTION, 'retinanet_lowformer_{}_coco',
        'retinanet_lowformer_{}_custom.py', 1e-3 / 16, 1e-4 / 16, tuple(
            dict(train_ann_file='train.json', val_ann_file='val.json',
                 train_images=train, val_images=val)
            for train, val in (('images', 'images'), ('train', 'val'))),
        detection_data),
    masks=Task(
        SEGMENTATION, 'fpn_lowformer_{}_ade20k', 'fpn_lowformer_{}_custom.py',
        1e-3 / 16, 2e-4 / 32, (
            dict(train_images='images', train_masks='masks',
                 train_list='train.txt', val_images='images',
                 val_masks='masks', val_list='val.txt'),
            dict(train_images='images/train', train_masks='masks/train',
                 train_list='', val_images='images/val',
                 val_masks='masks/val', val_list='')),
        segmentation_data),
    folders=Task(
        CLASSIFICATION, 'lowformer_{}_in1k', 'lowformer_{}_custom.py',
        3e-4 / 32, 1e-3 / 512, (
            dict(train_images='images', train_list='train.txt',
                 val_images='images', val_list='val.txt'),
            dict(train_images='train', train_list='', val_images='val',
                 val_list='')),
        classification_data))


class Chosen(NamedTuple):
    """What a config has by the options or by the data."""

    image_size: tuple[int, int]
    training: TrainingSettings
    note: str  # a warning of images that are too large for this size


class Written(NamedTuple):
    """A config that was written, or differs from the one that exists."""

    file: str
    diff: str
    chosen: Chosen


def write_config(kind: str, folder: str, settings: Settings,
                 file: str | None = None, *, overwrite: bool = False
                 ) -> Written:
    """Write a config, but replace another one only with ``overwrite``."""
    path = Path(file or Path(folder, TASKS[kind].name.format(settings.arch)))
    if path.suffix != '.py':
        raise UserError(f'--out {path} must end in .py')
    text, chosen = config_text(kind, folder, settings, path)
    try:
        known = path.read_text(encoding='utf-8') if path.exists() else None
        diff = '' if known is None else ''.join(difflib.unified_diff(
            known.splitlines(True), text.splitlines(True), str(path), 'new'))
        if known is None or overwrite:
            replace_text(path, text)
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read or written: {error}'
                        ) from error
    return Written(str(path), diff, chosen)


def resizing_note(folder: str, crop: tuple[int, int]) -> str:
    """What to do if images to segment are much larger than the crops."""
    sizes = sampled_sizes(_training_images('masks', folder))
    return describe_resizing(*max(sizes, key=max, default=(0, 0)), crop)


def _training_images(kind: str, folder: str) -> ImageFolder:
    return ImageFolder(os.path.join(
        folder, _find_data(TASKS[kind], folder, None)['train_images']))


def config_text(kind: str, folder: str, settings: Settings, file: Path
                ) -> tuple[str, Chosen]:
    """Fill in the template of a task; what the data chose is returned, too."""
    task = TASKS[kind]
    try:
        base = get_config_path(task.base.format(settings.arch))
    except FileNotFoundError as error:
        raise UserError(f'--arch {settings.arch}: {error}') from error
    paths = _find_data(task, folder, settings.images)
    count, classes = task.look(dict(paths, data_root=folder, classes=None))
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    size, note = settings.image_size, ''
    if kind == 'boxes':
        cfg = Config.fromfile(base)
        annotated = _annotated(os.path.join(folder, paths['train_ann_file']))
        size = size or (advised_size(annotated, smallest_fitting(cfg)), ) * 2
        anchors = cfg.model.bbox_head.anchor_generator
        values.update(
            anchor_scale=anchors.octave_base_scale,
            anchor_ratios=anchors.ratios, anchor_strides=anchors.strides,
            tta_scales=[tuple(round(side * factor) for side in size)
                        for factor in (0.75, 1, 1.25)])
        texts['anchor_fit'] = _anchor_fit(cfg, annotated, size)
        note = small_boxes_note(annotated, size)
    elif not size:
        size = (choose_image_size(kind, usual_side(sampled_sizes(
            _training_images(kind, folder)))), ) * 2
    if kind == 'masks':
        note = resizing_note(folder, size)
    elif kind == 'folders':
        values.update(short_edge=round(max(size) / 0.95),
                      topk=(1, 5) if len(classes) >= 10 else (1, ))
    training = choose_settings(kind, count, size, settings.batch_size,
                               settings.epochs, settings.gpus)
    numbers = _schedule(kind, training.epochs, training.iterations)
    published = published_weights(settings.arch)
    weights = _weights(settings.weights, published)
    step = min(training.batch_size, count)
    values.update(
        paths, base=_base_path(base, file), classes=classes, image_size=size,
        data_root=os.path.abspath(folder), count=count, weights=weights,
        base_batch_size=step, lr_from_scratch=step * task.lr,
        lr_with_weights=step * task.tuned_lr,
        **training._asdict(), **numbers)
    texts.update(
        kind=kind, arch=settings.arch,
        published=(f'The published ImageNet weights are {published!r}.'
                   if published else
                   f'No weights of {settings.arch} were published.'),
        warm_up_scheduler=_warm_up(kind) if numbers['warm_up'] else '')
    if file.resolve().parent == Path(folder).resolve():
        texts['data_root'] = HERE
    text = Template(task.template).substitute(
        {name: literal(value) for name, value in values.items()} | texts)
    return text, Chosen(size, training, note)


def _weights(weights: str | None, published: str | None) -> str | None:
    """The checkpoint that ``--weights`` stands for."""
    if weights == 'published' and published is None:
        raise UserError('--weights published: none were published of this '
                        'variant. Name a file, or --weights none')
    if weights in (None, 'published'):
        return published
    return None if weights == 'none' else weights


def literal(value: object) -> str:
    """Write a value of the data or the user so that it is never evaluated."""
    # MMEngine substitutes {{ ... }} in the text of a config.
    text = pformat(value, width=68, compact=True)
    return text.replace('{{', r'{\x7b').replace('\n', f'\n{" " * 10}')


def _find_data(task: Task, folder: str, images: str | None
               ) -> dict[str, str]:
    """The first layout whose files exist."""
    layouts = task.layouts
    if images is not None:
        if task is not TASKS['boxes']:
            raise UserError('--images is for boxes; others need the images in '
                            f'{folder}')
        path = os.path.relpath(images, folder)
        layouts = (dict(layouts[0], train_images=path, val_images=path), )
    for layout in layouts:
        missing = [path for path in layout.values()
                   if not os.path.exists(os.path.join(folder, path))]
        if not missing:
            return layout
    expected = ' or '.join(
        ', '.join(dict.fromkeys(filter(None, layout.values())))
        for layout in layouts)
    raise UserError(f'{folder} must hold {expected}. tools/data.py split '
                    'writes the files for training and validation')


def _base_path(base: str, file: Path) -> str:
    """Path of a base config: relative within the checkout, else absolute."""
    inside = file.resolve().is_relative_to(Path(base).parents[1])
    return os.path.relpath(base, file.resolve().parent) if inside else base


def _schedule(kind: str, epochs: int, iterations: int) -> dict[str, int]:
    total = epochs * iterations
    every = max(1, epochs // 10)
    # With fewer, the loss of a short training rises first.
    warm_up = max(total // 10, min(20, total // 2))
    if kind != 'folders':
        warm_up = min(500, warm_up)
    if kind == 'masks':
        return dict(max_iters=total, warm_up=warm_up,
                    val_interval=every * iterations,
                    log_interval=max(1, min(50, total // 10)))
    return dict(
        warm_up=warm_up, val_interval=every,
        log_interval=max(1, min(50, iterations // 5)))


def _warm_up(kind: str) -> str:
    factor = 0.001 if kind == 'boxes' else 0.01
    return (f"    dict(type='LinearLR', start_factor={factor}, by_epoch=False,"
            ' begin=0,\n         end=warm_up),\n')


def _annotated(file: str) -> list[AnnotatedImage]:
    """The images of an annotation file, as it says."""
    content = read_boxes(file)
    labels = dict(zip(content['category_ids'], content['categories']))
    boxes = annotations_by_image(content['annotations'])
    return [AnnotatedImage(
        image['file_name'], image['width'], image['height'],
        [as_annotation(item, labels) for item in boxes.get(image['id'], ())])
        for image in content['image_records']]


def _anchor_fit(cfg: Config, annotated: Sequence[AnnotatedImage],
                size: tuple[int, int]) -> str:
    """Comment on how well the anchors fit the boxes for training."""
    cfg.test_pipeline = [dict(type='Resize', scale=size)]
    fit = dict(against_anchors(annotated, cfg))
    text = fit.get('Anchors', 'No box to compare them with.')
    return ''.join(f'\n# {line}' for line in textwrap.wrap(text, 76))
