"""The images that a retriever searches."""
from pathlib import Path

from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

from ..datasets.image_errors import name_images_in_errors
from ..errors import UserError

BATCH_SIZE = 8


def is_retriever(module: nn.Module) -> bool:
    """Whether a model compares images with those of a gallery."""
    return hasattr(module, 'prepare_prototype')


def set_gallery(module: BaseModel, folder: str | Path | None,
                pipeline: list[dict], scope: str) -> list[str]:
    """Compute a retriever's features of all images in a folder."""
    if folder is None:
        raise UserError('the model searches for similar images: name their '
                        'folder with --gallery')
    if not Path(folder).is_dir():
        raise UserError(f'--gallery {folder} is no folder')
    with DefaultScope.overwrite_default_scope(scope):
        try:
            loader = Runner.build_dataloader(dict(
                batch_size=BATCH_SIZE, num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(type='CustomDataset', with_label=False,
                             data_root=str(folder), pipeline=pipeline)))
        except (FileNotFoundError, RuntimeError) as error:
            raise UserError(f'--gallery {folder} holds no images') from error
        dataset = loader.dataset
        name_images_in_errors(dataset)
        module.prototype = loader
        module.prepare_prototype()
    return [dataset.get_data_info(index)['img_path']
            for index in range(len(dataset))]
