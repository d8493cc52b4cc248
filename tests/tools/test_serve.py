"""tools/serve.py, as users run it; tests/serve has the rest."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from mmlowformer.serve.server import listen

from ..helpers import ROOT

SERVE = ROOT / 'tools/serve.py'


def test_from_start_to_ctrl_c(detector, photos, tmp_path):
    """In a process of its own."""
    process = subprocess.Popen(
        [sys.executable, SERVE, detector, '--port', '0', '--score-thr', '0.2',
         '--device', 'cpu'], cwd=tmp_path, text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shown = ''
    try:
        while 'Open http' not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        url, = re.findall(r'http://127\.0\.0\.1:\d+/', shown)
        with urllib.request.urlopen(f'{url}model', timeout=20) as answer:
            about = json.load(answer)
        assert about['threshold'] == 0.2
        assert about['least'] == 0.05
        with open(photos[0], 'rb') as photo, urllib.request.urlopen(
                f'{url}predict', photo.read(), timeout=60) as answer:
            assert json.load(answer)['width'] == 64
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert 'Traceback' not in rest
    assert '64x64' in rest
    assert rest.strip().splitlines()[-1] == 'Stopped after 1 image.'


def test_a_port_that_is_taken(error_here, detector, tmp_path):
    with listen('127.0.0.1', 0) as taken:
        port = taken.getsockname()[1]
        said = error_here(SERVE, detector, '--port', port, cwd=tmp_path)
    assert f'port {port} of 127.0.0.1' in said
    assert '--port 0' in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(('options', 'words'), [
    (('--max-megabytes', 0), '--max-megabytes'),
    (('--host', '203.0.113.1'), '203.0.113.1'),
    (('--port', 0, '--tile', 8), 'tile 8')])
def test_one_line_for_mistakes(error_here, detector, tmp_path, options,
                               words):
    said = error_here(SERVE, detector, *options, cwd=tmp_path)
    assert words in said
    assert 'serve.py: error: ' in said


def test_what_is_missing(error_here, detector, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    said = error_here(SERVE, detector, cwd=tmp_path)
    assert 'uvicorn is missing: pip install starlette uvicorn' in said


def test_who_else_can_reach_it(run_here, detector, tmp_path, monkeypatch):
    """A warning; nothing is served in this test."""
    def run(server):
        server._on_ready()

    monkeypatch.setattr('mmlowformer.serve.server.Server.run', run)
    result = run_here(SERVE, detector, '--host', '0.0.0.0', '--port', 0,
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    shown = ' '.join(result.stdout.split())
    assert 'Warning: --host 0.0.0.0: every machine' in shown
    assert f'http://{socket.gethostname()}:' in shown
