"""Processes that are not forks, as Python 3.14 starts them by default."""
import json
import re

import numpy as np
import pytest

from mmlowformer import Predictor

from ..helpers import TINY_DETECTOR, TRAIN, run_program, run_python

SMALL = ('train_dataloader.num_workers=1', 'val_dataloader.num_workers=0',
         'val_dataloader.persistent_workers=False',
         'train_dataloader.persistent_workers=True', 'train_cfg.max_epochs=1',
         'model.test_cfg.score_thr=0.0', 'val_dataloader.batch_size=2')
PREDICT = """
import json, multiprocessing, sys
from mmlowformer import Predictor

def start(checkpoint):
    global predictor
    predictor = Predictor(checkpoint, score_thr=0., device='cpu')

def predict(image):
    return predictor(image).scores.tolist()

if __name__ == '__main__':
    context = multiprocessing.get_context('forkserver')
    checkpoint, *images = sys.argv[1:]
    with context.Pool(1, start, [checkpoint]) as pool:
        print(json.dumps(pool.map(predict, images)))
"""


def test_training_with_workers(shapes, tmp_path):
    config = tmp_path / 'tiny.py'
    config.write_text(TINY_DETECTOR)
    result = run_program(
        TRAIN, config, '--work-dir', 'run', '--cfg-options',
        f'data_root={shapes}/coco/', *SMALL,
        'env_cfg.mp_cfg.mp_start_method=forkserver', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert (tmp_path / 'run/epoch_1.pth').exists()
    # What the tool changed in its process, it changed in its workers.
    assert not re.search(r'\w+Warning:', result.stdout), result.stdout


@pytest.mark.slow
def test_predicting_in_a_pool(detector, shapes, tmp_path):
    script = tmp_path / 'pool.py'
    script.write_text(PREDICT)
    images = sorted((shapes / 'coco/val2017').iterdir())[:2]
    result = run_python(script, detector, *images, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    predictor = Predictor(detector, score_thr=0., device='cpu')
    for scores, image in zip(json.loads(result.stdout.splitlines()[-1]),
                             images):
        np.testing.assert_allclose(scores, predictor(image).scores, rtol=1e-5)
