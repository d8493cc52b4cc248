"""Find boxes, masks or labels in photos and videos with a trained model.

With --track it tells all objects of a video apart; with --box it follows one,
with a trained tracker.
"""
import argparse
import os
import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

import _ctrl_c  # noqa: F401
import numpy as np
from mmengine.device import get_device

from mmlowformer import engine
from mmlowformer.engine import UserError
from mmlowformer.errors import LONGEST_MESSAGE, printable
from mmlowformer.predict import Predictor
from mmlowformer.predict.arguments import add_model_arguments, predictor_of
from mmlowformer.predict.inputs import Inputs, collect, short_names
from mmlowformer.predict.trained_model import load_model
from mmlowformer.predict.video import (
    FORMAT,
    Video,
    VideoWriter,
    video_names,
)
from mmlowformer.predict.writer import Numbering, Writer, output_folder
from mmlowformer.tracking.predict_mot import TRACKS, Identified, identify
from mmlowformer.tracking.predict_sot import (
    BOXES,
    FrameFolder,
    Tracked,
    draw_box,
    follow,
    open_frames,
    parse_box,
    require_tracker,
)
from mmlowformer.tracking.template_tracker import check_box
from mmlowformer.utils.files import check_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='the checkpoint of a training, '
                        'which has its config in it, or the folder of an '
                        'exported model')
    parser.add_argument('inputs', nargs='+', metavar='input',
                        help='images, videos, folders, globs, text files '
                        'with a path in each line, numbers of cameras, or - '
                        'for paths on the standard input')
    add_model_arguments(parser)
    parser.add_argument('--out', metavar='DIR',
                        help='folder for all that is written, which may '
                        'be there if it is empty (default: predictions, or '
                        'predictions-2 and so on)')
    parser.add_argument('-r', '--recursive', action='store_true',
                        help='look into sub-folders, too')
    parser.add_argument('--stages', action='store_true',
                        help='also time reading, preparing, the network and '
                        'the rest (decoding, NMS), one image after the other')
    parser.add_argument('--save-crops', action='store_true',
                        help='write what is in each box as a picture')
    parser.add_argument('--json', nargs='?', metavar='FILE',
                        help='file of the results, which may not be there '
                        '(default: predictions.json in DIR)')
    parser.add_argument('--no-pictures', action='store_true',
                        help='draw nothing')
    parser.add_argument('--ann-file', metavar='F',
                        help="annotations in COCO's format, whose numbers of "
                        'images and categories the results take')
    first = parser.add_mutually_exclusive_group()
    first.add_argument('--track', action='store_true',
                       help='of a detector: give each object of a video, or '
                       'of a folder of frames, an identity and a trail')
    first.add_argument('--box', metavar='X,Y,W,H',
                       help='follow the object that is there in the first '
                       'frame: left, top, width and height in pixels, or '
                       '"window" to draw the box with the mouse')
    first.add_argument('--detector', metavar='F',
                       help='follow the object that this detector, a '
                       'checkpoint, is surest of in the first frame')
    parser.add_argument('--debug', action=engine.Debug, nargs=0,
                        help='show the tracebacks of errors, too')
    return parser.parse_args()


class Run:
    """One call of the tool."""

    def __init__(self, predictor: Predictor, writer: Writer):
        self.predictor, self.writer = predictor, writer
        self.done = self.failed = self.frames = 0
        self.started = time.perf_counter()

    def images(self, paths: list[str]) -> None:
        names = short_names(paths)
        with engine.counting_bar('Images', len(paths)) as step:
            for answer in self.predictor.stream(paths):
                try:
                    if answer.error:
                        raise answer.error
                    name = names[answer.position]
                    self.writer.add(answer.position, name, answer.result)
                    self.done += 1
                    engine.show(engine.wrapped(
                        f'{printable(name)}  {answer.result.line()}', '  '))
                except UserError as error:
                    self.failed += 1
                    tell_skipped(error)
                step()

    def video(self, source: str, name: str, position: int) -> None:
        try:
            video = Video(source)
            known = name.lower().endswith(FORMAT)
            copy = VideoWriter(
                self.writer.free('videos', name if known else name + FORMAT),
                video.fps)
            started = time.perf_counter()
            try:
                self._frames(video, copy, name, position)
            finally:
                # What was drawn so far is kept.
                self.writer.wait()
                copy.close()
                seconds = time.perf_counter() - started
                engine.show(engine.wrapped(
                    f'{printable(name)}  {video.frames} frames, '
                    f'{video.frames / seconds:.1f} per second', '  '))
            if (end := broken_off(source, video.frames, video.total)):
                raise UserError(f'{end}; what was read is kept')
            self.done += 1
        except UserError as error:
            self.failed += 1
            tell_skipped(error)

    def _frames(self, video: Video, copy: VideoWriter, name: str,
                position: int) -> None:
        names = (f'{name}, frame {number}' for number in count(1))
        with engine.counting_bar(name, video.total) as step:
            for answer in self.predictor.stream(video, names):
                if answer.error:
                    raise answer.error
                if self.writer.pictures:
                    self.writer.later(copy.add, answer.result)
                self.writer.record((position, answer.position), [
                    dict(record, file_name=name, image_id=answer.position + 1)
                    for record in answer.result.json()])
                self.frames += 1
                step()


def tell_skipped(error: UserError) -> None:
    said = printable(str(error), limit=LONGEST_MESSAGE)
    engine.show(engine.wrapped(f'Skipped: {said}', '  '), 'red')


def show_stages(predictor: Predictor, images: list[str]) -> None:
    stages = predictor.time_stages(images)
    total = sum(stages.values())
    engine.show(engine.line('Stages', f'{1e3 * total:.1f} ms from file to '
                            'result: ' + ', '.join(
                                f'{name} {1e3 * seconds:.1f}'
                                for name, seconds in stages.items())))


def print_summary(run: Run) -> None:
    writer, seconds = run.writer, time.perf_counter() - run.started
    skipped = f', {run.failed} skipped (named above)' if run.failed else ''
    total = run.done + run.failed
    rate = (run.done + run.frames) / seconds
    engine.show(f'\n{run.done} of {total} done{skipped}, in '
                f'{engine.format_duration(seconds)}, {rate:.1f} images per '
                'second.')
    for kind, number in sorted(writer.written.items()):
        engine.show(engine.line(kind.capitalize(), f'{number} in '
                                f'{engine.short(writer.folder / kind)}'))
    engine.show(engine.line('Results', engine.short(writer.file)))


def predict(args: argparse.Namespace) -> tuple[Run, Inputs]:
    inputs = collect(args.inputs, recursive=args.recursive)
    if args.stages and not inputs.images:
        raise UserError('--stages is for images, and there are none')
    folder = output_folder(args.out, 'predictions')
    predictor = predictor_of(args)
    numbering = Numbering(args.ann_file, predictor.classes)
    engine.describe_model(predictor.module, args.checkpoint)
    for note in inputs.notes:
        engine.warn(note)
    writer = Writer(folder, numbering, args.json,
                    pictures=not args.no_pictures, crops=args.save_crops,
                    ahead=args.batch_size + 1)
    run = Run(predictor, writer)
    with engine.exit_on_interrupt(lambda: (
            f'Interrupted: {run.done} done, in {writer.file}.')), writer:
        if inputs.images:
            run.images(inputs.images)
        names = video_names(inputs.videos)
        for position, (source, name) in enumerate(
                zip(inputs.videos, names), len(inputs.images)):
            run.video(source, name, position)
    return run, inputs


def first_box(args: argparse.Namespace, frame: np.ndarray) -> list[float]:
    if args.box == 'window':
        return draw_box(frame)
    if args.box:
        return parse_box(args.box)
    boxes = Predictor(args.detector, device=args.device,
                      trust_config=args.trust_config)(frame).boxes
    if not len(boxes):
        raise UserError(f'{args.detector} finds nothing in the first frame: '
                        'say with --box what to follow')
    left, top, right, bottom = boxes[0].tolist()
    return [left, top, right - left, bottom - top]


def only_input(args: argparse.Namespace, options: str) -> str:
    """The video, or folder of frames, in which something is followed."""
    if len(args.inputs) != 1:
        raise UserError(f'{options} for one video, not for '
                        f'{len(args.inputs)} inputs')
    return args.inputs[0]


def track(args: argparse.Namespace) -> None:
    """Follow one object of one video, or folder of frames."""
    source = only_input(args, '--box and --detector are')
    if args.box and args.box != 'window':
        parse_box(args.box)
    frames = open_frames(source)
    model = load_model(args.checkpoint, args.config,
                       device=args.device or get_device(),
                       deploy=engine.deploy_settings(args),
                       trust_config=args.trust_config)
    tracker = require_tracker(model.module)
    engine.describe_model(tracker, args.checkpoint)
    others = iter(frames)
    first = next(others)
    box = check_box(first_box(args, first), first.shape[:2])
    writer = Writer(output_folder(args.out, 'predictions'),
                    Numbering(None, model.classes), args.json,
                    pictures=not args.no_pictures)
    name = Path(source).name or 'frames'
    found = follow(tracker, chain([first], others), box, name,
                   args.score_thr)
    steps = write_track(writer, found, name, frames, BOXES)
    conclude_track(writer, steps, source, frames.total)


Step = TypeVar('Step', Tracked, Identified)


def write_track(writer: Writer, found: Iterator[Step], name: str,
                frames: Video | FrameFolder, lines: str) -> list[Step]:
    """What was followed so far is kept, whatever happens."""
    steps: list[Step] = []
    copy = VideoWriter(writer.free('videos', f'{Path(name).stem}{FORMAT}'),
                       frames.fps)
    with engine.exit_on_interrupt(lambda: (
            f'Interrupted: {len(steps)} frames done, in {writer.file}.')), \
            writer:
        try:
            with engine.counting_bar(name, frames.total) as step:
                for number, frame in enumerate(found, 1):
                    steps.append(frame.without_image())
                    if writer.pictures:
                        writer.later(copy.add, frame)
                    writer.record((number, ), [
                        dict(record, file_name=name, image_id=number)
                        for record in frame.json()])
                    step()
        finally:
            writer.wait()
            copy.close()
            (writer.folder / lines).write_text(''.join(
                frame.lines(number) for number, frame in enumerate(steps, 1)))
    return steps


def conclude_track(writer: Writer, steps: list[Tracked], source: str,
                   total: int | None) -> None:
    unsure = sum(not frame.is_sure for frame in steps)
    rate = len(steps) / sum(frame.seconds for frame in steps)
    engine.show(f'\n{len(steps)} frames, the tracker took {rate:.1f} per '
                f'second; {unsure} are unsure (dashed).')
    name_files(writer, 'Boxes', BOXES)
    exit_if_broken_off(source, len(steps), total)


def broken_off(source: str, frames: int, total: int | None) -> str | None:
    """What is said of a video whose end is missing."""
    # Some formats only estimate their number of frames, by one too many.
    if total is None or frames >= total - 1:
        return None
    return f'{source} ends after {frames} of the {total} frames that it ' \
        'announces'


def exit_if_broken_off(source: str, frames: int, total: int | None) -> None:
    if (end := broken_off(source, frames, total)):
        engine.warn(end)
        sys.exit(1)


def name_files(writer: Writer, label: str, lines: str) -> None:
    if writer.pictures:
        engine.show(engine.line('Video', engine.short(
            writer.folder / 'videos')))
    engine.show(engine.line(label, engine.short(writer.folder / lines)))
    engine.show(engine.line('Results', engine.short(writer.file)))


def track_all(args: argparse.Namespace) -> None:
    """Tell the objects of one video, or folder of frames, apart."""
    source = only_input(args, '--track is')
    for option in ('stages', 'save_crops', 'ann_file', 'gallery'):
        if getattr(args, option):
            raise UserError(f'--{option.replace("_", "-")} is for images one '
                            'by one, not for --track')
    frames = open_frames(source)
    predictor = predictor_of(args)
    if predictor.tracker and args.score_thr is not None:
        raise UserError("--score-thr is for detectors; the config's "
                        f'{predictor.tracker["type"]} has thresholds of its '
                        'own')
    engine.describe_model(predictor.module, args.checkpoint)
    name = Path(source).name or 'frames'
    found = identify(predictor, frames, name)
    # All that can be wrong shows before anything is written.
    first = next(found)
    writer = Writer(output_folder(args.out, 'predictions'),
                    Numbering(None, predictor.classes), args.json,
                    pictures=not args.no_pictures)
    started = time.perf_counter()
    steps = write_track(writer, chain([first], found), name, frames, TRACKS)
    rate = len(steps) / (time.perf_counter() - started)
    count = len({identity for frame in steps
                 for identity in frame.identities.tolist()})
    engine.show(f'\n{len(steps)} frames, {rate:.1f} per second; {count} '
                f'{"object" if count == 1 else "objects"}.')
    name_files(writer, 'Tracks', TRACKS)
    exit_if_broken_off(source, len(steps), frames.total)


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.one_line_errors('predict.py'),
          engine.quiet_screen()):
        if args.json:
            check_new(args.json)
        engine.tell_of_compiling(args)
        if args.box or args.detector:
            track(args)
            return
        if args.track:
            track_all(args)
            return
        run, inputs = predict(args)
        print_summary(run)
        if args.stages:
            show_stages(run.predictor, inputs.images)
        sys.exit(bool(run.failed))


if __name__ == '__main__':
    main()
