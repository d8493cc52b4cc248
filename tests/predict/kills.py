"""Predict again and again with --resume, and kill most of the processes.

Run as a program, as forks of a process with threads could wait for ever.
"""
import functools
import json
import os
import random
import runpy
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import cv2
from PIL import Image

from mmlowformer import engine, predict, tracking  # noqa: F401
from mmlowformer.predict import predictor


class Tool:
    """The command, in one process, or in several that share the inputs."""

    def __init__(self, command: list[str], out: Path, shards: int):
        self.out, self.commands = out, [command]
        self.locks = [out / '.predictions.lock']
        if shards > 1:
            numbers = range(1, shards + 1)
            self.commands = [[*command, '--shard', f'{number}/{shards}']
                             for number in numbers]
            self.locks = [
                out / f'parts/.predictions-{number}-of-{shards}.lock'
                for number in numbers]

    def start(self) -> list[int]:
        """Run all processes in forks, up to their claims of the folder."""
        processes = [self._fork(command) for command in self.commands]
        for process, lock in zip(processes, self.locks):
            while not self._is_locked(lock, process) and not os.waitid(
                    os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.001)
        return processes

    def _is_locked(self, lock: Path, process: int) -> bool:
        return lock.exists() and f'process {process} ' in lock.read_text()

    def _fork(self, command: list[str]) -> int:
        process = os.fork()
        if process:
            return process
        sys.argv = command
        sys.path.append(os.path.dirname(command[0]))
        status = 1
        log = os.open(f'{self.out}.log', os.O_WRONLY | os.O_CREAT |
                      os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            else:
                status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def end(self, processes: list[int]) -> list[int]:
        """Wait for processes, none of which may fail; return their codes."""
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                 for process in processes]
        assert {*codes} <= {0, -signal.SIGKILL}, Path(
            f'{self.out}.log').read_text()
        return codes


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their relative path."""
    return {str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob('*'))
            if file.is_file() and file.name[0] != '.'}


def compare(found: dict[str, bytes], whole: dict[str, bytes]) -> None:
    differing = [name for name in whole | found
                 if found.get(name) != whole.get(name)]
    assert not differing, differing


def check(out: Path) -> int:
    """What is there is valid; return the number of lines."""
    for file in [*out.glob('pictures/**/*.*'), *out.glob('masks/**/*.*'),
                 *out.glob('crops/**/*.*')]:
        if file.is_file():
            Image.open(file).load()
    # All but a torn last line.
    lines = [json.loads(line) for file in out.glob('**/*.jsonl')
             for line in file.read_bytes().split(b'\n')[:-1]]
    for video in out.glob('videos/*'):
        capture, frames = cv2.VideoCapture(str(video)), 0
        while capture.read()[0]:
            frames += 1
        written = max((line.get('frame', line.get('frames', 0))
                       for line in lines
                       if Path(line['file_name']).stem == video.stem),
                      default=0)
        assert frames >= written - 13, (frames, written)
    return len(lines)


def main() -> None:
    kills, seed, shards, out, *command = sys.argv[1:]
    out, generator = Path(out), random.Random(int(seed))
    tool = Tool([*command, '--out', str(out), '--resume'], out, int(shards))
    # The forks share the network and the imported libraries.
    predictor.load_model = functools.cache(predictor.load_model)
    predict.Predictor(command[1], device='cpu')
    processes, started = tool.start(), time.perf_counter()
    tool.end(processes)
    seconds = time.perf_counter() - started
    whole, total = contents(out), check(out)
    shutil.rmtree(out)
    killed, seen = 0, set()
    while killed < int(kills):
        processes = tool.start()
        for process in processes:
            time.sleep(generator.uniform(0, seconds / 3))
            os.kill(process, signal.SIGKILL)
        codes = tool.end(processes)
        killed += codes.count(-signal.SIGKILL)
        seen.add(check(out))
        if not any(codes):
            compare(contents(out), whole)
            shutil.rmtree(out)
    assert not any(tool.end(tool.start()))
    assert check(out) == total
    compare(contents(out), whole)
    print(f'{killed} kills, after {sorted(seen)} of {total} lines')


if __name__ == '__main__':
    main()
