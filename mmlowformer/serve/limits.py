"""What a stranger may send."""
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        megabytes (float): The largest file. Defaults to 32.
        megapixels (float): The largest image; told by its header, before
            anything is decoded. Defaults to 64.
        elongation (float): Of an image, the longer side over the shorter: what
            brings the shorter one to a size makes the longer one as many
            times as long. Defaults to 200.
        waiting (int): Photos that may be sent, wait and be predicted at a
            time. Defaults to 8.
        seconds (float): That sending a photo may take. Defaults to 30.
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

    @property
    def pixels(self) -> int:
        """The largest image, in pixels."""
        return int(self.megapixels * 1e6)


def is_address(name: str) -> bool:
    """Whether a name is an address in numbers, like ``127.0.0.1``."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_of(header: str) -> str | None:
    """The name in a ``Host`` header, or in an ``Origin``."""
    try:
        return urlsplit(header if '://' in header else f'//{header}').hostname
    except ValueError:
        return None


def is_own_host(header: str, names: tuple[str, ...]) -> bool:
    """Whether a request is meant for this server.

    A page elsewhere can have a name of its own point here (DNS rebinding),
    and would be of the same origin. Such a name is none of ours, and
    addresses in numbers cannot be made to point elsewhere.
    """
    host = host_of(header)
    return host is not None and (
        is_address(host) or host in map(str.lower, names))
