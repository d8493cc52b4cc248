"""Download checkpoints that are named by a URL."""
from urllib.parse import urlparse
from urllib.request import url2pathname

from ..errors import UserError
from ..utils.checkpoint_schemes import fetched
from ..utils.safe_load import check_checkpoint


def local_checkpoint(source: str) -> str:
    """The local file of a checkpoint, downloaded if it is a URL."""
    scheme = urlparse(source).scheme.lower()
    if scheme == 'file':
        source = _file_of(source)
    if scheme not in ('http', 'https'):
        check_checkpoint(source)
        return source
    file = str(fetched(source))
    try:
        check_checkpoint(file)
    except UserError as error:
        raise UserError(f'{error}. It is a copy of {source}: delete it to '
                        'download it again') from error
    return file


def _file_of(url: str) -> str:
    parsed = urlparse(url)
    if parsed.netloc not in ('', 'localhost'):
        raise UserError(f'{url}: a local file has three slashes, '
                        'file:///folder/file.pth')
    return url2pathname(parsed.path)
