"""Predictions equal those of tools/test.py, for all kinds of inputs."""
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from mmengine import load
from PIL import Image

import mmlowformer
from mmlowformer import Predictor, predict
from mmlowformer.errors import UserError
from mmlowformer.predict import (
    Classification,
    Detections,
    RetrievalResult,
    Segmentation,
)
from mmlowformer.predict.pipeline import Pipeline

from ..helpers import ROOT

TEST = ROOT / 'tools/test.py'


def same(one, other):
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.labels, other.labels)


def by_the_tool(run_here, config, checkpoint, data_root, folder, *options):
    """What tools/test.py predicts, by the image's path."""
    result = run_here(TEST, config, checkpoint, '--out', 'all.pkl',
                      '--cfg-options', f'data_root={data_root}/', *options,
                      cwd=folder)
    assert result.returncode == 0, result.stdout
    return {sample['img_path']: sample for sample in load(folder / 'all.pkl')}


def test_boxes_are_those_of_a_test(run_here, detector, shapes, tmp_path):
    samples = by_the_tool(run_here, 'retinanet_lowformer_b0_shapes', detector,
                          shapes / 'coco', tmp_path,
                          'model.test_cfg.score_thr=0',
                          'model.test_cfg.max_per_img=10')
    assert len(samples) == 2
    # As many in a call as there: rounding depends on it.
    predictor = Predictor(detector, score_thr=0., device='cpu', batch_size=2)
    for found in predictor(list(samples)):
        expected = samples[found.name]['pred_instances']
        assert isinstance(found, Detections)
        assert len(found) == 10
        np.testing.assert_array_equal(found.boxes, expected['bboxes'])
        np.testing.assert_array_equal(found.scores, expected['scores'])
        np.testing.assert_array_equal(found.labels, expected['labels'])


def test_masks_are_those_of_a_test(run_here, segmentor, shapes, tmp_path):
    samples = by_the_tool(run_here, 'fpn_lowformer_b0_shapes', segmentor,
                          shapes / 'ade', tmp_path)
    predictor = Predictor(segmentor, device='cpu', batch_size=2)
    for found in predictor(list(samples)):
        sample = samples[found.name]
        assert isinstance(found, Segmentation)
        np.testing.assert_array_equal(
            found.mask, sample['pred_sem_seg']['data'][0])
        assert sum(found.class_fractions.values()) == pytest.approx(1)


def test_labels_are_those_of_a_test(run_here, classifier, shapes, tmp_path):
    samples = by_the_tool(run_here, 'lowformer_b0_shapes', classifier,
                          shapes / 'folders', tmp_path)
    predictor = Predictor(classifier, device='cpu', batch_size=2)
    for found in predictor(list(samples)):
        sample = samples[found.name]
        assert isinstance(found, Classification)
        torch.testing.assert_close(torch.from_numpy(found.scores),
                                   sample['pred_score'], rtol=0, atol=0)
        assert found.top[0] == (found.classes[found.label], found.score)


def test_nearest_images(retriever, shapes):
    gallery = shapes / 'folders/train'
    query = next(iter(sorted(gallery.rglob('*.jpg'))))
    found = Predictor(retriever, device='cpu', gallery=gallery)(query)
    assert isinstance(found, RetrievalResult)
    # Nothing is nearer to an image than itself.
    assert found.top[0][0] == str(query)
    assert found.top[0][1] == pytest.approx(1, abs=1e-5)
    assert len(found.gallery) == 4
    assert found.draw().width > found.image.shape[1]
    # Images of two classes may have one name.
    assert found.summary().startswith(f'circle/{query.name} 1.00')


def test_a_retriever_needs_a_gallery(retriever, tmp_path):
    with pytest.raises(UserError, match='--gallery'):
        Predictor(retriever, device='cpu')
    with pytest.raises(UserError, match='holds no images'):
        Predictor(retriever, device='cpu', gallery=tmp_path)


def test_paths_arrays_and_pictures(find_boxes, photos, tmp_path):
    lossless = tmp_path / 'photo.png'
    Image.open(photos[0]).save(lossless)
    expected = find_boxes(lossless)
    array = cv2.imread(str(lossless))
    for source in (str(lossless), lossless.read_bytes(), array,
                   Image.open(lossless)):
        same(find_boxes(source), expected)
    gray = find_boxes(array[..., 0])
    same(gray, find_boxes(array[..., :1].repeat(3, 2)))


@pytest.fixture
def with_pillow():
    """Reads images with Pillow, like the ImageNet and retrieval configs."""
    return Pipeline([dict(type='LoadImageFromFile',
                          imdecode_backend='pillow')], 'mmpretrain')


def test_pictures_of_16_bits(find_boxes, with_pillow, tmp_path):
    """Pillow's own conversion would turn most pixels white."""
    deep = np.arange(0, 65536, 16, np.uint16).reshape(64, 64)
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    with Image.open(tmp_path / 'deep.png') as picture:
        found = find_boxes.pipeline.read(picture)['img']
    expected = find_boxes.pipeline.read(tmp_path / 'deep.png')['img']
    assert found.shape == expected.shape == (64, 64, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1
    file = tmp_path / 'deep.png'
    for source in (file, file.read_bytes()):
        found = with_pillow.read(source)['img']
        assert np.abs(found.astype(int) - expected).max() <= 1
    with pytest.raises(UserError, match='mode F'):
        find_boxes(Image.new('F', (9, 9)))


@pytest.mark.parametrize('source', [
    np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8),
    np.zeros((0, 4, 3), np.uint8)], ids=['float', 'alpha', 'empty'])
def test_other_arrays_are_refused(find_boxes, source):
    with pytest.raises(UserError, match='uint8'):
        find_boxes(source)


def test_damaged_bytes(find_boxes, with_pillow):
    with pytest.raises(UserError, match='of bytes cannot be decoded'):
        find_boxes(b'no image')
    with pytest.raises(UserError, match='of bytes cannot be decoded'):
        with_pillow.read(b'no image')


def test_too_many_pixels_for_pillow(with_pillow, photos, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 9)
    with pytest.raises(UserError, match=f'{photos[0]} is too large'):
        with_pillow.read(photos[0])


def test_lists_keep_their_order(detector, find_boxes, photos, tmp_path):
    """With two sizes, in batches; no image depends on the others."""
    wide = tmp_path / 'wide.png'
    Image.open(photos[0]).resize((128, 64)).save(wide)
    images = [photos[0], wide, *photos[1:], wide]
    batches = Predictor(detector, score_thr=0., device='cpu', batch_size=2)
    found = batches(images)
    assert [result.name for result in found] == list(map(str, images))
    for result, image in zip(found, images):
        alone = find_boxes(image)
        np.testing.assert_allclose(result.boxes, alone.boxes, atol=1e-3)
        np.testing.assert_array_equal(result.labels, alone.labels)


def test_threads(find_boxes, photos):
    expected = [find_boxes(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for found, result in zip(pool.map(find_boxes, photos), expected):
                same(found, result)


def test_deployed(detector, find_boxes, photos):
    """Deploying keeps all boxes."""
    fused = Predictor(detector, score_thr=0., device='cpu', deploy=True)
    for photo in photos:
        one, other = fused(photo), find_boxes(photo)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4)


@pytest.mark.parametrize('deploy', [None, dict(dtype='fp32')])
def test_profile(detector, photos, deploy):
    predictor = Predictor(detector, device='cpu', deploy=deploy)
    stages = predictor.profile(photos)
    assert list(stages) == ['read', 'prepare', 'network', 'rest']
    assert all(0 < seconds < 10 for seconds in stages.values())
    assert stages['network'] > stages['read']
    # Nobody is in the way any more.
    assert ('forward' in vars(predictor.module.backbone)) == bool(deploy)


def test_the_threshold_applies_everywhere(find_boxes, detector, photos):
    scores = find_boxes(photos[0]).scores
    middle = float(scores[4])
    found = Predictor(detector, score_thr=middle, device='cpu')(photos[0])
    assert len(found) == len(found.json()) == len(found.crops()) == (
        scores >= middle).sum() < len(scores)
    assert found.best == scores[0]


def test_results_are_shown_in_notebooks(find_boxes, photos):
    assert find_boxes(photos[0])._repr_png_().startswith(b'\x89PNG')


def test_crops_are_inside_of_the_image(find_boxes, photos):
    found = find_boxes(photos[0])
    found.boxes[0] = [-5, -5, 0.2, 0.2]
    assert found.crops()[0].size == (1, 1)


def test_memory_that_does_not_do_for_a_batch(detector, find_boxes, photos,
                                             monkeypatch):
    predictor = Predictor(detector, score_thr=0., device='cpu', batch_size=4)
    step = predictor.module.test_step

    def small_memory(data):
        if len(data['inputs']) > 1:
            raise torch.OutOfMemoryError('no more')
        return step(data)

    monkeypatch.setattr(predictor.module, 'test_step', small_memory)
    for found, photo in zip(predictor(photos), photos):
        same(found, find_boxes(photo))


def test_memory_that_does_not_do_for_an_image(detector, photos, monkeypatch):
    predictor = Predictor(detector, device='cpu')

    def no_memory(data):
        raise torch.OutOfMemoryError('no more')

    monkeypatch.setattr(predictor.module, 'test_step', no_memory)
    with pytest.raises(UserError, match=f'{photos[0]}.*--tile-size'):
        predictor(photos[0])


def test_weights_without_a_config(tmp_path, detector, photos):
    bare = tmp_path / 'bare.pth'
    content = torch.load(detector, weights_only=True)
    torch.save(content['state_dict'], bare)
    with pytest.raises(UserError, match='carries no config.*--config'):
        Predictor(bare)
    predictor = Predictor(bare, 'retinanet_lowformer_b0_shapes', device='cpu')
    assert predictor.classes == ['circle', 'square', 'triangle', 'star']


def test_other_weights(classifier):
    with pytest.raises(UserError, match='does not fit'):
        Predictor(classifier, 'retinanet_lowformer_b0_shapes', device='cpu')


def test_weights_that_are_no_numbers(detector, tmp_path):
    content = torch.load(detector, weights_only=True)
    content['state_dict']['bbox_head.retina_cls.bias'][:] = float('nan')
    torch.save(content, tmp_path / 'nan.pth')
    with pytest.raises(UserError, match='retina_cls.bias holds NaN'):
        Predictor(tmp_path / 'nan.pth', device='cpu')


def test_old_names():
    with pytest.warns(FutureWarning, match='RetrievalResult'):
        assert predict.Neighbours is RetrievalResult
    result = Segmentation(mask=np.zeros((2, 2), int), classes=['a'])
    with pytest.warns(FutureWarning, match='class_fractions'):
        assert result.shares == {'a': 1.}


def test_no_other_name_is_in_the_package():
    with pytest.raises(AttributeError, match='Predict0r'):
        mmlowformer.Predict0r  # noqa: B018


@pytest.mark.parametrize(('classes', 'message'), [
    (['a', 'b'], 'num_classes is ., but there are 2 names'),
    (list('abcdefg'), 'num_classes is ., but there are 7 names'),
    (['a', 'b', 5], 'have to be texts')])
@pytest.mark.parametrize('model', ['detector', 'segmentor', 'classifier'])
def test_tampered_names_of_classes(model, classes, message, request,
                                   tmp_path):
    content = torch.load(request.getfixturevalue(model), weights_only=True)
    content['meta']['dataset_meta'] = dict(classes=classes)
    torch.save(content, tmp_path / 'bad.pth')
    with pytest.raises(UserError, match=message):
        Predictor(tmp_path / 'bad.pth', device='cpu')
