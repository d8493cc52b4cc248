"""Predict boxes, masks or labels of images and videos.

--track tracks all objects of a video with a detector; --box tracks one object
with a trained tracker.
"""
import argparse
import os
import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

import _ctrl_c  # noqa: F401
import numpy as np
from mmengine.device import get_device

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.predict import Predictor
from mmlowformer.predict.arguments import add_model_arguments, predictor_of
from mmlowformer.predict.inputs import Inputs, collect, short_names
from mmlowformer.predict.trained_model import load_model
from mmlowformer.predict.video import (
    FORMAT,
    VideoReader,
    VideoWriter,
    video_names,
)
from mmlowformer.predict.writer import CocoIdMapper, Writer, output_folder
from mmlowformer.tracking.predict_mot import TRACKS, MOTResult, track_objects
from mmlowformer.tracking.predict_sot import (
    BOXES,
    FrameFolder,
    SOTResult,
    draw_box,
    open_frames,
    parse_box,
    require_tracker,
    track_object,
)
from mmlowformer.utils.deprecation import rename_option

Frames = VideoReader | FrameFolder
Track = list[SOTResult] | list[MOTResult]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint with its config, or '
                        'folder of an exported model')
    parser.add_argument('inputs', nargs='+', metavar='input',
                        help='images, videos, folders, globs, text files '
                        'with one path per line, camera numbers, or - for '
                        'paths on the standard input')
    add_model_arguments(parser)
    parser.add_argument('--out', metavar='DIR',
                        help='output folder, new or empty (default: '
                        'predictions, or predictions-2 and so on)')
    parser.add_argument('-r', '--recursive', action='store_true',
                        help='include sub-folders')
    parser.add_argument('--profile', action='store_true',
                        help='also time reading, preparing, the network and '
                        'the rest (decoding, NMS), one image at a time')
    rename_option(parser, '--stages', '--profile')
    parser.add_argument('--save-crops', action='store_true',
                        help='write the content of each box as a picture')
    parser.add_argument('--json', nargs='?', metavar='FILE',
                        help='new file of the results (default: '
                        'predictions.json in DIR)')
    parser.add_argument('--no-pictures', action='store_true',
                        help='write no pictures and videos')
    parser.add_argument('--ann-file', metavar='F',
                        help='COCO annotations, whose ids of images and '
                        'categories the results use')
    task = parser.add_mutually_exclusive_group()
    task.add_argument('--track', action='store_true',
                      help='track all objects of a video, or of a folder of '
                      'frames, with a detector')
    task.add_argument('--box', metavar='X,Y,W,H',
                      help='track the object in this box of the first frame: '
                      'left, top, width and height in pixels, or "window" to '
                      'draw the box with the mouse')
    task.add_argument('--detector', metavar='F',
                      help='track the highest-scoring object of this '
                      'detector, a checkpoint, in the first frame')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show tracebacks of errors')
    return parser.parse_args()


class Run:
    """Predicts images and videos, and counts them."""

    def __init__(self, predictor: Predictor, writer: Writer):
        self.predictor, self.writer = predictor, writer
        self.done = self.failed = self.frames = 0
        self.started = time.perf_counter()

    def images(self, paths: list[str]) -> None:
        names = short_names(paths)
        with engine.counting_bar('Images', len(paths)) as step:
            for item in self.predictor.stream(paths):
                try:
                    result, name = item.get(), names[item.position]
                    self.writer.add(item.position, name, result)
                    self.done += 1
                    show(name, result.line())
                except UserError as error:
                    self._skip(error)
                step()

    def video(self, source: str, name: str, position: int) -> None:
        try:
            video = VideoReader(source)
            suffix = '' if name.lower().endswith(FORMAT) else FORMAT
            copy = VideoWriter(self.writer.free('videos', name + suffix),
                               video.fps)
            started = time.perf_counter()
            try:
                self._frames(video, copy, name, position)
            finally:
                self.writer.wait()
                copy.close()
                rate = video.frames / (time.perf_counter() - started)
                show(name, f'{video.frames} frames, {rate:.1f} per second')
            if truncated := truncation(source, video.frames, video.total):
                raise UserError(f'{truncated}; the results until then are '
                                'kept')
            self.done += 1
        except UserError as error:
            self._skip(error)

    def _frames(self, video: VideoReader, copy: VideoWriter, name: str,
                position: int) -> None:
        names = (f'{name}, frame {number}' for number in count(1))
        with engine.counting_bar(name, video.total) as step:
            for item in self.predictor.stream(video, names):
                result = item.get()
                if self.writer.pictures:
                    self.writer.later(copy.add, result)
                self.writer.record((position, item.position), [
                    dict(record, file_name=name, image_id=item.position + 1)
                    for record in result.json()])
                self.frames += 1
                step()

    def _skip(self, error: UserError) -> None:
        self.failed += 1
        engine.show(engine.wrapped(f'Skipped: {error}', '  '), 'red')


def show(name: str, text: str) -> None:
    engine.show(engine.wrapped(f'{engine.printable(name)}  {text}', '  '))


def truncation(source: str, frames: int, total: int | None) -> str | None:
    # Some formats estimate their number of frames, one too high.
    if total is None or frames >= total - 1:
        return None
    return f'{source} ends after {frames} of the {total} frames of its header'


def show_profile(predictor: Predictor, images: list[str]) -> None:
    stages = predictor.profile(images)
    text = ', '.join(f'{name} {1e3 * seconds:.1f}'
                     for name, seconds in stages.items())
    total = 1e3 * sum(stages.values())
    engine.show(engine.line(
        'Profile', f'{total:.1f} ms from file to result: {text}'))


def print_summary(run: Run) -> None:
    writer, seconds = run.writer, time.perf_counter() - run.started
    skipped = f', {run.failed} skipped (named above)' if run.failed else ''
    rate = (run.done + run.frames) / seconds
    engine.show(f'\n{run.done} of {run.done + run.failed} done{skipped}, in '
                f'{engine.hours(seconds)}, {rate:.1f} images per second.')
    for kind, number in sorted(writer.written.items()):
        engine.show(engine.line(kind.capitalize(), f'{number} in '
                                f'{engine.short(writer.folder / kind)}'))
    engine.show(engine.line('Results', engine.short(writer.file)))


def writer_of(args: argparse.Namespace, ids: CocoIdMapper, **options
              ) -> Writer:
    return Writer(output_folder(args.out, 'predictions'), ids, args.json,
                  pictures=not args.no_pictures, **options)


def predict(args: argparse.Namespace) -> tuple[Run, Inputs]:
    inputs = collect(args.inputs, recursive=args.recursive)
    if args.profile and not inputs.images:
        raise UserError('--profile is for images: name some')
    predictor = predictor_of(args)
    ids = CocoIdMapper(args.ann_file, predictor.classes)
    engine.describe_model(predictor.module, args.checkpoint)
    for note in inputs.notes:
        engine.warn(note)
    writer = writer_of(args, ids, crops=args.save_crops,
                       ahead=args.batch_size + 1)
    run = Run(predictor, writer)
    with engine.exit_on_interrupt(lambda: (
            f'Interrupted: {run.done} done, in {writer.file}.')), writer:
        if inputs.images:
            run.images(inputs.images)
        for position, (source, name) in enumerate(
                zip(inputs.videos, video_names(inputs.videos)),
                len(inputs.images)):
            run.video(source, name, position)
    return run, inputs


def detect_box(args: argparse.Namespace, frame: np.ndarray) -> list[float]:
    boxes = Predictor(args.detector, device=args.device,
                      trust_config=args.trust_config)(frame).boxes
    if not len(boxes):
        raise UserError(f'{args.detector} detects nothing in the first '
                        'frame: give the object with --box')
    left, top, right, bottom = boxes[0].tolist()
    return [left, top, right - left, bottom - top]


def object_of(args: argparse.Namespace, frames: Frames, name: str
              ) -> Iterator[SOTResult]:
    box = (parse_box(args.box) if args.box and args.box != 'window' else None)
    model = load_model(args.checkpoint, args.config,
                       device=args.device or get_device(),
                       deploy=engine.deploy_settings(args),
                       trust_config=args.trust_config)
    tracker = require_tracker(model.module)
    engine.describe_model(tracker, args.checkpoint)
    others = iter(frames)
    first = next(others)
    if box is None:
        box = draw_box(first) if args.box else detect_box(args, first)
    return track_object(tracker, chain([first], others), box, name,
                        args.score_thr)


def objects_of(args: argparse.Namespace, frames: Frames, name: str
               ) -> Iterator[MOTResult]:
    for option in ('profile', 'save_crops', 'ann_file', 'gallery'):
        if getattr(args, option):
            raise UserError(f'--{option.replace("_", "-")} is for images, '
                            'not for --track')
    predictor = predictor_of(args)
    if predictor.tracker and args.score_thr is not None:
        raise UserError("--score-thr is for detectors; the config's "
                        f'{predictor.tracker["type"]} has thresholds of its '
                        'own')
    engine.describe_model(predictor.module, args.checkpoint)
    return track_objects(predictor, frames, name)


def track(args: argparse.Namespace) -> None:
    """Track one object, or all, of a video or a folder of frames."""
    option = next(name for name in ('track', 'box', 'detector')
                  if getattr(args, name))
    if len(args.inputs) != 1:
        raise UserError(f'--{option} is for one video, not for '
                        f'{len(args.inputs)} inputs')
    source, = args.inputs
    frames, name = open_frames(source), Path(source).name or 'frames'
    results = (objects_of if args.track else object_of)(args, frames, name)
    # Errors in the first frame are raised before anything is written.
    first = next(results)
    writer = writer_of(args, CocoIdMapper())
    file = writer.folder / (TRACKS if args.track else BOXES)
    steps = write_track(writer, chain([first], results), name, frames, file)
    report_track(steps)
    if writer.pictures:
        engine.show(engine.line('Video', engine.short(
            writer.folder / 'videos')))
    engine.show(engine.line('Tracks' if args.track else 'Boxes',
                            engine.short(file)))
    engine.show(engine.line('Results', engine.short(writer.file)))
    if truncated := truncation(source, len(steps), frames.total):
        engine.warn(truncated)
        sys.exit(1)


def write_track(writer: Writer, results: Iterator, name: str, frames: Frames,
                file: Path) -> Track:
    """Write a track, also if it is interrupted."""
    steps: Track = []
    copy = VideoWriter(writer.free('videos', f'{Path(name).stem}{FORMAT}'),
                       frames.fps)
    with engine.exit_on_interrupt(lambda: (
            f'Interrupted: {len(steps)} frames done, in {writer.file}.')), \
            writer:
        try:
            with engine.counting_bar(name, frames.total) as step:
                for number, result in enumerate(results, 1):
                    steps.append(result.without_image())
                    if writer.pictures:
                        writer.later(copy.add, result)
                    writer.record((number, ), [
                        dict(record, file_name=name, image_id=number)
                        for record in result.json()])
                    step()
        finally:
            writer.wait()
            copy.close()
            file.write_text(''.join(
                result.lines(number) for number, result in
                enumerate(steps, 1)))
    return steps


def report_track(steps: Track) -> None:
    rate = len(steps) / sum(step.seconds for step in steps)
    if isinstance(steps[0], SOTResult):
        uncertain = sum(not step.is_confident for step in steps)
        text = f'{uncertain} uncertain (dashed)'
    else:
        number = len({identity for step in steps
                      for identity in step.identities.tolist()})
        text = f'{number} {"object" if number == 1 else "objects"}'
    engine.show(f'\n{len(steps)} frames, the model took {rate:.1f} per '
                f'second; {text}.')


def main() -> None:
    args = parse_args()
    engine.load_safely(os.environ)
    with (engine.one_line_errors('predict.py'),
          engine.quiet_screen()):
        if args.json:
            engine.check_new(args.json)
        engine.tell_of_compiling(args)
        if args.track or args.box or args.detector:
            track(args)
            return
        run, inputs = predict(args)
        print_summary(run)
        if args.profile:
            show_profile(run.predictor, inputs.images)
        sys.exit(bool(run.failed))


if __name__ == '__main__':
    main()
