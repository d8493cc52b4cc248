"""Image retrieval with MMPreTrain; imported when a config names it."""
from collections import defaultdict

from mmpretrain.datasets import CustomDataset

from ..errors import UserError
from ..registry import DATASETS


@DATASETS.register_module()
class RetrievalQueries(CustomDataset):
    """Images to be found again among those of a gallery.

    As MMPreTrain's ``RetrievalRecall`` wants it, the label of a query is the
    list of the positions that images of its class have in the gallery.

    Args:
        data_root (str): Folder that holds both.
        data_prefix (dict): ``img_path`` and ``gallery_path``: the folders of
            queries and of gallery, each with a folder for each class.
        **kwargs: Other arguments of MMPreTrain's ``CustomDataset``.

    Raises:
        UserError: If a class of the queries is not in the gallery.
    """

    def load_data_list(self) -> list[dict]:
        queries = super().load_data_list()
        gallery = CustomDataset(data_prefix=self.data_prefix['gallery_path'])
        positions = defaultdict(list)
        for position, label in enumerate(gallery.get_gt_labels()):
            positions[gallery.CLASSES[label]].append(position)
        for query in queries:
            name = self.CLASSES[query['gt_label']]
            if name not in positions:
                raise UserError(
                    f'{query["img_path"]} is of the class {name!r}, of which '
                    f'there is no image in {self.data_prefix["gallery_path"]}')
            query['gt_label'] = positions[name]
        return queries
