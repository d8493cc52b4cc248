"""Images of servers and of object storage."""
import functools
import http.server
import os
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine import fileio

from mmlowformer.errors import UserError

from ..helpers import PREDICT, ROOT
from .test_predictor import same


@pytest.fixture
def storage(find_boxes, photos):
    """The contents of the storage of docs/scale.md, ``mine://``."""
    page = (ROOT / 'docs/scale.md').read_text(encoding='utf-8')
    snippet, = re.findall(r'```python\n(from mmengine.*?)```', page, re.S)
    contents = {'mine://bucket/a.jpg': Path(photos[0]).read_bytes()}
    try:
        exec(snippet, dict(predictor=find_boxes, my_client=SimpleNamespace(
            download=contents.__getitem__)))
        yield contents
    finally:
        registered = fileio.backends.registry_utils
        registered.backends.pop('mine')
        registered.prefix_to_backends.pop('mine')


def test_images_of_a_storage(run_here, detector, find_boxes, photos, storage,
                             tmp_path):
    urls = [f'mine://bucket/{os.path.basename(photo)}' for photo in photos]
    for url, photo in zip(urls, photos):
        storage[url] = Path(photo).read_bytes()
    same(find_boxes(urls[0]), find_boxes(photos[0]))
    with pytest.raises(UserError, match=r'mine://bucket/gone.jpg cannot be'):
        find_boxes('mine://bucket/gone.jpg')
    with pytest.raises(UserError, match='image none://a.jpg cannot be read'):
        find_boxes('none://a.jpg')
    (tmp_path / 'list.txt').write_text('\n'.join(
        [*urls, 'mine://bucket/gone.jpg']))
    result = run_here(PREDICT, detector, 'list.txt', cwd=tmp_path)
    assert result.returncode == 1
    assert '4 of 5 done' in result.stdout
    assert (tmp_path / 'predictions/pictures'
            / os.path.basename(photos[0])).exists()


def test_images_of_a_web_server(find_boxes, photos):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler,
                                directory=os.path.dirname(photos[0]))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f'http://127.0.0.1:{server.server_port}/'
            same(find_boxes(url + os.path.basename(photos[0])),
                 find_boxes(photos[0]))
            with pytest.raises(UserError, match=r'gone.jpg cannot be .* 404'):
                find_boxes(url + 'gone.jpg')
        finally:
            server.shutdown()
