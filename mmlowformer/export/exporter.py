"""From a checkpoint to folders of verified files."""
import functools
import io
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel

from ..checkpoint.download import local_checkpoint
from ..config.loading import find_config, read_config
from ..datasets.synthetic.shapes import make_dataset
from ..errors import UserError, first_line
from ..models.exported_model import ExportedModel
from ..predict.trained_model import load_model
from ..runtime.model_spec import (
    UNVERIFIED,
    Description,
    being_verified,
    sha256,
)
from ..runtime.predictor import fitting, tensor
from ..runtime.preprocess import prepare
from ..runtime.schema import FAILED, NOT_VERIFIED, VERIFIED
from ..runtime.sessions import RuntimeFails
from ..utils.images import read
from .comparison_image import draw_comparison
from .evaluation import Metric, deciding, training_images
from .formats import PRECISIONS, Format, check_format
from .model_spec import describe
from .plan import Outcome, Progress, Wishes
from .preprocessing import prepare_steps, usual_size
from .program import Shape
from .source import Source
from .speed import speeds
from .verification import Verifier
from .wrappers import Network, network_of

PICTURE = 'comparison.png'
# Of the test images, if none are named.
IMAGES = 16
GENERATED = 4
# To calibrate with, fewer are a matter of luck.
FEW_IMAGES = 100
# Of a metric, for rounding alone: four digits.
SAME_METRIC = 5e-5
HELP = {
    16: '; --quantize 32 loses nothing',
    8: '. More or other images for --calibration may help, so may another '
       'format; --quantize 16 loses less; --max-drop allows more'}


class Exporter:
    """Exports a checkpoint."""

    def __init__(self, checkpoint: str, config: str | None, wishes: Wishes,
                 progress: Progress | None = None, *,
                 trust_config: bool = False):
        self.wishes, self.progress = wishes, progress or Progress()
        for item in wishes.formats:
            check_format(item, wishes.bits, dict(
                dynamic=wishes.dynamic, boxes=wishes.boxes))
        self.checkpoint = local_checkpoint(checkpoint)
        self.trained = load_model(self.checkpoint, config,
                                  trust_config=trust_config)
        self._set_thresholds()
        self._networks: dict[bool, Network] = {}
        self.network_for(wishes.formats[0])
        steps = prepare_steps(self.trained.pipeline)
        self.example = wishes.size or usual_size(steps)
        cfg = read_config(find_config(config)) if config else self.trained.cfg
        self.metric = Metric(cfg, self.trained.scope,
                             trusted=bool(config) or trust_config)
        self.cfg = cfg
        for item in wishes.formats:
            self.shape_for(item)
        self._checkpoint_metrics: dict[str, float] | None = None

    def _set_thresholds(self) -> None:
        wishes = self.wishes
        head = getattr(self.trained.module, 'bbox_head', None)
        for option, key, value in (
                ('--score-thr', 'score_thr', wishes.score_thr),
                ('--max-dets', 'max_per_img', wishes.max_dets)):
            if value is None:
                continue
            if head is None:
                raise UserError(f'{option} is for detectors')
            head.test_cfg[key] = value

    def network_for(self, item: Format) -> Network:
        """What is exported to a format."""
        raw = self.wishes.raw or not item.boxes
        if raw not in self._networks:
            self._networks[raw] = network_of(
                self.trained.module, backbone=self.wishes.backbone, raw=raw)
        return self._networks[raw]

    def shape_for(self, item: Format) -> Shape:
        """The input's shape in a format."""
        wishes = self.wishes
        able = self.network_for(item).any_batch and item.any_batch
        if wishes.any_batch and not able:
            raise UserError(
                '--batch dynamic is for networks without non-maximum '
                f'suppression (--raw) and not for every format; with '
                f'{item.name} and this model name a number')
        if not item.any_batch and (wishes.batch or 1) > 1:
            raise UserError(f'--batch {wishes.batch}: {item.name} takes one '
                            'image at a time')
        batch = None if able and wishes.batch is None else wishes.batch or 1
        return Shape(batch, self.example, item.dynamic and not wishes.size)

    def export(self, item: Format, folder: Path) -> Outcome:
        """Write a format, and verify it.

        It gets its name after the verdict; until then, and where the process
        is ended meanwhile, ``.unverified`` stands behind it.
        """
        shape, precision = self.shape_for(item), PRECISIONS[self.wishes.bits]
        network = self.network_for(item)
        description = describe(self.trained, network, shape, item, precision)
        source = Source(network, shape, description,
                        functools.partial(self._calibration, description))
        between = unverified(folder)
        self.progress.phase(f'Writing {item.name}', None)
        try:
            between.mkdir(parents=True)
            self._write(item, source, between)
            with being_verified(between):
                outcome = self._outcome(item, source, between)
            self._conclude(outcome, description)
            between.rename(folder)
        except OSError as error:
            raise UserError(f'{between} cannot be written or read: '
                            f'{first_line(error)}') from error
        outcome.folder = folder
        return outcome

    def _outcome(self, item: Format, source: Source, folder: Path) -> Outcome:
        if not item.runs_here:
            return Outcome(folder, NOT_VERIFIED, reason='there is no runtime '
                           'for this machine')
        try:
            outcome = self._verify(folder, source)
            if outcome.verdict != FAILED:
                self._time(outcome, item, source)
        except BaseException:
            # Whoever finds it shall not take it for right.
            withdraw(folder, source.description)
            raise
        return outcome

    def _write(self, item: Format, source: Source, folder: Path) -> None:
        """Write the files and their description, or no folder."""
        description = source.description
        try:
            description.files = item.write(source, folder)
            description.sha256 = dict(
                checkpoint=sha256(self.checkpoint),
                **{name: sha256(folder / name) for name in description.files})
            description.check()
            description.write(folder)
        except BaseException as error:
            shutil.rmtree(folder)
            # Exporters may fail in any way.
            if isinstance(error, UserError) or not isinstance(
                    error, Exception):
                raise
            raise UserError(f'{item.name} cannot be written of this model: '
                            f'{first_line(error)}') from error

    def _time(self, outcome: Outcome, item: Format, source: Source) -> None:
        self.progress.phase('Timing', None)
        with tempfile.TemporaryDirectory() as between:
            folders = [outcome.folder]
            if source.description.precision != 'float32':
                folders.append(self._unrounded(item, source, Path(between)))
            with being_verified(folders[-1]):
                outcome.speed = speeds(folders, source.network, self.example)

    def _unrounded(self, item: Format, source: Source, folder: Path) -> Path:
        """The same with weights of 32 bits, to compare the time with."""
        description = replace(source.description, precision='float32')
        folder = folder / item.name
        folder.mkdir()
        self._write(item, replace(source, description=description), folder)
        return folder

    def _verify(self, folder: Path, source: Source) -> Outcome:
        description, network = source.description, source.network
        with ExitStack() as stack:
            images = self._images(stack)
            verifier = Verifier(
                folder, self.trained, self.example, step=self.progress.step,
                strict=description.precision == 'float32')
            self.progress.phase('Comparing', verifier.steps + len(images))
            outcome = Outcome(folder, VERIFIED)
            try:
                outcome.rows = verifier.rows(images)
            except UserError as error:
                if not isinstance(error, RuntimeFails):
                    raise
                outcome.fail(first_line(error))
                return outcome
            missed = [row for row in outcome.rows if not row.passed]
            if missed:
                worst = max(missed, key=lambda row: row.share)
                outcome.fail(f'{worst.check} on {worst.where}: '
                             f'{worst.error:.2g}, allowed is '
                             f'{worst.limit:.2g}')
            else:
                self._judge(outcome, description)
            if network.task != 'features':
                draw_comparison(self.trained, folder, images[0]).save(
                    folder / PICTURE)
        return outcome

    def _images(self, stack: ExitStack) -> list[str]:
        """Those that are named, or the config's, or generated ones."""
        files = list(self.wishes.images) or self.metric.files(IMAGES)
        if files:
            return files
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with redirect_stdout(io.StringIO()):
            make_dataset(folder, train=1, val=GENERATED,
                         size=max(self.example))
        return sorted(map(str, Path(folder, 'coco/val2017').iterdir()))

    def _judge(self, outcome: Outcome, description: Description) -> None:
        """By the metric, if it can be had."""
        exact = description.precision == 'float32'
        why_not = ('--no-metric' if not self.wishes.metric else
                   'a backbone alone has none'
                   if description.task == 'features' else self.metric.reason)
        if why_not:
            outcome.reason = f'no metric: {why_not}'
            if not exact:
                # Of rounded weights nothing else tells what they are worth.
                outcome.verdict = NOT_VERIFIED
            return
        before = self._metrics_of_checkpoint()
        after = self._compute('export', ExportedModel(
            outcome.folder, torch.get_num_threads()))
        outcome.metrics = dict(checkpoint=before, export=after)
        decisive = deciding(before)
        if decisive is None:
            outcome.reason = 'no metric that is known to decide'
            return
        name, value = decisive
        drop = value - (deciding(after) or ('', 0.))[1]
        limit = SAME_METRIC if exact else self.wishes.max_drop
        if (abs(drop) if exact else drop) > limit + 1e-9:
            outcome.fail(f'{name} falls by {drop:.4f}, allowed is {limit:g}'
                         + ('' if exact else HELP[self.wishes.bits]))

    def _metrics_of_checkpoint(self) -> dict[str, float]:
        if self._checkpoint_metrics is None:
            self._checkpoint_metrics = self._compute(
                'checkpoint', self.trained.module)
        return self._checkpoint_metrics

    def _compute(self, name: str, model: BaseModel) -> dict[str, float]:
        loader = self.metric.loader()
        self.progress.phase(f'Testing the {name}', len(loader))
        return self.metric.compute(model, loader, self.progress.step)

    def _calibration(self, description: Description) -> Iterator[np.ndarray]:
        """Images as the network takes them, of the training or as named."""
        files = list(self.wishes.calibration) or training_images(
            self.cfg, self.trained.scope, self.wishes.calibration_images)
        files = files[:self.wishes.calibration_images]
        if not files:
            raise UserError('--quantize 8 needs images that are like those to '
                            'come, and the training images of the config are '
                            'not here: name a folder with --calibration or, '
                            'if the checkpoint is yours, add --trust-config')
        if len(files) < FEW_IMAGES:
            self.progress.say('Note', f'{len(files)} images are few to find '
                              'the ranges of values by; 300 are usual')
        first, *steps = description.prepare
        for file in files:
            image = prepare(read(file, first['library']), steps,
                            **fitting(description)).image
            if min(image.shape[:2]) >= description.input['least_size']:
                yield tensor(description, image)

    @staticmethod
    def _conclude(outcome: Outcome, description: Description) -> None:
        """Write down what was found, and let nobody use what failed."""
        description.verification = dict(
            verdict=outcome.verdict, reason=outcome.reason,
            rows=[row.plain() for row in outcome.rows],
            metrics={whose: {name: value if math.isfinite(value) else None
                             for name, value in metrics.items()}
                     for whose, metrics in outcome.metrics.items()},
            speed=outcome.speed)
        description.write(outcome.folder)
        if outcome.verdict == FAILED:
            withdraw(outcome.folder, description)


def unverified(folder: Path) -> Path:
    """What the folder of an export is called before there is a verdict."""
    return folder.with_name(folder.name + UNVERIFIED)


def withdraw(folder: Path, description: Description) -> None:
    """Rename the files of an export that is not what it should be."""
    for name in description.files:
        file = folder / name
        file.rename(file.with_name(file.name + UNVERIFIED))
