"""Predict boxes, masks or labels of images and videos.

--track tracks all objects of a video with a detector; --box tracks one object
with a trained tracker.
"""
import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from itertools import chain, count
from pathlib import Path

import _ctrl_c  # noqa: F401
from mmengine.device import get_device

from mmlowformer import engine, predict, tracking
from mmlowformer.engine import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    if '--merge' not in sys.argv:
        parser.add_argument('checkpoint', help='checkpoint with its config, '
                            'work dir, or folder of an exported model')
        parser.add_argument('inputs', nargs='+', metavar='input',
                            help='images, videos, folders, globs, text files '
                            'with one path per line, camera numbers, or - '
                            'for paths on the standard input')
    predict.add_model_arguments(parser)
    parser.add_argument('--out', metavar='DIR',
                        help='output folder, new or empty (default: '
                        'predictions, or predictions-2 and so on)')
    parser.add_argument('--resume', action='store_true',
                        help='continue the run in the folder of --out, with '
                        'the same inputs and settings; starts one if the '
                        'folder has none')
    engine.add_launcher_arguments(parser)
    parser.add_argument('--shard', type=predict.Shard.parse, metavar='I/N',
                        help='predict part I of N, from 1 to N, of the '
                        'inputs, as a job of an array')
    parser.add_argument('--merge', nargs='+', metavar='DIR',
                        help='merge the results of --shard in these folders '
                        'into --out (default: the first of them)')
    parser.add_argument('-r', '--recursive', action='store_true',
                        help='include sub-folders')
    parser.add_argument('--profile', action='store_true',
                        help='also time reading, preparing, the network and '
                        'the rest (decoding, NMS), one image at a time')
    engine.rename_option(parser, '--stages', '--profile')
    parser.add_argument('--save-crops', action='store_true',
                        help='write the content of each box as a picture')
    parser.add_argument('--json', nargs='?', const='', metavar='FILE',
                        help='file of all results in one list (default: '
                        'predictions.json in DIR, for up to 100 MB, or for '
                        'any number without FILE)')
    parser.add_argument('--no-pictures', action='store_true',
                        help='write no pictures and videos')
    parser.add_argument('--ann-file', metavar='F',
                        help='COCO annotations, whose ids of images and '
                        'categories the results use')
    predict.add_label_arguments(parser)
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

    def __init__(self, predictor: predict.Predictor, writer: predict.Writer,
                 folder: predict.ResultsFolder, processes: int = 1):
        self.predictor, self.writer = predictor, writer
        self.folder, self.processes = folder, processes
        self.done = self.failed = self.frames = 0
        self.started = time.perf_counter()

    def images(self, paths: list[str]) -> None:
        names = predict.short_names(paths)
        files = predict.distinct_names(names, predict.picture_name)
        positions = self.folder.left(range(len(paths)))
        # The others are as fast, since no process has other kinds of images.
        stage, speed = 'Images', self.processes
        if speed > 1:
            stage = f'Images of {speed} processes, estimated'
        with engine.counting_bar(stage, len(positions) * speed) as step:
            for item in self.predictor.stream(map(paths.__getitem__,
                                                  positions)):
                position = positions[item.position]
                try:
                    self.writer.add(position, names[position], item.get(),
                                    files[position])
                    self.done += 1
                    show(names[position], item.get().line())
                except UserError as error:
                    self._skip(error)
                step(speed)
                del item  # The next scene needs its memory.

    def videos(self, sources: list[str], first: int) -> None:
        names = predict.video_names(sources)
        files = predict.distinct_names(names, predict.copy_name)
        for position in self.folder.left(range(first, first + len(sources))):
            index = position - first
            self.video(sources[index], names[index], position, files[index])

    def video(self, source: str, name: str, position: int, file: str) -> None:
        try:
            video = predict.VideoReader(source)
            started = time.perf_counter()
            try:
                self._frames(video, name, position, file)
            finally:
                rate = video.frames / (time.perf_counter() - started)
                show(name, f'{engine.counted(video.frames, "frame")}, '
                     f'{rate:.1f} per second')
            self.done += 1
        except UserError as error:
            self._skip(error)

    def _frames(self, video: predict.VideoReader, name: str, position: int,
                file: str) -> None:
        names = (f'{name}, frame {number}' for number in count(1))
        with (self.writer.video(name, video.fps, position, file) as add,
              engine.counting_bar(name, video.total) as step):
            for item in self.predictor.stream(video, names):
                add(item.position, item.get())
                self.frames += 1
                step()
            if truncated := predict.truncation(video.source, video.frames,
                                               video.total):
                raise UserError(f'{truncated}; the results until then are '
                                'kept')

    def progress(self) -> str:
        frames = engine.counted(self.frames, 'frame')
        return f'{self.done} done' + (f', {frames}' if self.frames else '')

    def _skip(self, error: UserError) -> None:
        if isinstance(error, predict.UnwritableError):
            raise error
        self.failed += 1
        engine.show(engine.wrapped(f'Skipped: {error}', '  '), 'red')


def show(name: str, text: str) -> None:
    engine.show(engine.wrapped(f'{engine.printable(name)}  {text}', '  '))


def show_profile(predictor: predict.Predictor, images: list[str]) -> None:
    stages = predictor.profile(images)
    text = ', '.join(f'{name} {1e3 * seconds:.1f}'
                     for name, seconds in stages.items())
    total = 1e3 * sum(stages.values())
    engine.show_line('Profile', f'{total:.1f} ms from file to result: {text}')


def print_summary(run: Run) -> None:
    writer, seconds = run.writer, time.perf_counter() - run.started
    skipped = f', {run.failed} skipped (named above)' if run.failed else ''
    rate = (run.done + run.frames) / seconds
    engine.show(f'\n{run.done} of {run.done + run.failed} done{skipped}, in '
                f'{engine.format_duration(seconds)}, {rate:.1f} images per '
                'second.')
    for kind, number in sorted(writer.written.items()):
        engine.show_line(kind.capitalize(), f'{number} in '
                         f'{engine.short(writer.folder / kind)}')


def show_results(folder: predict.ResultsFolder) -> None:
    if not folder.is_merged:
        engine.show_line('Results', f'{engine.short(folder.results)}; the '
                         'last process to end, or --merge, merges all')
        return
    # The process that merges need not be the first.
    engine.show_line('Results', engine.short(folder.results), always=True)
    if folder.results == folder.lines:
        engine.show_line('Note', 'to write them as one list, in COCO\'s '
                         'format, add --resume --json')


def show_missing(folder: predict.ResultsFolder, inputs: Sequence[str] = ()
                 ) -> int:
    """Name inputs without results; return how many there are."""
    missing = folder.missing()
    if missing:
        names = [inputs[position] if inputs else f'input {position + 1}'
                 for position in missing[:3]]
        more = ', ...' if len(missing) > 3 else ''
        engine.show_line('Missing', f'{len(missing)} of {folder.count} inputs '
                         f'({", ".join(names)}{more}): --resume predicts them',
                         always=True)
    return len(missing)


def claim_folder(args: argparse.Namespace, inputs: Iterable[str]
                 ) -> AbstractContextManager[predict.ResultsFolder]:
    claim = partial(predict.claim_folder, default='predictions',
                    settings=predict.run_settings(args, inputs, (
                        'no_pictures', 'save_crops', 'track', 'box',
                        'detector')), resume=args.resume)

    def create() -> str:
        with claim(args.out) as folder:
            return str(folder.path)

    if args.launcher != 'none':
        args.out = engine.call_in_first_process(create)
    return claim(args.out, shard=args.shard)


def merge(args: argparse.Namespace) -> bool:
    """Merge the folders of shards; return whether results are missing."""
    with predict.merge_folders(args.merge, args.out) as folder:
        with folder.finishing(args.json):
            pass
        show_results(folder)
        return bool(show_missing(folder))


def show_complete(args: argparse.Namespace, inputs: Iterable[str]) -> bool:
    """Show the results of a run that is resumed, if nothing is left."""
    if not args.resume or args.shard or not Path(
            args.out, predict.RUN).exists():
        return False
    with claim_folder(args, inputs) as folder:
        if folder.left(range(folder.count)):
            return False
        with folder.finishing(args.json):
            engine.show('\nAll inputs are complete already.')
        show_results(folder)
    return True


def predict_inputs(args: argparse.Namespace) -> int:
    """Predict images and videos; return how many failed."""
    processes = args.shard.world if args.launcher != 'none' else 1
    inputs = predict.collect_inputs(args.inputs, recursive=args.recursive)
    if args.profile and not inputs.images:
        raise UserError('--profile is for images: name some')
    predict.check_label_inputs(args, inputs)
    if not (args.profile or args.save_as or args.uncertain) and show_complete(
            args, chain(inputs.images, inputs.videos)):
        return 0
    predictor = predict.build_predictor(args)
    ids = predict.CocoIdMapper(args.ann_file, predictor.classes)
    engine.describe_model(predictor.module, args.checkpoint)
    for note in inputs.notes:
        engine.warn(note)
    with claim_folder(args, chain(inputs.images, inputs.videos)) as folder:
        if folder.done:
            engine.show_line('Resumed', f'{len(folder.done)} of the inputs '
                             'are done')
        run = Run(predictor, predict.Writer(
            folder.lines, ids, folder.path, pictures=not args.no_pictures,
            crops=args.save_crops,  # Scenes do not wait: they fill the memory.
            ahead=0 if args.tile_size else args.batch_size + 1),
            folder, processes)
        with engine.exit_on_interrupt(lambda: (
                f'Interrupted: {run.progress()}, in {folder.results}.')), \
                folder.finishing(args.json), run.writer:
            if inputs.images:
                run.images(inputs.images)
            run.videos(inputs.videos, len(inputs.images))
        print_summary(run)
        show_results(folder)
        predict.save_labels(args, folder, inputs.images, predictor.classes)
        if args.shard and folder.is_merged:
            run.failed = show_missing(folder, [*inputs.images, *inputs.videos])
        elif processes > 1:
            # An error would end the other processes.
            run.failed = 0
    if args.profile:
        show_profile(predictor, inputs.images)
    return run.failed


def single_results(args: argparse.Namespace, frames: tracking.Frames,
                   name: str) -> Iterator[tracking.SOTResult]:
    box = None
    if args.box and args.box != 'window':
        box = tracking.parse_box(args.box)
    model = predict.load_model(
        args.checkpoint, args.config, device=args.device or get_device(),
        deploy=engine.deploy_settings(args), trust_config=args.trust_config)
    tracker = tracking.require_tracker(model.module)
    engine.describe_model(tracker, args.checkpoint)
    others = iter(frames.images)
    first = next(others)
    if box is None:
        box = (tracking.draw_box(first) if args.box else tracking.detect_box(
            first, args.detector, device=args.device,
            trust_config=args.trust_config))
    return tracking.track_object(tracker, chain([first], others), box, name,
                                 args.score_thr)


def multi_results(args: argparse.Namespace, frames: tracking.Frames,
                  name: str) -> Iterator[tracking.MOTResult]:
    for option in ('profile', 'save_crops', 'ann_file', 'gallery'):
        if getattr(args, option):
            raise UserError(f'--{option.replace("_", "-")} is for images, '
                            'not for --track')
    predictor = predict.build_predictor(args)
    if predictor.tracker and args.score_thr is not None:
        raise UserError("--score-thr is for detectors; the config's "
                        f'{predictor.tracker["type"]} has thresholds of its '
                        'own')
    engine.describe_model(predictor.module, args.checkpoint)
    return tracking.track_objects(predictor, frames.images, name)


def track(args: argparse.Namespace) -> None:
    """Track one object, or all, of a video or a folder of frames."""
    option = next(name for name in ('track', 'box', 'detector')
                  if getattr(args, name))
    if len(args.inputs) != 1:
        raise UserError(f'--{option} is for one video, not for '
                        f'{len(args.inputs)} inputs')
    source, = args.inputs
    if show_complete(args, [source]):
        return
    frames, name = tracking.open_frames(source), Path(source).name or 'frames'
    results: Iterator = (multi_results if args.track else single_results)(
        args, frames, name)
    # Errors in the first frame are raised before anything is written.
    results = chain([next(results)], results)
    with claim_folder(args, [source]) as folder:
        writer = predict.Writer(folder.lines, predict.CocoIdMapper(),
                                pictures=not args.no_pictures)
        file = folder.path / (
            tracking.TRACKS if args.track else tracking.BOXES)
        summary = tracking.TrackSummary()
        with engine.exit_on_interrupt(lambda: (
                f'Interrupted: {summary.frames} frames done, in '
                f'{folder.results}.')), \
                folder.finishing(args.json), writer:
            write_track(writer, results, name, frames, file, summary)
        engine.show(f'\n{summary}')
        for label, path in (('Video', folder.path / 'videos'),
                            ('Tracks' if args.track else 'Boxes', file)):
            if path.exists():
                engine.show_line(label, engine.short(path))
        show_results(folder)
    if truncated := predict.truncation(source, summary.frames, frames.total):
        engine.warn(truncated)
        sys.exit(1)


def write_track(writer: predict.Writer, results: Iterator, name: str,
                frames: tracking.Frames, file: Path,
                summary: tracking.TrackSummary) -> None:
    """Write a track, each frame as it comes."""
    with (closing(predict.LineFile(file, 'wb')) as lines,
          writer.video(name, frames.fps) as add,
          engine.counting_bar(name, frames.total) as step):
        for index, result in enumerate(results):
            writer.later(lines.add, result.lines(index + 1).encode())
            add(index, result)
            summary.add(result)
            step()


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    with (engine.one_line_errors('predict.py'),
          engine.quiet_screen()):
        if args.resume and not args.out:
            raise UserError('--resume needs the folder of the run: name it '
                            'with --out')
        predict.check_json_file(args)
        predict.check_label_options(args)
        if args.merge:
            sys.exit(merge(args))
        predict.check_shard_options(args)
        if args.launcher != 'none':
            args.shard = predict.Shard(*engine.start_processes(args.launcher))
        engine.print_compile_note(args)
        if args.track or args.box or args.detector:
            track(args)
            return
        sys.exit(bool(predict_inputs(args)))


if __name__ == '__main__':
    main()
