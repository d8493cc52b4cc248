"""A hub of weights on this machine, and a filled cache of the real one."""
import hashlib
import http.server
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
from safetensors.torch import save_file

from mmlowformer import LowFormer

COMMIT = '0' * 40
PATH = re.compile(
    r'/(timm/lowformer_\w+\.in1k)/resolve/main/model\.safetensors')


class Hub:
    """Answers as the Hugging Face hub does, and counts what it is asked."""

    def __init__(self, cache):
        self.cache = cache
        self.files = {}
        self.requests = []
        # What may go wrong.
        self.lose_connection_after = None
        self.damaged = False

    def publish(self, arch, content):
        """Put a file where timm has the weights of a variant."""
        self.files[f'timm/lowformer_{arch}.in1k'] = content

    def downloads(self):
        """The range of each request for a file."""
        return [part for method, path, part in self.requests
                if method == 'GET' and PATH.fullmatch(path)]


def handler_of(hub):
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            hub.requests.append(
                (self.command, self.path, self.headers['Range']))
            match = PATH.fullmatch(self.path)
            content = hub.files.get(match[1]) if match else None
            if content is None:
                self.send_response(404)
                self.send_header('X-Error-Code', 'RepoNotFound')
                self.end_headers()
                return b''
            sha256 = hashlib.sha256(content).hexdigest()
            start = int(re.sub(r'\D', '', self.headers['Range'] or '0'))
            self.send_response(206 if start else 200)
            self.send_header('ETag', f'"{sha256}"')
            self.send_header('X-Repo-Commit', COMMIT)
            self.send_header('Content-Length', str(len(content) - start))
            self.end_headers()
            return bytes(len(content)) if hub.damaged else content[start:]

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            content = self.answer()
            if PATH.fullmatch(self.path):
                content = content[:hub.lose_connection_after]
                hub.lose_connection_after = None
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def local_hub(cache, patch):
    """The hub of this process is one on this machine."""
    hub = Hub(cache)
    with http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), handler_of(hub)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01, ),
                         daemon=True).start()
        hub.url = f'http://127.0.0.1:{server.server_port}'
        # The package reads its environment once.
        patch.setenv('HF_ENDPOINT', hub.url)
        patch.setattr('huggingface_hub.constants.ENDPOINT', hub.url)
        patch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
                      hub.url + '/{repo_id}/resolve/{revision}/{filename}')
        patch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
        patch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(cache))
        try:
            yield hub
        finally:
            server.shutdown()


def fill_cache(*archs):
    """Random weights, where downloads of the published ones would be."""
    for arch in archs:
        folder = (Path(huggingface_hub.constants.HF_HUB_CACHE)
                  / f'models--timm--lowformer_{arch}.in1k')
        if not folder.exists():
            (folder / 'refs').mkdir(parents=True)
            (folder / 'snapshots' / COMMIT).mkdir(parents=True)
            save_file(LowFormer(arch).state_dict(), folder / 'snapshots'
                      / COMMIT / 'model.safetensors')
            (folder / 'refs/main').write_text(COMMIT)
