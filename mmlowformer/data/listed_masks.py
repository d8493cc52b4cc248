"""Masks of one's own for MMSegmentation; imported when a config names it."""
import os
from pathlib import Path

from mmseg.datasets import BaseSegDataset

from ..errors import UserError
from ..registry import DATASETS
from .own import read_lines
from .paths import IMAGES


@DATASETS.register_module()
class ListedMasks(BaseSegDataset):
    """Images of any suffix, and their masks.

    The mask of ``a/b.jpg`` is ``a/b.jpg.png`` or, if there is none,
    ``a/b.png``.

    Args:
        ann_file (str): A file that names an image in each line, as
            ``tools/data.py split`` writes it. Defaults to '': all images of
            the folder.
        data_prefix (dict): ``img_path`` and ``seg_map_path``: the folders of
            images and of masks.
        **kwargs: Other arguments of MMSegmentation's ``BaseSegDataset``.

    Raises:
        UserError: If there are no images.
    """

    def load_data_list(self) -> list[dict]:
        folder = self.data_prefix['img_path']
        names = (read_lines(self.ann_file) if self.ann_file else
                 images_below(folder))
        if not names:
            raise UserError(f'{os.path.abspath(folder)} holds no images')
        return [dict(
            img_path=os.path.join(folder, name),
            seg_map_path=mask_of(self.data_prefix['seg_map_path'], name),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label, seg_fields=[])
            for name in names]


def images_below(folder: str | Path) -> list[str]:
    """Images of a folder and of those in it.

    Args:
        folder (str | Path): The folder.

    Returns:
        list[str]: Paths below it, with ``/``, sorted.
    """
    root = Path(folder)
    return sorted(path.relative_to(root).as_posix()
                  for path in root.rglob('*')
                  if path.suffix.lower() in IMAGES and path.is_file())


def mask_of(folder: str, name: str) -> str:
    """Path of an image's mask.

    Args:
        folder (str): Of the masks.
        name (str): Of the image, below its folder.

    Returns:
        str: The path, which need not exist.
    """
    whole = os.path.join(folder, f'{name}.png')
    bare = os.path.join(folder, f'{os.path.splitext(name)[0]}.png')
    return bare if os.path.exists(bare) and not os.path.exists(whole) \
        else whole
