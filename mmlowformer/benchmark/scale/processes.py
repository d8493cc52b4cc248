"""Run commands, and measure their time and memory."""
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# The peak memory of a process is at least that of the one which started it.
# Therefore this small one does, and prints what the kernel has counted.
STARTER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=2)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps(dict(
    status=os.waitstatus_to_exitcode(status),
    seconds=usage.ru_utime + usage.ru_stime,
    mebibytes=usage.ru_maxrss / (2**20 if sys.platform == 'darwin'
                                 else 2**10))))
"""


class Processes:
    """Runs commands in several threads; leaving it ends all of them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self.stopped = False

    def __enter__(self) -> 'Processes':
        return self

    def __exit__(self, *_) -> None:
        self.stopped = True
        for process in list(self._running):
            _end(process)

    def measure(self, command: Sequence, folder: Path) -> dict:
        """Run Python; return ``seconds`` of the CPU and ``mebibytes``.

        The result of a command that fails is a ``failure``, its last line.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, '-I', '-S', '-c', STARTER, sys.executable,
                 *map(str, command)], cwd=folder, stdout=subprocess.PIPE,
                stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=dict(os.environ, XDG_CACHE_HOME=str(folder / 'cache')))
            self._running.add(process)
            try:
                printed, _ = process.communicate()
            except BaseException:
                _end(process)
                raise
            finally:
                self._running.remove(process)
            output.seek(0)
            words = output.read().decode(errors='replace').split('\n')
        result = json.loads(printed or '{"status": "killed"}')
        if status := result.pop('status'):
            lines = [line for line in words if line.strip()]
            return dict(failure=f'status {status}: {"".join(lines[-1:])}')
        return result


def _end(process: subprocess.Popen) -> None:
    """End a process and those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
