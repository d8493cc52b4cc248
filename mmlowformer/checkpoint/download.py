"""Find checkpoints that are named by a URL or a work dir."""
import os
from urllib.parse import urlparse
from urllib.request import url2pathname

from ..errors import UserError
from ..utils.checkpoint_schemes import fetched
from ..utils.safe_load import check_checkpoint
from .work_dir import checkpoint_in


def local_checkpoint(source: str) -> str:
    """The local file of a checkpoint, downloaded if it is a URL.

    Of the work dir of a training, its best checkpoint, or else the newest.
    """
    if os.path.isdir(source):
        file = checkpoint_in(source)
        if file is None:
            raise UserError(f'{source} holds neither a checkpoint (best_*.pth,'
                            ' epoch_*.pth, iter_*.pth) nor an exported model')
        source = str(file)
    scheme = urlparse(source).scheme.lower()
    if scheme == 'file':
        source = _file_of(source)
    if scheme not in ('http', 'https'):
        check_checkpoint(source)
        return source
    copy = str(fetched(source))
    try:
        check_checkpoint(copy)
    except UserError as error:
        raise UserError(f'{error}. It is a copy of {source}: delete it to '
                        'download it again') from error
    return copy


def _file_of(url: str) -> str:
    parsed = urlparse(url)
    if parsed.netloc not in ('', 'localhost'):
        raise UserError(f'{url}: a local file has three slashes, '
                        'file:///folder/file.pth')
    return url2pathname(parsed.path)
