"""SECURITY.md's promise, over all ways in which a checkpoint is loaded."""
import copy
import http.server
import json
import os
import pickle
import threading
from functools import partial
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import CheckpointLoader, Runner
from torch.utils.data import DataLoader

from mmlowformer import LowFormer, engine
from mmlowformer.checkpoint.conversion import convert
from mmlowformer.engine import UserError
from mmlowformer.utils.safe_load import first_nonfinite

from ..models.test_lowformer import SMALL
from .test_checkpoints import RUNNER_CHECKPOINT, RunsCode

pytestmark = pytest.mark.usefixtures('safe_loading')


@pytest.mark.parametrize(('folder', 'reason'), [
    ('file', 'Not a directory'), ('/proc/self', 'No such file'),
    ('/dev/full', 'Not a directory')])
def test_a_cache_that_cannot_be_written(
        folder, reason, url_of, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / folder))
    file = save_filled(tmp_path / 'epoch_5.pth', 0)
    with pytest.raises(UserError, match=f'{reason}.*TORCH_HOME'):
        by_the_tools(url_of(file))


def test_a_full_cache(url_of, tmp_path, monkeypatch):
    # Python 3.14 would make a partial a method.
    monkeypatch.setattr(Path, 'open',
                        staticmethod(partial(open, '/dev/full')))
    file = save_filled(tmp_path / 'epoch_5.pth', 0)
    with pytest.raises(UserError, match='No space left.*TORCH_HOME'):
        by_the_tools(url_of(file))


ENTRY = dict(dtype='F32', shape=[4], data_offsets=[0, 16])


@pytest.mark.parametrize(('header', 'length'), [
    (b'', 0), (b'{}', 2**63), (b'{}', 10**9), (b'{nope', None),
    (b'{"a":' * 100_000, None), (b'[]', None), (b'null', None),
    (dict(a=ENTRY, b=ENTRY), None),
    (dict(a=dict(ENTRY, data_offsets=[16, 0])), None),
    (dict(a=dict(ENTRY, data_offsets=[0, 8])), None),
    (dict(a=dict(ENTRY, dtype='X9')), None),
    (dict(a=dict(ENTRY, dtype=3)), None),
    (dict(a=dict(ENTRY, shape=[2**62, 8])), None),
    (dict(a=dict(ENTRY, shape='4')), None),
    (dict(__metadata__=dict(a=1), a=ENTRY), None), ({}, None)])
def test_hostile_headers(header, length, tmp_path):
    file = tmp_path / 'a.safetensors'
    header = header if isinstance(header, bytes) else json.dumps(
        header).encode()
    length = len(header) if length is None else length
    file.write_bytes(length.to_bytes(8, 'little') + header + bytes(16))
    with pytest.raises(UserError, match='a.safetensors') as error:
        engine.check_checkpoint(file)
    assert len(str(error.value).splitlines()) == 1


def test_more_dimensions_than_torch_computes_with():
    state = dict(a=torch.ones(1).as_strided([1] * 100, [0] * 100))
    assert first_nonfinite(state) is None


class Toy(BaseModel):

    def __init__(self):
        super().__init__()
        self.backbone = LowFormer(SMALL)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.backbone(inputs)[-1].mean())


@pytest.fixture
def url_of(tmp_path, monkeypatch):
    """A file of the folder, served on this machine."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'downloads'))
    handler = partial(http.server.SimpleHTTPRequestHandler,
                      directory=tmp_path)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda file: (f'http://127.0.0.1:{server.server_port}/'
                        f'{file.relative_to(tmp_path)}')
    server.shutdown()
    server.server_close()


def run(file, source, tmp_path, **kwargs):
    model = Toy()
    runner = Runner(
        model, str(tmp_path / 'work'), experiment_name='test',
        train_dataloader=DataLoader([torch.zeros(3, 32, 32)] * 2),
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), 0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        load_from=source, **kwargs)
    runner.train_loop  # noqa: B018  # built by the look-up
    runner.load_or_resume()


def resume_the_last(file, source, tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    (folder / 'last_checkpoint').write_text(str(file))
    run(file, None, tmp_path, resume=True)


def initialize(file, source, tmp_path):
    LowFormer(SMALL, init_cfg=dict(
        type='Pretrained', checkpoint=source)).init_weights()


def initialize_a_part(file, source, tmp_path):
    LowFormer(SMALL, init_cfg=dict(
        type='Pretrained', checkpoint=source, prefix='backbone.')
              ).init_weights()


WAYS = dict(
    check=lambda file, source, tmp_path: engine.check_checkpoint(source),
    check_resumable=lambda file, source, tmp_path: engine.check_resumable(
        source),
    convert=lambda file, source, tmp_path: convert(
        source, str(tmp_path / 'target.pth')),
    initialize=initialize,
    initialize_a_part=initialize_a_part,
    load_from=run,
    resume=partial(run, resume=True),
    resume_the_last=resume_the_last)
OF_A_URL = ('initialize', 'initialize_a_part', 'load_from', 'resume')


@pytest.fixture
def attempt(tmp_path, url_of):
    """Load in a way; whatever happens, nothing of the file may run."""

    def load(way, by_url, **changes):
        content = copy.deepcopy(RUNNER_CHECKPOINT) | dict(
            state_dict=Toy().state_dict(), optimizer=dict(
                state={}, param_groups=[dict(lr=0.1)]))
        content['meta'].update(changes.pop('meta', {}), epoch=1, iter=2)
        file = tmp_path / 'epoch_1.pth'
        torch.save(content | changes, file)
        source = url_of(file) if by_url else str(file)
        error = None
        try:
            WAYS[way](file, source, tmp_path)
        except Exception as raised:
            error = raised
        assert not (tmp_path / 'trace').exists()
        return error

    return load


def with_urls(ways):
    return [(way, by_url) for by_url in (False, True) for way in ways
            if not by_url or way in OF_A_URL]


@pytest.mark.parametrize(('way', 'by_url'), with_urls(WAYS))
def test_pickled_code(attempt, tmp_path, way, by_url):
    error = attempt(way, by_url, extra=RunsCode(
        os.system, (f'touch {tmp_path / "trace"}', )))
    assert isinstance(error, (UserError, pickle.UnpicklingError)), repr(error)


@pytest.mark.parametrize(('way', 'by_url'), with_urls(WAYS))
def test_python_config(attempt, tmp_path, way, by_url):
    """MMEngine executes it on resuming; it is dropped wherever it is read."""
    error = attempt(way, by_url, meta=dict(
        config=f"open({str(tmp_path / 'trace')!r}, 'w')\n"))
    if way in ('load_from', 'initialize', 'check'):
        assert error is None, repr(error)


def test_the_config_would_be_executed(attempt, tmp_path, monkeypatch):
    """Without the protection this is what resuming does."""
    monkeypatch.setattr('mmlowformer.utils.safe_load.strip_code',
                        lambda content: content)
    with pytest.raises(AssertionError, match='trace'):
        attempt('resume', False, meta=dict(
            config=f"open({str(tmp_path / 'trace')!r}, 'w')\n"))


def save_filled(file, value):
    file.parent.mkdir(exist_ok=True)
    torch.save(dict(weight=torch.full((2, ), float(value))), file)
    return file


def by_the_tools(url):
    return engine.check_checkpoint(engine.local_checkpoint(url))


@pytest.mark.parametrize('read', [
    by_the_tools, CheckpointLoader.load_checkpoint])
def test_urls_that_end_alike(read, url_of, tmp_path):
    urls = [url_of(save_filled(tmp_path / folder / 'epoch_5.pth', value))
            for value, folder in enumerate('ab')]
    urls += [f'{urls[0]}?token=1']
    assert [read(url)['weight'][0].item() for url in urls] == [0, 1, 0]


def test_replaced_behind_a_url(url_of, tmp_path):
    file = save_filled(tmp_path / 'epoch_5.pth', 0)
    assert by_the_tools(url_of(file))['weight'][0] == 0
    size = file.stat().st_size
    save_filled(file, 1)
    assert file.stat().st_size == size
    os.utime(file, (1, 1))
    assert by_the_tools(url_of(file))['weight'][0] == 1


def test_url_without_its_server(url_of, tmp_path, monkeypatch, log):
    file = save_filled(tmp_path / 'epoch_5.pth', 0)
    by_the_tools(url_of(file))

    def refuse(*_, **__):
        raise URLError(ConnectionRefusedError(111, 'Connection refused'))

    monkeypatch.setattr('mmlowformer.utils.checkpoint_schemes.urlopen', refuse)
    assert by_the_tools(url_of(file))['weight'][0] == 0
    assert 'the server cannot be reached (Connection refused)' in log.text
    with pytest.raises(UserError, match='other.pth could not be fetched'):
        by_the_tools(url_of(tmp_path / 'other.pth'))


def test_url_whose_file_is_gone(url_of, tmp_path):
    file = save_filled(tmp_path / 'epoch_5.pth', 0)
    by_the_tools(url_of(file))
    file.unlink()
    with pytest.raises(UserError, match='could not be fetched: 404'):
        by_the_tools(url_of(file))
