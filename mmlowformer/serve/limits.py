"""Limits of what clients may send."""
import io
import ipaddress
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
        seconds (float): Time to send an image. Defaults to 30.
    """

    megabytes: float = 32
    megapixels: float = 64
    elongation: float = 200
    waiting: int = 8
    seconds: float = 30

    @property
    def body(self) -> int:
        """The largest file, in bytes."""
        return int(self.megabytes * 2**20)


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
