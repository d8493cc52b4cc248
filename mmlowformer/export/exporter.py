"""From a checkpoint to folders of verified files."""
import functools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel

from ..checkpoint.download import local_checkpoint
from ..config.loading import find_config, read_config
from ..datasets.synthetic.shapes import make_dataset
from ..errors import UserError, first_line
from ..models.exported_model import ExportedModel
from ..predict.inputs import collect_inputs
from ..predict.trained_model import load_model
from ..runtime.model_spec import (
    UNVERIFIED,
    Description,
    allow_unverified,
    sha256,
)
from ..runtime.predictor import letterbox, tensor
from ..runtime.schema import FAILED, NOT_VERIFIED, VERIFIED
from ..runtime.sessions import InferenceError
from ..utils.console import show
from ..utils.files import check_new
from ..utils.images import read
from ..utils.terminal import counting_bar
from ..utils.text import line
from .config import ExportConfig, ExportResult
from .evaluation import Metric, primary_metric, training_images
from .formats import PRECISIONS, Format, check_format, find_formats
from .job import ExportJob, InputShape
from .model_spec import describe
from .preprocessing import default_size, prepare_steps
from .report import COMPARISON_IMAGE, print_result, print_usage
from .speed import time_models
from .verification import Verifier, draw_comparison
from .wrappers import ExportWrapper, wrap_model

# Test images to verify with, if none are named.
IMAGES = 16
GENERATED = 4
# With fewer calibration images, accuracy varies by chance.
FEW_IMAGES = 100
# Allowed difference of the metric in float32: rounded to four digits.
SAME_METRIC = 5e-5
SUFFIXES = {32: '', 16: '-float16', 8: '-int8'}
HELP = {
    16: '; --quantize 32 loses nothing',
    8: '. Try more or other images for --calibration, another format, '
       '--quantize 16 or a larger --max-metric-drop'}


def export(checkpoint: str, formats: str, out: str | Path | None = None, *,
           config: str | None = None, trust_config: bool = False,
           on_load: Callable[[BaseModel], Any] = lambda model: None,
           **options: Any) -> list[ExportResult]:
    """Export a checkpoint to one or more formats, and verify each.

    Prints what was compared and how fast the exports are. Exports that fail
    are kept as ``*.unverified``.

    Args:
        checkpoint (str): Path or URL of a checkpoint with its config in it.
        formats (str): Names separated by commas, such as ``onnx,openvino``.
        out (str | Path, optional): Folder to write a folder of each format to.
            Defaults to the checkpoint's name with ``-export``.
        config (str, optional): Config to use instead of the checkpoint's.
        trust_config (bool): Whether the config in the checkpoint may run code
            and name data. Defaults to False.
        on_load (Callable): Called with the loaded model.
        **options: Fields of :class:`.config.ExportConfig`. ``calibration`` and
            ``images`` may also be folders.

    Returns:
        list[ExportResult]: One for each format.

    Raises:
        UserError: If the model or an option is not supported, a package is
            missing, or a folder exists.
    """
    for option in ('calibration', 'images'):
        named = options.get(option)
        options[option] = collect_inputs(named).images if named else []
    settings = ExportConfig(find_formats(formats), **options)
    folders = _new_folders(checkpoint, out, settings)
    exporter = Exporter(checkpoint, config, settings,
                        trust_config=trust_config)
    on_load(exporter.trained.module)
    results = []
    for item, folder in zip(settings.formats, folders):
        results.append(exporter.export(item, folder))
        print_result(results[-1])
    print_usage(results)
    return results


def _new_folders(checkpoint: str, out: str | Path | None,
                 config: ExportConfig) -> list[Path]:
    stem = Path(checkpoint).name.removesuffix('.pth')
    root = Path(out or f'{stem}-export')
    folders = [root / f'{item.name}{SUFFIXES[config.bits]}'
               for item in config.formats]
    for folder in folders:
        check_new(folder)
        if (left := unverified(folder)).exists():
            raise UserError(f'{left} exists, from an export that was '
                            'interrupted or is still running: delete it, or '
                            'name another --out')
    return folders


class Exporter:
    """Exports a checkpoint to formats, one after the other."""

    def __init__(self, checkpoint: str, model_config: str | None,
                 config: ExportConfig, *, trust_config: bool = False):
        self.config = config
        for item in config.formats:
            check_format(item, config.bits, dynamic=config.dynamic,
                         nms=bool(config.nms))
        self.checkpoint = local_checkpoint(checkpoint)
        self.trained = load_model(self.checkpoint, model_config,
                                  trust_config=trust_config)
        self._set_thresholds()
        self._wrapped = functools.cache(functools.partial(
            wrap_model, self.trained.module, backbone=config.backbone))
        # A model that is not supported is refused before its pipeline.
        self.model_for(config.formats[0])
        self.example = config.size or default_size(
            prepare_steps(self.trained.pipeline))
        self.cfg = (read_config(find_config(model_config)) if model_config
                    else self.trained.cfg)
        self.metric = Metric(self.cfg, self.trained.scope,
                             trusted=bool(model_config) or trust_config)
        for item in config.formats:
            self.shape_for(item)

    def _set_thresholds(self) -> None:
        head = getattr(self.trained.module, 'bbox_head', None)
        for option, key, value in (
                ('--score-thr', 'score_thr', self.config.score_thr),
                ('--max-dets', 'max_per_img', self.config.max_dets)):
            if value is None:
                continue
            if head is None:
                raise UserError(f'{option} is for detectors')
            head.test_cfg[key] = value

    def model_for(self, item: Format) -> ExportWrapper:
        """The exportable model for a format."""
        return self._wrapped(nms=self.config.nms is not False and item.nms)

    def shape_for(self, item: Format) -> InputShape:
        """The input shape for a format."""
        config, batch = self.config, self.config.batch
        any_batch = self.model_for(item).any_batch and item.any_batch
        if batch == 'dynamic' and not any_batch:
            raise UserError(
                f'--batch dynamic is not for {item.name} with this model: '
                'name a number, or export a detector with --no-nms to onnx, '
                'openvino or pt2')
        if isinstance(batch, int) and batch > 1 and not item.any_batch:
            raise UserError(f'--batch {batch}: {item.name} takes one image at '
                            'a time')
        if not isinstance(batch, int):
            batch = None if any_batch else 1
        return InputShape(batch, self.example,
                          item.dynamic and not config.size)

    def export(self, item: Format, folder: Path) -> ExportResult:
        """Write a format, and verify it.

        The folder is called ``*.unverified`` until there is a verdict, also if
        the process is killed before.
        """
        description = describe(self.trained, self.model_for(item),
                               self.shape_for(item), item,
                               PRECISIONS[self.config.bits])
        job = ExportJob(self.model_for(item), self.shape_for(item),
                        description,
                        functools.partial(self._calibration, description))
        temporary = unverified(folder)
        try:
            temporary.mkdir(parents=True)
            with counting_bar(f'Writing {item.name}', None):
                self._write(item, job, temporary)
            with allow_unverified(temporary):
                result = self._verify_and_time(item, job, temporary)
            record_verdict(result, description)
            temporary.rename(folder)
        except OSError as error:
            raise UserError(f'{temporary} cannot be written or read: '
                            f'{first_line(error)}') from error
        result.folder = folder
        return result

    def _write(self, item: Format, job: ExportJob, folder: Path) -> None:
        """Write the files and their description, or no folder."""
        description = job.description
        try:
            description.files = item.write(job, folder)
            description.sha256 = dict(
                checkpoint=sha256(self.checkpoint),
                **{name: sha256(folder / name) for name in description.files})
            description.write(folder)
        except BaseException as error:
            shutil.rmtree(folder)
            # Exporters may raise anything.
            if isinstance(error, UserError) or not isinstance(
                    error, Exception):
                raise
            raise UserError(f'this model cannot be exported to {item.name}: '
                            f'{first_line(error)}') from error

    def _verify_and_time(self, item: Format, job: ExportJob, folder: Path
                         ) -> ExportResult:
        if not item.runs_here:
            return ExportResult(folder, NOT_VERIFIED,
                                reason='no runtime exists for this machine')
        try:
            result = self._verify(folder, job)
            if result.verdict != FAILED:
                self._time(result, item, job)
        except BaseException:
            mark_unverified(folder, job.description)
            raise
        return result

    def _time(self, result: ExportResult, item: Format, job: ExportJob
              ) -> None:
        """Time it, and, if its weights are rounded, the same in float32."""
        with (tempfile.TemporaryDirectory() as scratch,
              counting_bar('Timing', None)):
            folders = [result.folder]
            if job.description.precision != 'float32':
                folders.append(Path(scratch, item.name))
                folders[-1].mkdir()
                self._write(item, replace(job, description=replace(
                    job.description, precision='float32')), folders[-1])
            with allow_unverified(folders[-1]):
                result.speed = time_models(folders, job.model, self.example)

    def _verify(self, folder: Path, job: ExportJob) -> ExportResult:
        result = ExportResult(folder, VERIFIED)
        with tempfile.TemporaryDirectory() as scratch:
            images = self._images(scratch)
            verifier = Verifier(
                folder, self.trained, self.example,
                strict=job.description.precision == 'float32')
            try:
                with counting_bar('Comparing',
                                  verifier.steps + len(images)) as step:
                    result.rows = verifier.rows(images, step)
            except InferenceError as error:
                result.fail(first_line(error))
                return result
            missed = [row for row in result.rows if not row.passed]
            if missed:
                worst = max(missed, key=lambda row: row.share)
                result.fail(f'{worst.check} on {worst.where}: error '
                            f'{worst.error:.2g}, allowed {worst.limit:.2g}')
            else:
                self._compare_metrics(result, job.description)
            if job.model.task != 'features':
                draw_comparison(self.trained, folder, images[0]).save(
                    folder / COMPARISON_IMAGE)
        return result

    def _images(self, scratch: str) -> list[str]:
        """Images named by the user, of the config, or generated ones."""
        if files := list(self.config.images) or self.metric.files(IMAGES):
            return files
        make_dataset(scratch, train=1, val=GENERATED, size=max(self.example))
        return sorted(map(str, Path(scratch, 'coco/val2017').iterdir()))

    def _compare_metrics(self, result: ExportResult, description: Description
                         ) -> None:
        exact = description.precision == 'float32'
        why_not = ('--no-metric' if not self.config.metric else
                   'a backbone alone has none'
                   if description.task == 'features' else self.metric.reason)
        if why_not:
            result.reason = f'no metric: {why_not}'
            if not exact:
                # Only the metric shows what rounding the weights costs.
                result.verdict = NOT_VERIFIED
            return
        before = self._checkpoint_metrics
        after = self._compute('export', ExportedModel(
            result.folder, torch.get_num_threads()))
        result.metrics = dict(checkpoint=before, export=after)
        primary = primary_metric(before)
        if primary is None:
            result.reason = 'the metrics include no known primary metric'
            return
        name, value = primary
        drop = value - (primary_metric(after) or ('', 0.))[1]
        limit = SAME_METRIC if exact else self.config.max_metric_drop
        if (abs(drop) if exact else drop) > limit + 1e-9:
            result.fail(f'{name} falls by {drop:.4f}, allowed is {limit:g}'
                        + ('' if exact else HELP[self.config.bits]))

    @functools.cached_property
    def _checkpoint_metrics(self) -> dict[str, float]:
        return self._compute('checkpoint', self.trained.module)

    def _compute(self, name: str, model: BaseModel) -> dict[str, float]:
        loader = self.metric.loader()
        with counting_bar(f'Testing the {name}', len(loader)) as step:
            return self.metric.compute(model, loader, step)

    def _calibration(self, description: Description) -> Iterator[np.ndarray]:
        """Preprocessed calibration images, named or of the training."""
        most = self.config.calibration_images
        files = list(self.config.calibration) or training_images(
            self.cfg, self.trained.scope, most)
        files = files[:most]
        if not files:
            raise UserError('--quantize 8 needs calibration images, and the '
                            'training images of the config are missing: name '
                            'a folder with --calibration or, if you trust the '
                            'checkpoint, add --trust-config')
        if len(files) < FEW_IMAGES:
            show(line('Note', f'{len(files)} calibration images are few; 300 '
                      'are usual'))
        first, *steps = description.prepare
        for file in files:
            image = letterbox(description, read(file, first['library']),
                              steps).image
            if min(image.shape[:2]) >= description.input['least_size']:
                yield tensor(description, image)


def record_verdict(result: ExportResult, description: Description) -> None:
    """Add the result to the description, and rename files that failed."""
    description.verification = dict(
        verdict=result.verdict, reason=result.reason,
        rows=[row.plain() for row in result.rows],
        metrics={whose: {name: value if math.isfinite(value) else None
                         for name, value in metrics.items()}
                 for whose, metrics in result.metrics.items()},
        speed=result.speed)
    description.write(result.folder)
    if result.verdict == FAILED:
        mark_unverified(result.folder, description)


def unverified(folder: Path) -> Path:
    """The name of an export's folder until there is a verdict."""
    return folder.with_name(folder.name + UNVERIFIED)


def mark_unverified(folder: Path, description: Description) -> None:
    """Rename the files of an export that may be wrong."""
    for name in description.files:
        (folder / name).rename(unverified(folder / name))
