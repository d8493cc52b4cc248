"""Custom data for MMSegmentation; imported when a config names it."""
import os

from mmseg.datasets import BaseSegDataset

from ..errors import UserError, shown
from ..registry import DATASETS
from .paths import check_names, files_below, mask_of, read_lines, shared_masks


@DATASETS.register_module()
class CustomSegDataset(BaseSegDataset):
    """Images of any suffix, and their masks.

    The mask of ``a/b.jpg`` is ``a/b.jpg.png`` or, if it does not exist,
    ``a/b.png``.

    Args:
        ann_file (str): A file with the name of an image per line, as
            ``tools/data.py split`` writes it. Defaults to '', all images of
            the folder.
        data_prefix (dict): ``img_path`` and ``seg_map_path``, the folders of
            images and of masks.
        **kwargs: Other arguments of MMSegmentation's ``BaseSegDataset``.

    Raises:
        UserError: If there are no images, or if two share a mask.
    """

    def load_data_list(self) -> list[dict]:
        folder = self.data_prefix['img_path']
        names = (read_lines(self.ann_file) if self.ann_file else
                 files_below(folder)[0])
        if not names:
            raise UserError(f'{os.path.abspath(folder)} holds no images')
        check_names(names, self.ann_file or folder)
        masks = self.data_prefix['seg_map_path']
        for mask, first, second in shared_masks(masks, names):
            raise UserError(f'{mask} would be the mask of {shown(first)} and '
                            f'{shown(second)}: name each mask like its image '
                            'and append .png')
        return [dict(
            img_path=os.path.join(folder, name),
            seg_map_path=mask_of(masks, name),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label, seg_fields=[])
            for name in names]
