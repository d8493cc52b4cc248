"""The page's server, in this process, as a browser or worse talks to it."""
import base64
import http.client
import io
import json
import random
import socket
import struct
import threading
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmlowformer import Predictor
from mmlowformer.errors import UserError
from mmlowformer.predict import Classification
from mmlowformer.serve import Limits
from mmlowformer.serve.app import create_app
from mmlowformer.serve.limits import is_own_host, network_of
from mmlowformer.serve.responses import response_data
from mmlowformer.serve.server import Server, address, is_local, listen

LIMITS = Limits(megabytes=1, megapixels=1, waiting=2, seconds=2,
                connections_per_address=0)
QUICK = replace(LIMITS, seconds=1, idle_seconds=0.3, connections=4,
                connections_per_address=2)


class Running:
    """A server in a thread, and what it told."""

    def __init__(self, predictor, limits=LIMITS):
        self.told, ready = [], threading.Event()
        self.predictor = predictor
        self.socket = listen('127.0.0.1', 0)
        self.port = self.socket.getsockname()[1]
        app = create_app(predictor, dict(checkpoint='a.pth'), limits=limits,
                         names=('localhost', 'Photos.lan'),
                         on_result=self.told.append)
        self.server = Server(app, self.socket, limits, ready.set)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        assert ready.wait(10)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()
        assert not self.thread.is_alive()

    def ask(self, path='/predict', body=None, method='POST', **headers):
        connection = http.client.HTTPConnection('127.0.0.1', self.port,
                                                timeout=20)
        try:
            connection.request(method, path, body, {
                key.replace('_', '-'): value
                for key, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def found(self, photo):
        status, _, body = self.ask(body=photo)
        assert status == 200, body
        return json.loads(body)

    def refused(self, status, body=None, **options):
        """What the answer says, which has this status."""
        got, _, text = self.ask(body=body, **options)
        assert got == status, text
        return json.loads(text)['error']

    def connect(self, address='127.0.0.1', receives=None):
        """A connection of an address of this machine."""
        line = socket.socket()
        line.settimeout(20)
        if receives:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        line.bind((address, 0))
        line.connect(('127.0.0.1', self.port))
        return line

    def wait_until_unused(self):
        """Until all connections are closed on the server's side, too."""
        end = time.monotonic() + 5
        while self.server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.01)

    def raw(self, content):
        """Send bytes that may be anything, wait a little, and hang up."""
        with socket.create_connection(('127.0.0.1', self.port), 0.1) as line:
            try:
                line.sendall(content)
                return line.recv(1 << 16)
            except OSError:
                return b''


@pytest.fixture(scope='module')
def server(detector):
    running = Running(Predictor(detector, score_thr=0., device='cpu'))
    yield running
    running.stop()


@pytest.fixture(scope='module')
def photo(photos):
    with open(photos[0], 'rb') as stream:
        return stream.read()


def encoded(kind='PNG', size=(60, 40), mode='RGB', **options):
    stream = io.BytesIO()
    picture = Image.effect_noise(size, 80).convert(mode)
    picture.save(stream, kind, **options)
    return stream.getvalue()


def picture_of(url):
    """The image in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(',')[2])))


def test_boxes_are_those_of_a_prediction(server, photos, photo):
    found = server.found(photo)
    expected = server.predictor(photos[0])
    assert found['task'] == 'detection'
    assert (found['width'], found['height']) == (64, 64)
    np.testing.assert_array_equal(
        np.array([one['box'] for one in found['objects']], np.float32),
        expected.boxes)
    assert [one['name'] for one in found['objects']] == expected.names
    assert picture_of(found['picture']).size == (64, 64)
    assert server.told[-1].size == '64x64'


@pytest.mark.parametrize(('kind', 'mode', 'options'), [
    ('PNG', 'L', {}), ('PNG', 'RGBA', {}), ('PNG', 'P', {}), ('PNG', '1', {}),
    ('JPEG', 'CMYK', {}), ('GIF', 'P', {}), ('WEBP', 'RGB', {}),
    ('TIFF', 'RGB', {}), ('PNG', 'I;16', {}), ('BMP', 'RGB', {})])
def test_odd_images(server, kind, mode, options):
    found = server.found(encoded(kind, mode=mode, **options))
    assert picture_of(found['picture']).size == (60, 40)


def test_turned_images_are_upright(server):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = server.found(encoded('JPEG', exif=exif))
    assert (found['width'], found['height']) == (40, 60)
    assert picture_of(found['picture']).size == (40, 60)


def bomb(width, height):
    """A PNG file that says to be large."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(bytes(1000))),
              (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + kind + data
        + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in chunks)


@pytest.mark.parametrize(('content', 'words'), [
    (b'', '0 bytes'), (b'no image', 'no image of a supported'),
    (encoded()[:500], 'damaged'), (encoded('JPEG')[:800], 'damaged'),
    (bomb(1001, 1000), '1001x1000 pixels'),
    (bomb(60000, 60000), 'too large'),
    (encoded(size=(2010, 10)), '200 times the other'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'no image of'),
], ids=['empty', 'text', 'half', 'half a JPEG', 'large', 'bomb', 'long',
        'program'])
def test_what_is_no_photo(server, content, words):
    assert words in server.refused(422, content)
    assert words in server.told[-1]


def test_large_files(server):
    assert '1 MB' in server.refused(413, bytes(2**20 + 1))
    # Without a length that is told beforehand.
    assert '1 MB' in server.refused(413, iter([bytes(2**19)] * 3))


POST = (b'POST /predict HTTP/1.1\r\nHost: localhost\r\n'
        b'Content-Length: 100\r\n\r\n')


@pytest.fixture(scope='module')
def quick_server(server):
    running = Running(server.predictor, QUICK)
    yield running
    running.stop()


@pytest.fixture
def quick(quick_server):
    """A server without connections that waits for fractions of a second."""
    quick_server.wait_until_unused()
    return quick_server


def received(line, *parts, pause=0.05):
    """Send parts slowly, until the server answers or hangs up."""
    line.settimeout(pause)
    for part in parts:
        try:
            line.sendall(part)
            return line.recv(1 << 16)
        except TimeoutError:
            pass
        except OSError:
            return b''
    line.settimeout(20)
    return line.recv(1 << 16)


def test_silent_connections_are_closed(quick, photo):
    """While they are open, other clients are served."""
    silent = [quick.connect(f'127.0.0.{number}') for number in (2, 2, 3)]
    start = time.monotonic()
    assert quick.found(photo)['objects']
    for line in silent:
        with line:
            assert line.recv(1) == b''
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(('sent', 'answer'), [
    ([b'G'] * 100, b''), ([b'\r\n'] * 100, b'HTTP/1.1 400'),
    ([POST], b'HTTP/1.1 408'), ([POST, *[b'a'] * 99], b'HTTP/1.1 408')],
    ids=['header', 'blank lines', 'silent body', 'slow body'])
def test_slow_clients(quick, sent, answer):
    with quick.connect() as line:
        start = time.monotonic()
        assert received(line, *sent)[:12] == answer
        assert time.monotonic() - start < 4
        # What follows is not waited for, either.
        while received(line, *[b'a'] * 100):
            pass
        assert time.monotonic() - start < 8


def test_a_second_header_may_not_be_slow(quick):
    with quick.connect() as line:
        for _ in range(2):
            line.sendall(b'GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n')
            answer = b''
            while not answer.endswith(b'}'):
                answer += line.recv(1 << 16)
        assert received(line, *[b'G'] * 100) == b''


def test_the_rest_of_a_refused_file_is_not_waited_for(quick):
    with quick.connect() as line:
        line.sendall(POST.replace(b'100', b'9' * 9))
        assert line.recv(1 << 16).startswith(b'HTTP/1.1 413')
        start = time.monotonic()
        while received(line, *[b'a'] * 100):
            pass
        assert time.monotonic() - start < 3


def test_responses_that_nobody_takes(server):
    running = Running(server.predictor, QUICK)
    # Accepted connections inherit it.
    running.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    try:
        with running.connect(receives=1) as line:
            line.sendall(b'GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n')
            time.sleep(0.5)
            assert running.server.server_state.connections
            running.wait_until_unused()
    finally:
        running.stop()


def test_few_connections_of_one_address(quick, photo):
    with quick.connect('127.0.0.4'), quick.connect('127.0.0.4'):
        with quick.connect('127.0.0.4') as third:
            said = third.recv(1 << 16)
            assert said.startswith(b'HTTP/1.1 503')
            assert b'--max-connections-per-address' in said
        assert quick.found(photo)
        with quick.connect('127.0.0.5'), quick.connect('127.0.0.6'), \
                quick.connect('127.0.0.7') as fifth:
            assert b'too many connections' in fifth.recv(1 << 16)
    quick.wait_until_unused()
    assert quick.found(photo)


def test_an_address_gets_half_of_the_places(quick, photo):
    with quick.connect('127.0.0.8') as slow:
        slow.sendall(POST)
        with quick.connect('127.0.0.8') as line:
            line.sendall(POST)
            assert line.recv(1 << 16).startswith(b'HTTP/1.1 503')
        assert quick.found(photo)


@pytest.mark.parametrize(('one', 'other', 'same'), [
    ('10.0.0.1', '10.0.0.2', False), ('10.0.0.1', '10.0.0.1', True),
    ('2001:db8::1', '2001:db8::ffff:1', True),
    ('2001:db8::1', '2001:db8:0:1::1', False),
    ('fe80::1%eth0', 'fe80::2%eth0', True)])
def test_networks(one, other, same):
    assert (network_of((one, 1)) == network_of((other, 2))) == same


@pytest.mark.parametrize('name', ['/', '/page.js', '/page.css', '/model'])
def test_the_page_needs_nothing_else(server, name):
    status, headers, body = server.ask(name, method='GET')
    assert status == 200
    assert "default-src 'none'" in headers['Content-Security-Policy']
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert 'Server' not in headers
    assert b'://' not in body.replace(b'http://www.w3.org/2000/svg', b'')


@pytest.mark.parametrize('path', [
    '/../../etc/passwd', '/..%2f..%2fetc/passwd', '//etc/passwd',
    '/etc/passwd', '/page.js/../app.py', '/%2e%2e/app.py',
    '/page/index.html', '/app.py', '/page.js%00', '/file:///etc/passwd',
    '/docs', '/openapi.json'])
def test_no_other_file_is_reachable(server, path):
    status, headers, body = server.ask(path, method='GET')
    assert status == 404
    assert len(body) < 100
    assert "default-src 'none'" in headers['Content-Security-Policy']


@pytest.mark.parametrize('host', [
    'evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '',
    '[', 'evil.example:80@localhost.evil'])
def test_other_names_are_refused(server, photo, host):
    """As a page has that points its own name here."""
    assert '--allow-host' in server.refused(403, photo, Host=host)


@pytest.mark.parametrize('host', [
    'localhost', 'localhost:1', 'LOCALHOST', '127.0.0.1:8000', '[::1]:8000',
    '192.168.1.5', 'photos.lan:80'])
def test_names_of_this_machine(host):
    assert is_own_host(host, ('localhost', 'Photos.lan'))


def test_other_sites_may_not_ask(server, photo):
    assert 'another site' in server.refused(403, photo,
                                            Origin='http://evil.example')
    assert 'another site' in server.refused(403, photo, Origin='null')
    status, _, _ = server.ask(body=photo,
                              Origin=f'http://127.0.0.1:{server.port}')
    assert status == 200


@pytest.mark.parametrize(('method', 'path'), [
    ('GET', '/predict'), ('PUT', '/predict'), ('DELETE', '/'),
    ('OPTIONS', '/predict'), ('POST', '/model')])
def test_other_methods(server, method, path):
    status, headers, _ = server.ask(path, method=method)
    assert status == 405
    assert 'Access-Control-Allow-Origin' not in headers


class Slow:
    """A predictor that waits to be let go, and counts who is in it."""

    def __init__(self, predictor):
        self.predictor, self.go = predictor, threading.Event()
        self.inside = self.most = 0

    def stream(self, *arguments):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.go.wait(20)
        yield from self.predictor.stream(*arguments)
        self.inside -= 1


def test_one_at_a_time_and_few_in_line(server, photo):
    slow = Slow(server.predictor)
    running = Running(slow)
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(
        running.ask(body=photo)[0])) for _ in range(5)]
    try:
        for client in clients:
            client.start()
        while len(answers) < 3:
            assert any(client.is_alive() for client in clients)
            clients[0].join(0.01)
        # Two wait; the others were told to come again.
        assert answers == [503] * 3
    finally:
        slow.go.set()
        for client in clients:
            client.join()
        running.stop()
    assert sorted(answers) == [200, 200, 503, 503, 503]
    assert slow.most == 1


class Broken:
    """A predictor with a bug."""

    def stream(self, *_):
        raise KeyError('inner')


def test_a_bug_does_not_end_the_server(photo):
    running = Running(Broken())
    try:
        for _ in range(2):
            assert 'KeyError: inner' in running.refused(500, photo)
        assert 'KeyError' in running.told[-1]
    finally:
        running.stop()


def bad_requests(photo):
    """200 of them, the same in each run."""
    chance = random.Random(0)

    def noise(length):
        return bytes(chance.randrange(256) for _ in range(length))

    def post(body, length=None, more=b''):
        return (b'POST /predict HTTP/1.1\r\nHost: localhost\r\n' + more
                + b'Content-Length: %d\r\n\r\n'
                % (len(body) if length is None else length) + body)

    def damaged():
        content = bytearray(photo)
        for _ in range(20):
            content[chance.randrange(len(content))] = chance.randrange(256)
        return bytes(content)

    kinds = [
        lambda: noise(chance.randrange(1, 300)),
        lambda: post(noise(chance.randrange(1, 300))),
        lambda: post(damaged()),
        lambda: post(photo[:chance.randrange(len(photo))]),
        lambda: post(photo, len(photo) + 9),
        lambda: post(photo, more=b'Transfer-Encoding: chunked\r\n'),
        lambda: post(b'zz\r\n', more=b'Transfer-Encoding: chunked\r\n'),
        lambda: b'POST /predict HTTP/1.1\r\nHost: localhost\r\n'
                b'Content-Length: -5\r\n\r\n',
        lambda: b'GET /' + noise(40) + b' HTTP/1.1\r\nHost: localhost\r\n\r\n',
        lambda: b'GET / HTTP/1.1\r\n' + b'X: ' + b'y' * 20000 + b'\r\n\r\n',
        lambda: b'GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n',
        lambda: b'GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n',
        lambda: b'GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n',
        lambda: post(bomb(chance.randrange(1, 2**31),
                          chance.randrange(1, 2**31))),
        lambda: post(b'\xff\xd8' + noise(200)),
        lambda: post(b'RIFF' + noise(4) + b'WEBPVP8 ' + noise(200)),
        lambda: post(b'II*\x00' + noise(200)),
        lambda: post(b'GIF89a' + noise(200)),
        lambda: b'', lambda: b'\r\n' * 50,
    ]
    return [kinds[number % len(kinds)]() for number in range(200)]


def test_bad_requests_are_survived(server, photo):
    expected = server.found(photo)['objects']
    threads = threading.active_count()
    answers = [server.raw(content) for content in bad_requests(photo)]
    statuses = {answer[9:12] for answer in answers if answer}
    assert {b'400', b'422', b'403', b'404'} <= statuses
    assert b'500' not in statuses
    assert not any(b'root:' in answer for answer in answers)
    assert server.found(photo)['objects'] == expected
    assert threading.active_count() <= threads + 1


@pytest.mark.parametrize('model', ['segmentor', 'classifier', 'retriever'])
def test_every_task(request, model, photo, shapes):
    gallery = shapes / 'folders/train' if model == 'retriever' else None
    running = Running(Predictor(request.getfixturevalue(model), device='cpu',
                                gallery=gallery))
    try:
        found = running.found(photo)
    finally:
        running.stop()
    assert all(set(one) >= {'name', 'score'} for one in found['labels'])
    if model == 'segmentor':
        assert picture_of(found['layer']).size == (64, 64)
        assert sum(one['score'] for one in found['labels']) == (
            pytest.approx(1))
    if model == 'retriever':
        assert str(shapes) not in json.dumps(found)
        assert picture_of(found['labels'][0]['picture']).size == (64, 64)


def test_a_port_that_is_taken(server):
    with pytest.raises(UserError, match=f'port {server.port}.*--port'):
        listen('127.0.0.1', server.port)
    with pytest.raises(UserError, match='port 99999'):
        listen('127.0.0.1', 99999)


def test_addresses(server):
    assert address(server.socket) == f'http://127.0.0.1:{server.port}/'
    assert is_local('127.0.0.1')
    assert is_local('localhost')
    assert not is_local('0.0.0.0')
    assert not is_local('127.evil.example')


def test_names_reach_the_page_escaped():
    result = Classification(image=np.zeros((9, 9, 3), np.uint8),
                            classes=['a\u202eb\nc\udcff'],
                            palette=[(9, 9, 9)], scores=np.ones(1))
    name = response_data(result)['labels'][0]['name']
    assert name == r'a\u202eb\nc\udcff'
    assert '\n' not in result.line()
    assert json.loads(json.dumps(result.json()))
