"""Large images: each object is detected once, also at seams."""
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmlowformer import Predictor
from mmlowformer.errors import UserError
from mmlowformer.predict.tile_merging import TileMerger, merge_boxes
from mmlowformer.utils.tiles import check_tiling, tiles_of


@pytest.mark.parametrize('size', [(100, 100), (64, 64), (65, 300), (10, 500)])
@pytest.mark.parametrize('overlap', [0., 0.25, 0.5])
def test_tiles_cover_the_image(size, overlap):
    seen = np.zeros(size, int)
    for tile in tiles_of(*size, 64, overlap):
        assert tile.bottom - tile.top == min(64, size[0])
        assert tile.right - tile.left == min(64, size[1])
        seen[tile.top:tile.bottom, tile.left:tile.right] += 1
    assert seen.min() >= 1


def test_neighbors_overlap_enough():
    lefts = sorted({tile.left for tile in tiles_of(64, 1000, 64, 0.25)})
    assert max(np.diff(lefts)) <= 48


@pytest.mark.parametrize(('size', 'overlap'), [
    (16, 0.2), (64, 0.95), (64, -1)])
def test_refused_tilings(size, overlap):
    with pytest.raises(UserError, match='tile|overlap'):
        check_tiling(size, overlap)


def sample_of(*boxes):
    """Boxes, each followed by its score and label."""
    values = torch.tensor(boxes).reshape(-1, 6)
    return BaseDataElement(pred_instances=InstanceData(
        bboxes=values[:, :4], scores=values[:, 4],
        labels=values[:, 5].long()))


def merged(*samples):
    """Merge three tiles of 64 pixels, overlapping by 16, in a 64x160 image."""
    merger = TileMerger((64, 160), tiles_of(64, 160, 64, 0.25))
    assert [tile.left for tile in merger.tiles] == [0, 48, 96]
    for tile, sample in zip(merger.tiles, samples):
        merger.add(tile, sample)
    return merger.merged().pred_instances


def test_an_object_seen_twice_is_one():
    found = merged(sample_of((50., 10, 60, 20, 0.8, 1)),
                   sample_of((2.5, 10, 12.5, 20, 0.9, 1)), sample_of())
    assert found.bboxes.tolist() == [[50.5, 10, 60.5, 20]]


def test_a_piece_gives_way_to_the_whole():
    """Although the piece has the higher score."""
    found = merged(sample_of((50., 10, 64, 20, 0.9, 1)),
                   sample_of((2., 10, 40, 20, 0.4, 1)), sample_of())
    assert found.bboxes.tolist() == [[50, 10, 88, 20]]


def test_a_piece_alone_stays():
    found = merged(sample_of((50., 10, 64, 20, 0.9, 1)), sample_of(),
                   sample_of())
    assert found.bboxes.tolist() == [[50, 10, 64, 20]]


def test_other_classes_and_places_stay():
    found = merged(sample_of((50., 10, 64, 20, 0.9, 1)),
                   sample_of((2., 10, 40, 20, 0.4, 2),
                             (20., 40, 30, 50, 0.4, 1)), sample_of())
    assert len(found) == 3


def test_an_edge_of_the_image_is_no_seam():
    found = merged(sample_of((0., 0, 20, 64, 0.9, 1),
                             (4., 20, 12, 30, 0.5, 1)), sample_of(),
                   sample_of())
    assert not found.cut.any()
    # The small one is in the large one, as in a prediction without tiles.
    assert len(found) == 2


def test_nothing_was_found():
    assert len(merged(sample_of(), sample_of(), sample_of())) == 0
    assert len(merge_boxes(InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0),
        labels=torch.zeros(0).long(), cut=torch.zeros(0).bool()))) == 0


@pytest.mark.parametrize('overlap', [0., 0.25, 0.6, 0.9])
@pytest.mark.parametrize(('shape', 'classes'), [
    ((90, 150), 3), ((201, 77), 3), ((64, 150), 2), ((200, 64), 300)])
def test_logits_are_averaged(shape, classes, overlap):
    generator = torch.Generator().manual_seed(0)
    merger = TileMerger(shape, tiles_of(*shape, 64, overlap))
    sums = torch.zeros(classes, *shape)
    counts = torch.zeros(shape)
    for tile in merger.tiles:
        logits = torch.randn(classes, 64, 64, generator=generator)
        part = np.s_[..., tile.top:tile.bottom, tile.left:tile.right]
        sums[part] += logits
        counts[part] += 1
        merger.add(tile, BaseDataElement(seg_logits=PixelData(data=logits)))
    found = merger.merged().pred_sem_seg.data[0]
    assert found.dtype == (np.uint8 if classes < 256 else np.uint16)
    np.testing.assert_array_equal(found, (sums / counts).argmax(0))


def test_one_class_of_masks_has_no_tiles():
    merger = TileMerger((64, 64), tiles_of(64, 64, 64, 0.25))
    with pytest.raises(UserError, match='two classes'):
        merger.add(merger.tiles[0], BaseDataElement(
            seg_logits=PixelData(data=torch.zeros(1, 64, 64))))


def test_a_single_tile_changes_nothing(detector, find_boxes, photos):
    tiled = Predictor(detector, score_thr=0., device='cpu', tile=64)
    found, expected = tiled(photos[0]), find_boxes(photos[0])
    # NMS has already removed boxes that would be merged.
    np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_masks_of_a_single_tile(segmentor, photos):
    expected = Predictor(segmentor, device='cpu')(photos[0])
    found = Predictor(segmentor, device='cpu', tile=64)(photos[0])
    np.testing.assert_array_equal(found.mask, expected.mask)


def test_boxes_are_in_the_whole_image(detector, photos):
    scene = np.tile(Predictor(detector, device='cpu')(photos[0]).image,
                    (3, 4, 1))
    found = Predictor(detector, score_thr=0., device='cpu', tile=64,
                      batch_size=3)(scene)
    assert found.image.shape == (192, 256, 3)
    assert found.boxes[:, 2].max() > 192
    assert found.boxes[:, 3].max() > 128
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [256, 192, 256, 192]).all()


def test_labels_have_no_tiles(classifier, photos):
    with pytest.raises(UserError, match='--tile-size'):
        Predictor(classifier, device='cpu', tile=64)(photos[0])
