"""Prepare the test of a checkpoint or an exported model."""
import argparse
import os
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoint.compatibility import check_fits
from ..checkpoint.download import local_checkpoint
from ..checkpoint.embedded_config import (
    check_trained_classes,
    compare_with_training,
)
from ..config.loading import dicts_in, kind_of
from ..config.model_kind import follows_many
from ..config.requirements import require_packages, require_scope
from ..datasets.checks.check_datasets import check_datasets, datasets_in
from ..datasets.checks.coco import size_in
from ..datasets.checks.coco_annotations import parse_coco
from ..datasets.inspection.report import evenly_spaced
from ..datasets.inspection.settings import SAMPLES, usual_side
from ..datasets.paths import paths_of
from ..errors import UserError
from ..runtime.model_spec import is_exported, read_description
from ..utils.console import warn
from ..utils.safe_load import check_checkpoint
from .cli import adapt_to_device, check_work_dir, load_config
from .config_checks import check_settings, check_testing
from .runner import QuietRunner


def prepare_test(args: argparse.Namespace, folder: str) -> Config:
    """Read and check the config of a test."""
    cfg = load_config(args)
    check_settings(cfg)
    require_scope(cfg)
    require_packages(cfg)
    if not args.work_dir:
        # Runner writes the config there; the training keeps its own.
        cfg.work_dir = os.path.join(cfg.work_dir, folder)
    if not cfg.get('test_dataloader'):
        raise UserError(f'{args.config} has no test_dataloader')
    check_testing(cfg)
    if getattr(args, 'data', None):
        use_other_data(cfg, args.data, args.images)
    check_work_dir(cfg)
    if is_exported(args.checkpoint):
        for option in ('tta', 'deploy'):
            if getattr(args, option, False):
                raise UserError(f'--{option} is for checkpoints, not for '
                                'exported models')
        _use_exported(cfg, args.checkpoint,
                      getattr(args, 'trust_config', False))
    else:
        args.checkpoint = cfg.load_from = local_checkpoint(args.checkpoint)
        content = check_checkpoint(args.checkpoint)
        if content is not None:
            compare_with_training(cfg, content, args.checkpoint)
    check_datasets(cfg, ['test_dataloader'])
    adapt_to_device(cfg)
    cfg.resume = False
    return cfg


def _use_exported(cfg: Config, folder: str, trust: bool) -> None:
    """Test an exported model instead of the config's model."""
    description = read_description(folder)
    scope = description.host.get('scope')
    if scope != cfg.default_scope:
        raise UserError(f'{folder} is a model of {scope}, and the config is '
                        f'for {cfg.default_scope}')
    check_trained_classes(cfg, 'test_dataloader', description.classes, folder)
    if follows_many(cfg):
        raise UserError(f'{folder} is a model of images, and the test is of '
                        'videos; tools/predict.py --track takes it')
    cfg.model = dict(type='mmlowformer.ExportedModel', folder=folder,
                     threads=torch.get_num_threads(), trust=trust)
    cfg.load_from = None


def use_other_data(cfg: Config, data: str, images: str | None) -> None:
    """Test on other images and annotations than those of the config."""
    dataset, *others = datasets_in(cfg.test_dataloader)
    way = OTHER_DATA.get(kind_of(dataset))
    if others or way is None:
        raise UserError(f'--data is for boxes, masks and folders of classes, '
                        f'not for the {kind_of(dataset)} of the config')
    if not os.path.exists(data):
        raise UserError(f'--data {data} does not exist')
    data = os.path.abspath(data)
    folder = os.path.abspath(images or os.path.join(
        os.path.dirname(data), 'images'))
    dataset.update(way(data, folder), data_root='')
    for _, evaluator in dicts_in(cfg.test_evaluator, 'test_evaluator'):
        if 'ann_file' in evaluator:
            evaluator['ann_file'] = data


def _boxes(data: str, images: str) -> dict:
    return dict(ann_file=data, data_prefix=dict(img=images))


def _masks(data: str, images: str) -> dict:
    return dict(ann_file='', data_prefix=dict(img_path=images,
                                              seg_map_path=data))


def _folders(data: str, images: str) -> dict:
    return dict(ann_file='', data_prefix=data)


OTHER_DATA = dict(
    CocoDataset=_boxes, CustomDataset=_folders, CustomSegDataset=_masks)


def use_deploy_hook(cfg: Config, settings: dict) -> None:
    """Test a deployed copy of the model."""
    cfg.custom_hooks = [
        *(hook for hook in cfg.get('custom_hooks') or []
          if kind_of(hook) != 'DeployHook'),
        dict(type='mmlowformer.DeployHook', **settings)]


def build_test_runner(cfg: Config, args: argparse.Namespace) -> Runner:
    """Build a Runner whose model the checkpoint fits."""
    runner = QuietRunner.from_cfg(cfg)
    if not is_exported(args.checkpoint):
        check_fits(runner.model, args.checkpoint, allow_nan=args.allow_nan)
    if getattr(args, 'data', None):
        warn_of_scenes(cfg, runner.test_dataloader.dataset)
    return runner


def warn_of_scenes(cfg: Config, dataset: Any) -> None:
    """Warn of a test of whole scenes after a training on tiles.

    Resized as the tiles were, their objects would be too small to find.
    """
    known = next(iter(datasets_in(cfg.get('val_dataloader') or {})), None)
    if known is None or kind_of(known) != 'CocoDataset':
        return
    try:
        records = parse_coco(paths_of(known)['ann_file'])['images']
        tile = usual_side([size for record in records
                           if (size := size_in(record))])
    except (UserError, LookupError, TypeError, AttributeError):
        return  # Not what this test is about.
    side = usual_side([(info['width'], info['height']) for info in (
        dataset.get_data_info(index)
        for index in evenly_spaced(range(len(dataset)), SAMPLES))])
    if side > 2 * tile > 0:
        warn(f'The images have {side} pixels a side, those of the validation '
             f'{tile}. If the training was on tiles, cut these, too: '
             f'tools/data.py tile --tile-size {tile}')
