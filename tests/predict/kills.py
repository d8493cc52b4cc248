"""Predict again and again with --resume, and kill most of the processes.

Run as a program, as forks of a process with threads could wait for ever.
"""
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

# The tool imports them, too; none has started a thread yet.
import mmdet.apis  # noqa: F401
from PIL import Image

from mmlowformer import engine, predict, tracking  # noqa: F401


def start(command: list[str], out: Path) -> int:
    """Run the tool in a fork, up to its claim of the folder."""
    process = os.fork()
    if process:
        return process
    sys.argv = command
    sys.path.append(os.path.dirname(command[0]))
    status = 1
    log = os.open(f'{out}.log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(command: list[str], out: Path) -> float:
    """Run the tool to its end; return the seconds since the claim."""
    process = start(command, out)
    claimed = wait_for_claim(process, out)
    assert wait(process) == 0, Path(f'{out}.log').read_text()
    return time.perf_counter() - claimed


def wait_for_claim(process: int, out: Path) -> float:
    """Wait until the lock names the process."""
    lock = out / '.predictions.lock'
    while not (lock.exists() and f'process {process} ' in lock.read_text()):
        ended = os.waitid(os.P_PID, process,
                          os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert ended is None, Path(f'{out}.log').read_text()
        time.sleep(0.001)
    return time.perf_counter()


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
    lines = []
    if (out / 'predictions.jsonl').exists():
        # All but a torn last line.
        lines = [json.loads(line) for line in (
            out / 'predictions.jsonl').read_bytes().split(b'\n')[:-1]]
    for video in out.glob('videos/*'):
        capture, frames = cv2.VideoCapture(str(video)), 0
        while capture.read()[0]:
            frames += 1
        written = max(line.get('frame', line.get('frames', 0))
                      for line in lines)
        assert frames >= written - 13, (frames, written)
    return len(lines)


def main() -> None:
    kills, seed, out, *command = sys.argv[1:]
    out, generator = Path(out), random.Random(int(seed))
    command += ['--out', str(out), '--resume']
    seconds = run(command, out)
    whole = contents(out)
    total = check(out)
    shutil.rmtree(out)
    killed, seen = 0, set()
    while killed < int(kills):
        process = start(command, out)
        wait_for_claim(process, out)
        time.sleep(generator.uniform(0, seconds / 3))
        os.kill(process, signal.SIGKILL)
        if wait(process) == -signal.SIGKILL:
            killed += 1
            seen.add(check(out))
        else:
            compare(contents(out), whole)
            shutil.rmtree(out)
    run(command, out)
    assert check(out) == total
    compare(contents(out), whole)
    print(f'{killed} kills, after {sorted(seen)} of {total} lines')


if __name__ == '__main__':
    main()
