"""Data sets of videos, pairs of frames, and checks before training."""
import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from mmlowformer import get_config
from mmlowformer.datasets.checks.check_datasets import check_datasets
from mmlowformer.datasets.synthetic.sot_videos import (
    draw_sot_video,
    make_sot_videos,
)
from mmlowformer.errors import UserError
from mmlowformer.tracking.datasets.annotations import read_boxes


def build(kind, **arguments):
    dataset = DATASETS.build(dict(type=f'mmlowformer.{kind}', **arguments))
    dataset.full_init()
    return dataset


def write_video(folder, names, boxes, truth):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((48, 64, 3), np.uint8))
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_text(boxes)


THREE = '1,2,10,20\n2,3,10,20\n3,4,10,20\n'


def first_and_last(dataset):
    record = dataset.get_data_info(0)
    paths = [record['frames'][index]
             for index in range(len(record['frames']))]
    assert all(cv2.imread(path) is not None for path in paths)
    return record, paths


def test_got10k(videos):
    dataset = build('GOT10k', data_root=str(videos), split='train')
    record, paths = first_and_last(dataset)
    assert record['name'] == 'GOT-10k_Train_000001'
    assert [len(dataset), len(paths)] == [2, 5]
    assert paths[0].endswith('GOT-10k_Train_000001/00000001.jpg')
    assert dataset.describe() == '2 videos of 10 frames'


def test_difficulties_of_got10k(videos, tmp_path):
    shutil.copytree(videos, tmp_path / 'copy')
    folder = tmp_path / 'copy/train/GOT-10k_Train_000001'
    for cover, cut, expected in (
            ('8 8 8 8 8', '0 0 0 0 0', []),
            ('8 3 8 8 8', '0 0 1 0 0', ['partly hidden', 'cut by the image']),
            ('8 8 8 0 8', '0 0 0 0 0', ['hidden'])):
        (folder / 'cover.label').write_text(cover.replace(' ', '\n'))
        (folder / 'cut_by_image.label').write_text(cut.replace(' ', '\n'))
        record, _ = first_and_last(build(
            'GOT10k', data_root=str(tmp_path / 'copy'), split='train'))
        assert record['attributes'] == expected


def test_got10k_without_truth(tmp_path):
    write_video(tmp_path / 'test/a', [f'{i:08d}.jpg' for i in (1, 2, 3)],
                '1,2,10,20\n', tmp_path / 'test/a/groundtruth.txt')
    (tmp_path / 'test/list.txt').write_text('a\n')
    record, paths = first_and_last(build(
        'GOT10k', data_root=str(tmp_path), split='test'))
    assert len(paths) == len(record['boxes']) == 3
    assert record['visible'].tolist() == [True, False, False]


def test_lasot(tmp_path):
    folder = tmp_path / 'cat/cat-1'
    write_video(folder / 'img', [f'{i:08d}.jpg' for i in (1, 2, 3)], THREE,
                folder / 'groundtruth.txt')
    (folder / 'full_occlusion.txt').write_text('0,1,0')
    (folder / 'out_of_view.txt').write_text('0,0,1')
    (tmp_path / 'training_set.txt').write_text('cat-1\n')
    (tmp_path / 'att').mkdir()
    (tmp_path / 'att/cat-1.txt').write_text('0,1' + ',0' * 11 + ',1\n')
    for ann_file in ('', 'training_set.txt'):
        record, paths = first_and_last(build(
            'LaSOT', data_root=str(tmp_path), ann_file=ann_file))
        assert record['visible'].tolist() == [True, False, False]
        assert paths[2].endswith('cat-1/img/00000003.jpg')
        assert record['attributes'] == ['POC', 'ARC']


def test_trackingnet(tmp_path):
    write_video(tmp_path / 'TRAIN_0/frames/abc', ['0.jpg', '1.jpg', '2.jpg'],
                THREE, tmp_path / 'TRAIN_0/anno/abc.txt')
    record, paths = first_and_last(build(
        'TrackingNet', data_root=str(tmp_path), chunks=('TRAIN_0', )))
    assert paths[-1].endswith('frames/abc/2.jpg')
    assert record['visible'].all()


def test_folders_of_otb(tmp_path):
    write_video(tmp_path / 'Ball/img', ['0009.jpg', '0010.jpg', '0011.jpg'],
                THREE.replace(',', '\t'),
                tmp_path / 'Ball/groundtruth_rect.txt')
    record, paths = first_and_last(build('VideoFolders',
                                         data_root=str(tmp_path)))
    assert paths[0].endswith('0009.jpg')
    np.testing.assert_array_equal(record['boxes'][2], [3, 4, 10, 20])
    (tmp_path / 'Ball/groundtruth_rect.txt').write_text(
        '1,2,3,4\n1,2,3,4\n')
    with pytest.raises(UserError, match='has 2 lines for 3 frames'):
        build('VideoFolders', data_root=str(tmp_path))


@pytest.mark.parametrize('root', ['none', 'file'])
def test_no_folder_of_videos(root, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='folder of videos not found'):
        build('VideoFolders', data_root=str(tmp_path / root))


def test_frames_of_uav123_have_boxes(tmp_path):
    write_video(tmp_path / 'data_seq/UAV123/bird1', ['000001.jpg'], THREE,
                tmp_path / 'anno/UAV123/bird1.txt')
    (tmp_path / 'configSeqs.m').write_text(
        "struct('name','bird1','path','D:\\data_seq\\UAV123\\bird1\\',"
        "'startFrame',1,'endFrame',999999999)")
    with pytest.raises(UserError, match='3 lines for 999999999 frames'):
        build('UAV123', data_root=str(tmp_path))


def test_uav123(tmp_path):
    write_video(tmp_path / 'data_seq/UAV123/bird1',
                [f'{i:06d}.jpg' for i in range(1, 6)], THREE,
                tmp_path / 'anno/UAV123/bird1_2.txt')
    (tmp_path / 'configSeqs.m').write_text(
        "seqs={struct('name','bird1_2','path',"
        "'D:\\data_seq\\UAV123\\bird1\\','startFrame',3,'endFrame',5,"
        "'nz',6,'ext','jpg','init_rect',[0,0,0,0]),...\n"
        "\tstruct('name','other','path','D:\\data_seq\\UAV123\\other\\',"
        "'startFrame',1,'endFrame',9),...\n")
    (tmp_path / 'anno/UAV123/att').mkdir()
    (tmp_path / 'anno/UAV123/att/bird1_2.txt').write_text(
        '1' + ',0' * 10 + ',1')
    record, paths = first_and_last(build('UAV123', data_root=str(tmp_path)))
    assert record['attributes'] == ['SV', 'SOB']
    assert [path[-10:] for path in paths] == [
        '000003.jpg', '000004.jpg', '000005.jpg']


@pytest.fixture
def coco(tmp_path):
    write_video(tmp_path / 'images', ['a.jpg'], json.dumps(dict(
        categories=[dict(id=1, name='cat')],
        images=[dict(id=7, file_name='a.jpg', width=64, height=48)],
        annotations=[
            dict(id=index, image_id=7, category_id=1, iscrowd=crowd, area=1,
                 bbox=[5, 5, side, side])
            for index, (side, crowd) in enumerate(
                ((20, 0), (20, 1), (2, 0)))])), tmp_path / 'boxes.json')
    return dict(data_root=str(tmp_path), ann_file='boxes.json',
                data_prefix=dict(img='images'))


def test_objects_of_coco(coco):
    dataset = build('CocoObjects', **coco)
    record, paths = first_and_last(dataset)
    assert [len(dataset), len(paths)] == [1, 1]
    assert record['boxes'].tolist() == [[5, 5, 20, 20]]


def pairs_config(videos, **changes):
    cfg = get_config('track_lowformer_tiny_shapes').train_dataloader.dataset
    cfg.datasets[0].data_root = str(videos)
    return Config(dict(cfg, **changes)).to_dict()


def test_pairs(videos):
    dataset = DATASETS.build(pairs_config(videos, length=4))
    assert len(dataset) == 4
    assert dataset.describe() == \
        '4 pairs an epoch: 100% GOT10k (2 videos of 10 frames)'
    for pair in (dataset[0], dataset[1]):
        assert pair['inputs']['search'].shape == (3, 128, 128)
        assert pair['inputs']['template'].shape == (3, 64, 64)
        x1, y1, x2, y2 = pair['data_samples'].gt_box.tolist()
        # The object is a quarter of the region, but for the jitter.
        assert 0.05 < ((x2 - x1) * (y2 - y1))**0.5 < 0.7


def test_processes_draw_different_pairs(videos):
    dataset = DATASETS.build(pairs_config(videos, length=4))
    drawn = []
    for index in (0, 1):
        np.random.seed(0)
        drawn.append(dataset[index]['inputs']['search'])
    assert not drawn[0].equal(drawn[1])


def test_weights(videos, coco):
    cfg = pairs_config(videos, length=80, pipeline=[])
    cfg.update(weights=(1, 3), datasets=[
        *cfg['datasets'], dict(type='mmlowformer.CocoObjects', **coco)])
    dataset = DATASETS.build(cfg)
    share = np.mean([len(dataset[index]['frames']) == 1
                     for index in range(80)])
    assert 0.55 < share < 0.95
    with pytest.raises(ValueError, match='for each of the 2 datasets'):
        DATASETS.build(dict(cfg, weights=(1, )))


def test_videos_without_a_pair_are_passed_over(videos, tmp_path):
    shutil.copytree(videos, tmp_path / 'copy')
    for folder in (tmp_path / 'copy/train').iterdir():
        if folder.is_dir():
            (folder / 'cover.label').write_text('8\n0\n0\n0\n0\n')
    dataset = DATASETS.build(pairs_config(tmp_path / 'copy', length=4))
    with pytest.raises(UserError, match='seen in less than two frames'):
        dataset[0]


def transform(kind, results, **arguments):
    return TRANSFORMS.build(dict(type=f'mmlowformer.{kind}', **arguments)
                            )(results)


def pair(**boxes):
    rng = np.random.default_rng(0)
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 20:30] = (10, 100, 200)
    return dict(rng=rng, name='x', **{
        part: dict(image=image.copy(), box=boxes.get(part, [20, 10, 10, 20]))
        for part in ('template', 'search')})


@pytest.mark.parametrize(('count', 'gap'), [(1, 200), (40, 3)])
def test_search_frame_is_later(count, gap):
    record = dict(
        name='x', rng=np.random.default_rng(0), frames=list(range(count)),
        visible=np.arange(count) % 3 == 0,
        boxes=np.arange(4 * count).reshape(-1, 4).astype(float))
    for _ in range(20):
        found = transform('SamplePair', dict(record), max_gap=gap)
        if found:
            first, second = (found[part]['path'] for part in
                             ('template', 'search'))
            assert first % 3 == second % 3 == 0
            assert second - first == (0 if count == 1 else 3)
            assert found['search']['box'][0] == 4 * second


def test_flips_move_the_box_with_the_object():
    flipped = transform('PairRandomFlip', pair(), prob=1.)
    x, y, width, height = flipped['search']['box']
    assert [x, y, width, height] == [50, 10, 10, 20]
    assert flipped['search']['image'][10:30, 50:60].min() == 10
    cut = transform('PairCrop', pair(), search_size=64, template_size=32)
    before = [list(cut[part]['box']) for part in ('template', 'search')]
    each = transform('IndependentFlip', cut, prob=1.)
    for (left, top, right, bottom), part in zip(before,
                                                ('template', 'search')):
        assert each[part]['box'] == pytest.approx(
            [1 - right, top, 1 - left, bottom])


def test_gray_and_brightness():
    gray = transform('PairRandomGrayscale', pair(),
                     prob=1.)['template']['image']
    assert (gray[..., 0] == gray[..., 2]).all()
    bright = transform('IndependentBrightness', pair(), low=2., high=2.)
    assert bright['search']['image'][20, 25].tolist() == [20, 200, 255]


def test_old_names_of_transforms():
    for old, new in (('GrayPair', 'PairRandomGrayscale'),
                     ('CutPair', 'PairCrop'), ('FlipEach', 'IndependentFlip')):
        with pytest.warns(FutureWarning, match=new):
            built = TRANSFORMS.build(dict(type=f'mmlowformer.{old}'))
        assert type(built).__name__ == new


def test_jitter_moves_the_region_only():
    found = transform('JitterSearch', pair(), scale=0.25, center=3.)
    assert found['search']['box'] == [20, 10, 10, 20]
    assert 'around' not in found['template']
    x, y, width, height = found['search']['around']
    reach = 1.5 * (width * height)**0.5
    assert abs(x + width / 2 - 25) <= reach
    assert abs(y + height / 2 - 20) <= reach
    with pytest.warns(FutureWarning, match='center='):
        still = transform('JitterSearch', pair(), scale=0., centre=0.)
    assert still['search']['around'] == pytest.approx([20, 10, 10, 20])


def test_broken_lines_are_counted(tmp_path):
    file = tmp_path / 'groundtruth.txt'
    file.write_text('1,2,3,4\n' + 'a,b\n' * 200 + '1 2\t3 NaN\n')
    with pytest.raises(UserError, match='200 x line that is no box.*line 2'):
        read_boxes(file)


def check(videos, **changes):
    cfg = get_config('track_lowformer_tiny_shapes')
    cfg.merge_from_dict(dict(
        train_dataloader=dict(dataset=pairs_config(videos)),
        val_dataloader=dict(dataset=dict(data_root=str(videos)))))
    check_datasets(cfg, ['train_dataloader', 'val_dataloader'])


def test_good_videos_pass(videos):
    check(videos)


@pytest.mark.parametrize(('split', 'file', 'content', 'message'), [
    ('train', '00000003.jpg', None,
     '1 of 5 frames are missing, the first is .*00000003.jpg'),
    ('train', 'groundtruth.txt', '1,2,3,4\n' * 9,
     'holds 5 numbers for 9 frames'),
    ('train', 'cover.label', '0\n' * 5, 'no frame in which the object is'),
    ('train', 'absence.label', 'x\n' * 5, 'x. is not a finite number'),
    ('val', 'groundtruth.txt', '1,2,0,4\n' + '1,2,3,4\n' * 4,
     'the first box is 1,2,0,4'),
    ('val', 'groundtruth.txt', 'NaN,NaN,NaN,NaN\n' + '1,2,3,4\n' * 4,
     'the first box is nan,nan,nan,nan'),
    ('train', '../list.txt', 'missing\n', 'missing.groundtruth.txt cannot'),
    ('train', '../list.txt', '', 'list.txt is empty'),
])
def test_checked_before_training(videos, tmp_path, split, file, content,
                                 message):
    copy = tmp_path / 'copy'
    shutil.copytree(videos, copy)
    path = next((copy / split).glob('GOT*')) / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        check(copy)


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match='make_shapes.py data/shape_videos'):
        check(tmp_path / 'nothing')


def test_objects_of_coco_are_checked(coco, tmp_path):
    (tmp_path / 'images/a.jpg').unlink()
    cfg = Config(dict(default_scope='mmlowformer', train_dataloader=dict(
        dataset=dict(type='mmlowformer.TrackingPairs', datasets=[
            dict(type='mmlowformer.CocoObjects', **coco)]))))
    with pytest.raises(UserError, match='a.jpg'):
        check_datasets(cfg, ['train_dataloader'])


def test_generated_video():
    frames = list(draw_sot_video(np.random.default_rng(3), 20, 120, 160))
    again = list(draw_sot_video(np.random.default_rng(3), 20, 120, 160))
    assert frames[0].visible >= 0.9
    for frame, other in zip(frames, again):
        np.testing.assert_array_equal(frame.image, other.image)
        x, y, width, height = frame.box
        assert x >= 0 <= y
        assert x + width <= 160
        assert y + height <= 120
    assert frames[0].box != frames[-1].box


def test_generated_test_videos_publish_the_first_box(tmp_path):
    assert make_sot_videos(tmp_path / 'videos', train=1, val=1, test=2,
                           frames=3, size=64)
    root = tmp_path / 'videos/got10k'
    dataset = build('GOT10k', data_root=str(root), split='test')
    assert len(dataset) == 2
    record = dataset.get_data_info(0)
    assert record['name'] == 'GOT-10k_Test_000001'
    assert np.isfinite(record['boxes']).all(1).tolist() == [True, False, False]
    assert len(list((root / 'test' / record['name']).iterdir())) == 5


def test_videos_are_written_once(tmp_path):
    arguments = dict(train=1, val=1, frames=2, size=64)
    assert make_sot_videos(tmp_path / 'videos', **arguments)
    assert not make_sot_videos(tmp_path / 'videos', **arguments)
    with pytest.raises(FileExistsError, match='something else than these'):
        make_sot_videos(tmp_path / 'videos', **dict(arguments, seed=1))
    with pytest.raises(ValueError, match='frames must be at least 2'):
        make_sot_videos(tmp_path / 'other', frames=1)
