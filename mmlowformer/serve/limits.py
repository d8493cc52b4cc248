"""Limits of what clients may send."""
import io
import ipaddress
import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from PIL import Image

from ..errors import UserError, first_line

FORMATS = ('AVIF', 'BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        megabytes (float): The largest file. Defaults to 32.
        megapixels (float): The largest image, checked by its header before
            decoding. Defaults to 64.
        elongation (float): The longer side over the shorter: resizing the
            shorter side enlarges the longer one as much. Defaults to 200.
        waiting (int): Images that may be sent, wait and be predicted at a
            time. Defaults to 8.
        seconds (float): Time to send an image, and to take a response.
            Defaults to 30.
        idle_seconds (float): Time to send the header of a request, and the
            longest pause while sending an image. Defaults to 5.
        connections (int): Connections at a time. Defaults to 64.
        connections_per_address (int): Connections of one IP address at a
            time, which also gets at most half of the places for images; 0
            sets no limit, as for a reverse proxy. Defaults to 16.
    """

    megabytes: float = 32
    megapixels: float = 64
    elongation: float = 200
    waiting: int = 8
    seconds: float = 30
    idle_seconds: float = 5
    connections: int = 64
    connections_per_address: int = 16

    @property
    def body(self) -> int:
        """The largest file, in bytes."""
        return int(self.megabytes * 2**20)

    @property
    def waiting_per_address(self) -> int:
        """Images of one address that may be sent, wait and be predicted."""
        if not self.connections_per_address:
            return self.waiting
        return math.ceil(self.waiting / 2)


def is_address(name: str) -> bool:
    """Whether a name is an IP address, like ``127.0.0.1``."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_of(header: str) -> str | None:
    """The name in a ``Host`` or ``Origin`` header."""
    try:
        return urlsplit(header if '://' in header else f'//{header}').hostname
    except ValueError:
        return None


def is_own_host(header: str, names: tuple[str, ...]) -> bool:
    """Whether a request is meant for this server."""
    # Another site can let its own name point here (DNS rebinding), so that
    # the browser takes this server for it. IP addresses cannot be redirected.
    host = host_of(header)
    return host is not None and (
        is_address(host) or host in map(str.lower, names))


def network_of(client: tuple[str, int] | None) -> str | None:
    """The IPv4 address of a client, or its network of IPv6 addresses."""
    if client is None or ':' not in client[0]:
        return client and client[0]
    # A single machine has at least 64 bits of addresses.
    address = client[0].partition('%')[0]
    return str(ipaddress.ip_network((address, 64), strict=False))


def check_image(content: bytes, limits: Limits) -> None:
    """Refuse files that are no image, or too large to be decoded."""
    width, height = _size(content)
    if width * height > limits.megapixels * 1e6:
        raise UserError(f'the image has {width}x{height} pixels; the limit is '
                        f'{limits.megapixels:g} million')
    if max(width, height) > limits.elongation * min(width, height):
        raise UserError(f'the image has {width}x{height} pixels: one side may '
                        f'be at most {limits.elongation:g} times the other')


def _size(content: bytes) -> tuple[int, int]:
    if not content:
        raise UserError('the file is empty (0 bytes)')
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.size
    except Image.UnidentifiedImageError as error:
        raise UserError('the file is no image of a supported format: '
                        f'{", ".join(FORMATS)}') from error
    except Image.DecompressionBombError as error:
        raise UserError(f'the image is too large: {first_line(error)}'
                        ) from error
    # Forged headers can make Pillow raise anything.
    except Exception as error:
        raise UserError('the image cannot be decoded: its header is damaged'
                        ) from error
