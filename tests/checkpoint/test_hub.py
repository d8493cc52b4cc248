"""Downloads from a hub, which is a server on this machine."""
import http.server
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save

from mmlowformer import LowFormer, engine
from mmlowformer.engine import UserError
from mmlowformer.utils.checkpoint_schemes import fetched, published_weights

from ..hub import fill_cache

NAME = 'hf-hub:timm/lowformer_b1.in1k'
CONTENT = save(dict(weight=torch.arange(300_000.)))


def load():
    return CheckpointLoader.load_checkpoint(NAME)['weight'][-1].item()


def test_downloads_once(hub, log):
    hub.publish('b1', CONTENT)
    assert load() == load() == 299_999
    assert hub.downloads() == [None]
    assert 'Downloading hf-hub:timm/lowformer_b1.in1k (1 MB)' in log.text
    # A filled cache needs no hub.
    hub.files.clear()
    requests = len(hub.requests)
    assert load() == 299_999
    assert len(hub.requests) == requests


def test_one_process_downloads_for_all(hub):
    hub.publish('b1', CONTENT)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: load(), range(4)))) == 1
    assert hub.downloads() == [None]


def test_a_lost_connection_is_resumed(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, 'DOWNLOAD_CHUNK_SIZE',
                        100_000)
    hub.publish('b1', CONTENT)
    hub.lose_connection_after = 500_000
    assert load() == 299_999
    assert hub.downloads() == [None, 'bytes=500000-']


def test_a_damaged_download_is_refused(hub):
    hub.publish('b1', CONTENT)
    hub.damaged = True
    with pytest.raises(UserError, match='arrived damaged and was deleted'):
        load()
    hub.damaged = False
    assert load() == 299_999


def test_unknown_repository(hub):
    with pytest.raises(UserError, match='lowformer_b1.in1k could not be fetc'
                       f'hed .*Download {hub.url}/timm/lowformer_b1.in1k/'
                       'resolve/main/model.safetensors by hand'):
        load()


def test_offline_with_and_without_a_filled_cache():
    with pytest.raises(UserError, match='Download https://huggingface.co/timm/'
                       'lowformer_e1.in1k/resolve/main/model.safetensors by '):
        engine.check_checkpoint('hf-hub:timm/lowformer_e1.in1k')
    fill_cache('e1')
    LowFormer('e1', init_cfg=dict(
        type='Pretrained', checkpoint='hf-hub:timm/lowformer_e1.in1k')
              ).init_weights()


def test_without_the_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match='pip install huggingface_hub safeten'):
        engine.check_checkpoint(NAME)


def test_a_cache_that_cannot_be_written(hub):
    hub.publish('b1', CONTENT)
    hub.cache.write_text('no folder')
    with pytest.raises(UserError, match='could not be kept .*HF_HOME'):
        load()


@pytest.mark.parametrize(('arch', 'name'), [
    ('b1', NAME), ('B1.5', 'hf-hub:timm/lowformer_b15.in1k'),
    ('b2', None), ('b1_unfused', None), (dict(variant='b1'), None)])
def test_published(arch, name):
    assert published_weights(arch) == name


class Ranges(http.server.BaseHTTPRequestHandler):
    """Sends parts of a file; the first connection is lost."""

    asked = []
    lost = None
    etag = '"1"'

    def do_GET(self):
        self.asked.append(self.headers['Range'])
        start = 0
        if self.headers['If-Range'] == self.etag:
            start = int(re.search(r'\d+', self.headers['Range']).group())
        self.send_response(206 if start else 200)
        self.send_header('ETag', self.etag)
        self.send_header('Content-Length', str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:self.lost])

    def log_message(self, *_):
        pass


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(Ranges, 'asked', [])
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Ranges) as server:
        threading.Thread(target=server.serve_forever, args=(0.01, ),
                         daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/b1.safetensors'
        server.shutdown()


def test_a_url_is_resumed(url, monkeypatch, log):
    monkeypatch.setattr(Ranges, 'lost', 500_000)
    with pytest.raises(UserError, match='ended after 500000 of 1200'):
        fetched(url)
    monkeypatch.setattr(Ranges, 'lost', None)
    assert fetched(url).read_bytes() == CONTENT
    assert Ranges.asked[-1] == 'bytes=500000-'
    assert 'from byte 500000 on' in log.text


def test_a_url_that_changed_starts_anew(url, monkeypatch):
    monkeypatch.setattr(Ranges, 'lost', 500_000)
    with pytest.raises(UserError, match='ended after'):
        fetched(url)
    monkeypatch.setattr(Ranges, 'lost', None)
    monkeypatch.setattr(Ranges, 'etag', '"2"')
    assert fetched(url).read_bytes() == CONTENT


def test_one_process_downloads_a_url(url, log):
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(lambda _: fetched(url), range(4)))
    file, = files
    assert file.read_bytes() == CONTENT
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert log.text.count(f'Downloading {url}') == 1
