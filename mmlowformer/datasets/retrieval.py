"""Image retrieval with MMPreTrain; imported when a config names it."""
from collections import defaultdict

from mmpretrain.datasets import CustomDataset

from ..errors import UserError
from ..registry import DATASETS


@DATASETS.register_module()
class RetrievalQueries(CustomDataset):
    """Queries for image retrieval.

    The label of a query is the list of positions of its class's images in the
    gallery, as MMPreTrain's ``RetrievalRecall`` needs it.

    Args:
        data_root (str): Folder that holds both.
        data_prefix (dict): ``img_path`` and ``gallery_path``: the folders of
            queries and gallery, each with a folder per class.
        **kwargs: Other arguments of MMPreTrain's ``CustomDataset``.

    Raises:
        UserError: If the gallery lacks a class of the queries.
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
                    f'{query["img_path"]} has class {name!r}, of which '
                    f'{self.data_prefix["gallery_path"]} holds no image')
            query['gt_label'] = positions[name]
        return queries
