"""The checkpoint and its export side by side."""
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image

from ..models.exported_model import ExportedModel
from ..predict.pipeline import Pipeline
from ..predict.results import result_of
from ..predict.trained_model import TrainedModel
from ..visualization.drawing import captioned


def draw_comparison(trained: TrainedModel, folder: str | Path, image: str
                    ) -> Image.Image:
    """Draw what both find in an image."""
    exported = ExportedModel(folder, torch.get_num_threads())
    pipeline = Pipeline(trained.pipeline, trained.scope)
    panels = []
    for name, model in (('checkpoint', trained.module),
                        (exported.description.format, exported)):
        prepared = pipeline(image)
        with DefaultScope.overwrite_default_scope(trained.scope), \
                torch.no_grad():
            sample, = model.test_step(pseudo_collate([prepared.data]))
        result = result_of(
            sample, exported.description.host['score_thr'], None, name=image,
            image=prepared.image, classes=trained.classes,
            palette=trained.palette, seconds=0.)
        panels.append((name, result.draw()))
    return captioned(panels)
