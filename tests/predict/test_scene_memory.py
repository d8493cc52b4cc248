"""Bytes of memory for each pixel of a scene, from its file to all results."""
import io
import json
import os
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from torch.nn.functional import interpolate

from mmlowformer import Predictor
from mmlowformer.predict import pipeline, tiff_windows
from mmlowformer.runtime import masks as runtime_masks
from mmlowformer.utils import images
from mmlowformer.visualization import drawing

LIMITS = [
    # Above the 3 bytes of the decoded image.
    ('png', False, 3 * 1.3), ('png', True, 3 + 3),
    # The image is never decoded as a whole.
    ('tif', False, 0.5), ('tif', True, 3)]


def scene_file(folder, side, suffix):
    spots = np.random.default_rng(0).integers(
        0, 256, (side // 50, side // 50, 3), np.uint8)
    file = str(folder / f'{side}.{suffix}')
    Image.fromarray(cv2.resize(spots, (side, side))).save(file, **(
        dict(compression='tiff_lzw') if suffix == 'tif' else
        dict(compress_level=1)))
    return file


def use_small_parts(patch):
    """What is constant in large scenes is small in small ones."""
    for module, name, value in (
            (drawing, 'BLOCK', 2**14), (drawing, 'LARGE', 2**18),
            (runtime_masks, 'BLOCK', 2**14), (images, 'LARGE_FILE', 0),
            (pipeline, 'BLOCK', 2**14), (tiff_windows, 'CACHE', 2**22)):
        patch.setattr(module, name, value)


def build_predictor(checkpoint, masks):
    """Replace the network, whose memory depends on the tiles alone."""
    def predicted(batch):
        for sample in batch['data_samples']:
            height, width = sample.ori_shape[:2]
            boxes = torch.rand(3, 4).sort(1).values * 100
            sample.set_data(dict(seg_logits=PixelData(data=interpolate(
                torch.rand(1, 3, 9, 9), (height, width))[0])) if masks else
                dict(pred_instances=InstanceData(
                    bboxes=boxes, scores=torch.ones(3),
                    labels=torch.zeros(3).long())))
        return batch['data_samples']

    predictor = Predictor(checkpoint, device='cpu', tile=128)
    predictor._predicted = predicted
    return predictor


def use(result):
    """Write all results; without pictures, if they are boxes."""
    with open(os.devnull, 'w') as file:
        json.dump(result.json(), file)
    assert result.line()
    if result.task == 'segmentation':
        for picture in result.draw(), result.indexed():
            picture.save(io.BytesIO(), format='PNG')


@pytest.mark.parametrize(('suffix', 'masks', 'limit'), LIMITS)
def test_arrays(suffix, masks, limit, detector, segmentor, tmp_path,
                monkeypatch):
    """What numpy and OpenCV allocate."""
    use_small_parts(monkeypatch)
    predictor = build_predictor(segmentor if masks else detector, masks)
    peaks = []
    for side in 300, 900:
        file = scene_file(tmp_path, side, suffix)
        use(predictor(file))
        tracemalloc.start()
        use(predictor(file))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    growth = (peaks[1] - peaks[0]) / (900**2 - 300**2)
    assert growth < limit
