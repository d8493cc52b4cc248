"""Run programs that import OpenMMLab's libraries, without waiting for torch.

A process imports torch, MMEngine and mmcv once, and forks for each program.
"""
import json
import os
import subprocess
import sys
import traceback
from importlib import import_module

# What most programs import first. Nothing of mmlowformer is.
COMMON = ('torch', 'mmengine.runner', 'mmcv.cnn')
SERVER = 'from tests.forks import serve; serve()'


class ForkingPython:
    """Runs programs as ``python -c`` does, in forks of one process."""

    def __init__(self, root):
        self.server = subprocess.Popen(
            [sys.executable, '-c', SERVER], cwd=root, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, program, *arguments, cwd, folder):
        """Run a program; files in ``folder`` take what it prints."""
        request = dict(program=program, arguments=arguments, cwd=str(cwd),
                       files=[str(folder / 'stdout'), str(folder / 'stderr')])
        self.server.stdin.write(json.dumps(request) + '\n')
        self.server.stdin.flush()
        status = int(self.server.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, status, *((folder / name).read_text()
                                 for name in ('stdout', 'stderr')))

    def close(self):
        """End the server at once, as torch takes seconds to clean up."""
        self.server.kill()
        self.server.communicate()


def serve():
    """Fork for each request of standard input, and tell the status."""
    for name in COMMON:
        import_module(name)
    # Where the server starts; programs have a folder of their own.
    sys.path.remove('')
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(program, arguments, cwd, files):
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    sys.argv = ['-c', *arguments]
    sys.path.insert(0, '')
    status = 0
    try:
        exec(compile(program, '<string>', 'exec'), {'__name__': '__main__'})
    except SystemExit as end:
        status = end.code or 0
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status
