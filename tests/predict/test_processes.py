"""Predictors in other processes."""
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor

import pytest
from torch.utils.data import DataLoader

from mmlowformer import Predictor
from mmlowformer.errors import UserError

from ..helpers import ROOT, run_program


class PredictedImages:
    """A data set of results."""

    def __init__(self, predictor, paths):
        self.predictor, self.paths = predictor, paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.predictor(self.paths[index])


def records(results):
    return [result.json() for result in results]


@pytest.fixture(scope='module')
def process():
    """A process that has nothing of this one's."""
    context = multiprocessing.get_context('forkserver')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool


@pytest.mark.parametrize(('task', 'options'), [
    ('detection', dict(score_thr=0.2, tile=40, batch_size=2)),
    ('segmentation', dict(deploy=True)),
    ('classification', dict(deploy=dict(dtype='bf16')))])
def test_a_pool_of_processes(process, tiny, photos, task, options):
    predictor = Predictor(tiny(task), device='cpu', **options)
    expected = records(predictor(photos))
    assert any(record.get('predictions', record)
               for found in expected for record in found)
    # It has computed before, and has its settings.
    assert records(process.submit(predictor, photos).result()) == expected


@pytest.mark.slow
def test_exported_models_are_opened_again(process, exported, photos):
    predictor = Predictor(exported('detection'), score_thr=0.)
    expected = records(predictor(photos))
    assert expected[0]
    assert records(process.submit(predictor, photos).result()) == expected


def test_errors_of_another_process_name_the_image(process, tiny, tmp_path):
    predictor = Predictor(tiny('classification'), device='cpu')
    with pytest.raises(UserError, match='gone.png'):
        process.submit(predictor, tmp_path / 'gone.png').result()


def test_a_retriever_keeps_its_gallery(retriever, shapes, photos):
    predictor = Predictor(retriever, device='cpu',
                          gallery=shapes / 'folders/train')
    copy = pickle.loads(pickle.dumps(predictor))
    assert copy(photos[0]).top == predictor(photos[0]).top


@pytest.mark.parametrize('start', ['fork', 'forkserver'])
def test_workers_of_a_data_loader(tiny, photos, start):
    predictor = Predictor(tiny('detection'), device='cpu', score_thr=0.)
    expected = records(predictor(photos))
    loader = DataLoader(PredictedImages(predictor, photos), batch_size=2,
                        num_workers=1, collate_fn=records,
                        multiprocessing_context=start)
    assert [found for batch in loader for found in batch] == expected


@pytest.mark.slow
def test_the_program_of_the_page(tiny, photos, tmp_path):
    page = (ROOT / 'docs/scale.md').read_text(encoding='utf-8')
    program, = re.findall(r'```python\n(from concurrent.*?)```', page, re.S)
    for name, value in (('epoch_12.pth', tiny('detection')),
                        ('a.jpg', photos[0]), ('b.jpg', photos[1])):
        assert f"'{name}'" in program
        program = program.replace(f"'{name}'", repr(str(value)))
    (tmp_path / 'program.py').write_text(program)
    result = run_program('program.py', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    boxes = Predictor(tiny('detection'), device='cpu')(photos[1]).boxes
    assert result.stdout.endswith(f'{boxes}\n')
