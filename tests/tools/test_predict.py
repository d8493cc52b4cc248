"""The tool predict.py."""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import threading
import weakref

import cv2
import numpy as np
import pytest
from mmengine import load
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmlowformer import Predictor, get_config
from mmlowformer.datasets.synthetic.shapes import make_dataset
from mmlowformer.predict import predictor
from mmlowformer.predict import writer as writing
from mmlowformer.predict.pipeline import Pipeline

from ..helpers import PREDICT, ROOT

TEST = ROOT / 'tools/test.py'
ALL = ('--score-thr', 0)


def records(folder):
    return json.loads((folder / 'predictions.json').read_text())


@pytest.fixture(scope='module')
def photo(photos):
    return Image.open(photos[0])


def test_a_folder_of_boxes(run_python, detector, shapes, tmp_path):
    """In a new process."""
    result = run_python(PREDICT, detector, shapes / 'coco/train2017', *ALL,
                        '--batch-size', 4, '--save-crops', '--device', 'cpu')
    assert result.returncode == 0, result.stderr
    assert all(len(line) <= 80 for line in result.stdout.splitlines()
               if str(tmp_path) not in line and str(detector) not in line)
    assert '4 of 4 done' in result.stdout
    assert '000000.jpg  64x64  10 boxes above 0' in result.stdout
    out = tmp_path / 'predictions'
    assert len(list((out / 'pictures').iterdir())) == 4
    assert len(list((out / 'crops').rglob('*.png'))) == 40
    found = records(out)
    assert len(found) == 40
    assert {record['image_id'] for record in found} == {1, 2, 3, 4}
    assert {'file_name', 'category_id', 'category_name', 'bbox',
            'score'} < set(found[0])


def test_profile(run_here, error_here, detector, photos, film, tmp_path):
    result = run_here(PREDICT, detector, *photos, '--deploy', '--profile',
                      '--no-pictures', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    line = ' '.join(result.stdout[result.stdout.index('Profile'):].split())
    assert re.fullmatch(r'Profile [\d.]+ ms from file to result: read [\d.]+, '
                        r'prepare [\d.]+, network [\d.]+, rest [\d.]+', line)
    assert '--profile is for images' in error_here(
        PREDICT, detector, film, '--profile', cwd=tmp_path)


def test_records_are_those_of_a_test(run_here, detector, tmp_path):
    """All boxes of 64 images, their ids, and so the metric."""
    make_dataset(tmp_path / 'shapes', train=1, val=64, size=64)
    result = run_here(
        TEST, 'retinanet_lowformer_b0_shapes', detector, '--out', 'all.json',
        '--cfg-options', 'data_root=shapes/coco/',
        'model.test_cfg.score_thr=0', 'model.test_cfg.max_per_img=10',
        'test_evaluator.outfile_prefix=theirs', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    ann_file = tmp_path / 'shapes/coco/annotations/instances_val2017.json'
    size = get_config('retinanet_lowformer_b0_shapes').test_dataloader
    result = run_here(
        PREDICT, detector, 'shapes/coco/val2017', *ALL, '--no-pictures',
        '--json', 'ours.json', '--ann-file', ann_file, '--batch-size',
        size.batch_size, cwd=tmp_path)
    assert '64 of 64 done' in result.stdout, result.stdout
    assert not (tmp_path / 'predictions/pictures').exists()
    ours = load(tmp_path / 'ours.json')
    theirs = load(tmp_path / 'theirs.bbox.json')
    assert len(ours) == 640
    assert {'image_id', 'category_id', 'bbox', 'score'} <= set(theirs[0])
    assert [{key: record[key] for key in theirs[0]}
            for record in ours] == theirs
    truth = COCO(str(ann_file))
    evaluation = COCOeval(truth, truth.loadRes(ours), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = json.loads((tmp_path / 'all.json').read_text())
    for name, value in zip(('mAP', 'mAP_50', 'mAP_75'), evaluation.stats):
        assert metrics[f'coco/bbox_{name}'] == pytest.approx(value, abs=6e-4)


def test_masks(run_here, segmentor, shapes, tmp_path):
    result = run_here(PREDICT, segmentor, shapes / 'ade/images/validation',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    found = records(tmp_path / 'predictions')
    mask = np.array(Image.open(
        tmp_path / 'predictions/masks/000000.jpg.png'))
    assert mask.shape == (64, 64)
    areas = {record['category_id'] - 1: record['area'] for record in found
             if record['file_name'] == '000000.jpg'}
    labels, counts = np.unique(mask, return_counts=True)
    assert areas == dict(zip(labels.tolist(), counts.tolist()))


def test_labels(run_here, classifier, photos, tmp_path):
    result = run_here(PREDICT, classifier, photos[0], cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    record, = records(tmp_path / 'predictions')
    assert len(record['predictions']) == 4
    scores = [one['score'] for one in record['predictions']]
    assert scores == sorted(scores, reverse=True)
    assert record['predictions'][0]['category_name'] in result.stdout


def test_similar_images(run_here, error_here, retriever, shapes, photos,
                        tmp_path):
    shutil.copytree(shapes / 'folders/train', tmp_path / 'gallery')
    command = (PREDICT, retriever, photos[0], '--gallery', 'gallery', '--out',
               'out', '--resume')
    result = run_here(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    record, = records(tmp_path / 'out')
    assert len(record['neighbors']) == 4
    assert record['neighbours'] == record['neighbors']
    shutil.copy(photos[0], tmp_path / 'gallery')
    assert 'settings (gallery)' in error_here(*command, cwd=tmp_path)


def test_same_names(run_here, detector, photos, tmp_path):
    for folder in ('A', 'B'):
        (tmp_path / folder).mkdir()
        shutil.copy(photos[0], tmp_path / folder / 'x.jpg')
    result = run_here(PREDICT, detector, 'A', 'B', '--out', 'out',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert sorted(str(file.relative_to(tmp_path / 'out/pictures'))
                  for file in (tmp_path / 'out').rglob('*.jpg')) == [
        'A/x.jpg', 'B/x.jpg']


def test_no_picture_replaces_another(run_here, detector, photo, tmp_path):
    """Also if the format of the picture changes."""
    names = ['a.tif', 'a.tif.png', 'A.TIF.PNG', 'a.gif']
    for name in names:
        photo.save(tmp_path / name)
    result = run_here(PREDICT, detector, *names, '--out', 'out',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert sorted(file.name for file in (tmp_path / 'out/pictures').iterdir()
                  ) == ['A.TIF-3.PNG', 'a.gif.png', 'a.tif-2.png',
                        'a.tif.png']


def test_earlier_predictions_are_no_photos(run_here, detector, photos,
                                           tmp_path):
    shutil.copy(photos[0], tmp_path / 'photo.jpg')
    for _ in range(2):
        result = run_here(PREDICT, detector, '.', '-r', cwd=tmp_path)
        assert '1 of 1 done' in result.stdout
    assert 'results of earlier runs' in result.stdout


def test_drawing_goes_on_meanwhile(tmp_path):
    """At most one batch waits for it."""
    go, done = threading.Event(), []

    def draw(number):
        go.wait(20)
        done.append(number)

    with writing.Writer(tmp_path / 'lines', writing.CocoIdMapper(),
                        ahead=3) as writer:
        for number in range(3):
            writer.later(draw, number)
        assert not done
        threading.Timer(0.1, go.set).start()
        writer.later(draw, 3)
        assert done
    assert done == list(range(4))


def test_a_scene_is_written_before_the_next_is_read(
        run_here, segmentor, photos, tmp_path, monkeypatch):
    """Each fills the memory; also nothing else remembers it."""
    scenes = []

    def open_scene(self, *arguments):
        assert not any(image() is not None for image in scenes)
        scene = opened(self, *arguments)
        scenes.append(weakref.ref(scene.image))
        return scene

    opened = Pipeline.open_scene
    monkeypatch.setattr(Pipeline, 'open_scene', open_scene)
    result = run_here(PREDICT, segmentor, *photos[:3], '--out', 'out',
                      '--tile-size', 64, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert len(scenes) == len(list((tmp_path / 'out/masks').iterdir())) == 3


def odd_images(folder, photo):
    """Images of all kinds, and their expected sizes."""
    folder.mkdir()
    photo = photo.resize((60, 40))
    gray = np.array(photo.convert('L'))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo.save(folder / 'good.JPG')
    photo.convert('L').save(folder / 'gray.png')
    cv2.imwrite(str(folder / '16bit.png'), gray.astype(np.uint16) * 257)
    photo.convert('CMYK').save(folder / 'cmyk.jpg')
    photo.convert('RGBA').save(folder / 'alpha.png')
    photo.convert('LA').save(folder / 'gray_alpha.png')
    photo.convert('P').save(folder / 'palette.png')
    photo.convert('1').save(folder / 'bits.png')
    photo.save(folder / 'turned.jpg', exif=exif)
    photo.save(folder / 'animated.gif', save_all=True, append_images=[
        photo.rotate(90), photo.rotate(180)])
    photo.save(folder / 'modern.webp')
    photo.resize((1, 1)).save(folder / 'pixel.png')
    return dict.fromkeys((
        'good.JPG', 'gray.png', '16bit.png', 'cmyk.jpg', 'alpha.png',
        'gray_alpha.png', 'palette.png', 'bits.png', 'animated.gif',
        'modern.webp'), '60x40') | {
        'turned.jpg': '40x60', 'pixel.png': '1x1'}


def broken_images(folder, photo):
    """Broken files, and the expected reasons."""
    (folder / 'empty.jpg').touch()
    photo.save(folder / 'whole.png')
    content = (folder / 'whole.png').read_bytes()
    (folder / 'whole.png').unlink()
    (folder / 'half.png').write_bytes(content[:len(content) // 2])
    (folder / 'text.jpg').write_text('no image')
    return {'empty.jpg': '0 bytes', 'half.png': 'damaged',
            'text.jpg': 'damaged'}


def test_odd_images_are_read_right(detector, photo, tmp_path):
    """The pixels are those of the photo."""
    sizes = odd_images(tmp_path / 'in', photo)
    small = photo.resize((60, 40))
    pipeline = Predictor(detector, device='cpu').pipeline
    for name in set(sizes) - {'pixel.png', 'bits.png'}:
        expected = small.convert(
            'L' if name.startswith(('gray', '16')) else 'RGB').convert('RGB')
        if name == 'palette.png':
            # Of few colors, as the file has them.
            expected = Image.open(tmp_path / 'in' / name).convert('RGB')
        if name == 'turned.jpg':
            expected = expected.transpose(Image.Transpose.ROTATE_270)
        found = pipeline.read(tmp_path / 'in' / name)['img'][..., ::-1]
        # Of lossy formats; other channels or rows are far off.
        difference = np.abs(found.astype(int) - np.asarray(expected))
        assert difference.mean() < 12, name


@pytest.fixture(params=['detector', 'segmentor', 'classifier'])
def checkpoint(request):
    return request.getfixturevalue(request.param)


def test_odd_images(run_here, checkpoint, photo, tmp_path):
    sizes = odd_images(tmp_path / 'in', photo)
    broken = broken_images(tmp_path / 'in', photo)
    result = run_here(PREDICT, checkpoint, 'in', '--out', 'out', *ALL,
                      '--batch-size', 3, cwd=tmp_path)
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout, result.stdout
    shown = ' '.join(result.stdout.split())
    for name, size in sizes.items():
        assert f' {name} {size} ' in f' {shown}'
    for name, reason in broken.items():
        assert re.search(f'Skipped: image in/{name} .*?{reason}', shown)
    assert f'{len(sizes)} of {len(sizes) + 3} done, 3 skipped' in shown
    assert {record['file_name'] for record in records(tmp_path / 'out')} == (
        set(sizes))
    assert len(list((tmp_path / 'out/pictures').iterdir())) == len(sizes)


def test_boxes_of_turned_images(run_here, detector, photo,
                                tmp_path):
    """They refer to the rotated image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / 'turned.png', exif=exif)
    photo.transpose(Image.Transpose.ROTATE_270).save(tmp_path / 'upright.png')
    result = run_here(PREDICT, detector, 'turned.png', 'upright.png', *ALL,
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    found = records(tmp_path / 'predictions')
    turned, upright = ([record['bbox'] for record in found
                        if record['file_name'] == name]
                       for name in ('turned.png', 'upright.png'))
    assert turned == upright


def test_a_very_wide_image(run_here, checkpoint, photos, tmp_path):
    """It is predicted or skipped by name, and the other image is predicted."""
    Image.new('RGB', (20000, 10)).save(tmp_path / 'wide.png')
    result = run_here(PREDICT, checkpoint, 'wide.png', photos[0],
                      cwd=tmp_path)
    assert 'Traceback' not in result.stdout
    assert 'wide.png' in result.stdout
    skipped = 'Skipped' in result.stdout
    assert result.returncode == skipped
    assert f'{2 - skipped} of 2 done' in result.stdout


@pytest.fixture
def film(tmp_path, photo):
    writer = cv2.VideoWriter(str(tmp_path / 'film.mp4'),
                             cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 64))
    frame = np.array(photo)[..., ::-1]
    for shift in range(7):
        writer.write(np.roll(frame, shift, 1))
    writer.release()
    return tmp_path / 'film.mp4'


def frames_of(file):
    capture, count = cv2.VideoCapture(str(file)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_a_video(run_here, detector, film, tmp_path):
    result = run_here(PREDICT, detector, film, *ALL, '--batch-size', 2,
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert 'film.mp4  7 frames' in result.stdout
    assert 'per second' in result.stdout
    found = records(tmp_path / 'predictions')
    assert [record['image_id'] for record in found] == [
        number for number in range(1, 8) for _ in range(10)]
    assert frames_of(tmp_path / 'predictions/videos/film.mp4') == 7


def test_videos_of_one_name(run_here, detector, film, tmp_path):
    for folder in ('A', 'B'):
        (tmp_path / folder).mkdir()
        shutil.copy(film, tmp_path / folder / 'film.mp4')
    shutil.copy(film, tmp_path / 'A/film.mov')
    result = run_here(PREDICT, detector, 'A', 'B', *ALL, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    out = tmp_path / 'predictions'
    assert sorted(str(file.relative_to(out / 'videos'))
                  for file in (out / 'videos').rglob('*.*')) == [
        'A/film.mov.mp4', 'A/film.mp4', 'B/film.mp4']
    assert {record['file_name'] for record in records(out)} == {
        'A/film.mov', 'A/film.mp4', 'B/film.mp4'}


def test_a_camera(run_here, detector, photo, tmp_path, monkeypatch):
    """Ctrl-C ends it and keeps the results."""
    class Camera:

        def __init__(self, source):
            assert source == 0
            self.left = 20

        def isOpened(self):
            return True

        def get(self, key):
            return 0.

        def read(self):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return True, np.array(photo)

        def release(self):
            pass

    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    result = run_here(PREDICT, detector, '0', *ALL, cwd=tmp_path)
    assert result.returncode == 130
    assert re.search(r'Interrupted: 0 done, \d+ frames?, in', result.stdout)
    monkeypatch.setattr(cv2, 'VideoCapture', capture)
    out = tmp_path / 'predictions'
    seen = frames_of(out / 'videos/camera-0.mp4')
    assert seen >= 1
    assert len(records(out)) == 10 * seen
    assert records(out)[0]['file_name'] == 'camera-0'


def test_broken_videos(run_here, detector, film, photos,
                       tmp_path):
    (tmp_path / 'empty.mp4').touch()
    content = film.read_bytes()
    (tmp_path / 'half.mp4').write_bytes(content[:len(content) // 2])
    result = run_here(PREDICT, detector, 'empty.mp4', 'half.mp4', film,
                      photos[0], cwd=tmp_path)
    assert result.returncode == 1
    assert 'empty.mp4 is empty' in result.stdout
    assert '2 of 4 done, 2 skipped' in result.stdout


def test_nothing_is_overwritten(run_here, error_here, detector,
                                photos, tmp_path):
    for folder in ('predictions', 'predictions-2'):
        result = run_here(PREDICT, detector, photos[0], cwd=tmp_path)
        assert f'{folder}/predictions.json' in result.stdout
    said = error_here(PREDICT, detector, photos[0], '--out', 'predictions',
                      cwd=tmp_path)
    assert 'predictions exists already' in said
    (tmp_path / 'all.json').touch()
    for more in ((), ('--track', ), ('--box', '1,1,9,9')):
        said = error_here(PREDICT, detector, photos[0], '--json', 'all.json',
                          *more, cwd=tmp_path)
        assert 'all.json exists already' in said
    assert not (tmp_path / 'all.json').stat().st_size


@pytest.mark.parametrize('number', [
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_done_is_kept(run_here, detector, photos, tmp_path,
                              monkeypatch, number):
    """Ctrl-C, and the signals of schedulers and closed terminals."""
    add = writing.Writer.add

    def interrupted(self, position, *arguments):
        if position == 2:
            signal.raise_signal(number)
        add(self, position, *arguments)

    monkeypatch.setattr(writing.Writer, 'add', interrupted)
    result = run_here(PREDICT, detector, *photos, *ALL, cwd=tmp_path)
    assert result.returncode == 128 + number
    assert result.stdout.count('Interrupted') == 1
    assert 'Interrupted: 2 done, in predictions/' in ' '.join(
        result.stdout.split())
    assert len(records(tmp_path / 'predictions')) == 20
    assert len(list((tmp_path / 'predictions/pictures').iterdir())) == 2
    monkeypatch.undo()
    result = run_here(PREDICT, detector, *photos, *ALL, '--resume', '--out',
                      'predictions', cwd=tmp_path)
    assert '2 of 2 done' in result.stdout
    assert len(records(tmp_path / 'predictions')) == 40


@pytest.mark.parametrize(('options', 'words'), [
    (('gone.jpg', ), 'input not found: gone.jpg'),
    (('.', '--batch-size', 0), 'batch_size 0'),
    (('.', '--tile-size', 8), 'tile 8'),
    (('.', '--overlap-ratio', 2, '--tile-size', 64), 'overlap 2'),
    (('.', '--config', 'retinanet_lowformer_b9_coco'), 'config not found'),
    (('.', '--ann-file', 'gone.json'), 'gone.json'),
    (('.', '--ann-file', 'other.json'), "no category 'circle'"),
    (('.', '--device', 'gpu'), '--device gpu'),
    (('.', '--dtype', 'bf16'), 'need --deploy'),
    (('.', '--compile'), 'need --deploy')])
def test_one_line_for_mistakes(error_here, detector, photos,
                               tmp_path, options, words):
    shutil.copy(photos[0], tmp_path)
    (tmp_path / 'other.json').write_text(json.dumps(
        dict(images=[], categories=[])))
    said = error_here(PREDICT, detector, *options, cwd=tmp_path)
    assert words in said
    assert 'predict.py: error: ' in said
    assert not (tmp_path / 'predictions').exists()


def test_a_missing_checkpoint(error_here, photos, tmp_path):
    said = error_here(PREDICT, 'gone.pth', photos[0], cwd=tmp_path)
    assert 'checkpoint not found: gone.pth' in said


def test_odd_file_names(run_here, detector, photos, tmp_path):
    """The longest, undecodable and control characters, and a pipe."""
    (tmp_path / 'in').mkdir()
    for name in (b'x' * 251 + b'.png', b'caf\xe9.png', b'a\x1b[2J\n.png'):
        shutil.copy(photos[0], tmp_path / 'in' / os.fsdecode(name))
    os.mkfifo(tmp_path / 'in/pipe.png')
    result = run_here(PREDICT, detector, 'in', *ALL, '--save-crops',
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert '3 of 3 done' in result.stdout
    assert r'a\x1b[2J\n.png' in result.stdout
    assert r'caf\udce9.png' in result.stdout
    assert '\x1b' not in result.stdout
    out = tmp_path / 'predictions'
    assert len(records(out)) == 30
    assert len(list((out / 'crops').rglob('*.png'))) == 30
    assert len(list((out / 'pictures').iterdir())) == 3


@pytest.mark.parametrize('options', [(), ('--track', )])
def test_videos_that_break_off(run_here, detector, photo, tmp_path, options):
    file = tmp_path / 'short.avi'
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*'MJPG'), 10,
                            photo.size)
    for _ in range(8):
        video.write(np.asarray(photo))
    video.release()
    content = file.read_bytes()
    file.write_bytes(content[:len(content) // 2])
    result = run_here(PREDICT, detector, 'short.avi', *options,
                      cwd=tmp_path)
    assert result.returncode == 1
    said = ' '.join(result.stdout.split())
    assert 'of the 8 frames' in said, said
    assert records(tmp_path / 'predictions') is not None
    if not options:
        assert '0 of 1 done, 1 skipped' in said


def test_an_interrupt_says_one_thing(run_here, detector, photos, tmp_path,
                                     monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.Writer, 'add', interrupted)
    result = run_here(PREDICT, detector, photos[0], cwd=tmp_path)
    assert result.returncode == 130
    assert result.stdout.count('Interrupted') == 1


def contents(folder):
    """All files of a folder, by their relative path."""
    return {str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob('*')) if file.is_file()
            and not file.name.startswith('.')}


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_resume(kind, request, run_here, error_here, photos, film, tmp_path,
                monkeypatch):
    """Every file is that of a run without interruption."""
    checkpoint = request.getfixturevalue(kind)
    command = (PREDICT, checkpoint, *photos, film, *ALL, '--save-crops',
               '--out', 'out', '--resume')
    assert run_here(*command, cwd=tmp_path).returncode == 0
    out = tmp_path / 'out'
    whole = contents(out)
    lines = whole['predictions.jsonl'].splitlines(True)
    # Killed in the line of the third image, and within a picture.
    (out / 'predictions.jsonl').write_bytes(
        b''.join(lines[:2]) + lines[2][:20])
    (out / 'predictions.json').unlink()
    (out / 'predictions.part.jpg').write_text('half')
    (out / 'videos/film.mp4').write_text('half')
    for file in [*out.rglob('000003.jpg*'), *out.rglob('000002.jpg*')]:
        file.unlink()
    result = run_here(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert '3 of 3 done' in result.stdout
    assert contents(out) == whole
    with monkeypatch.context() as patch:
        patch.setattr(predictor, 'load_model', pytest.fail)
        assert 'complete already' in run_here(*command, cwd=tmp_path).stdout
    assert contents(out) == whole
    for change, words in (
            (('--score-thr', 0.5), 'settings (score_thr: 0'),
            (('--tile-size', 64), 'settings (tile_size: None instead of 64)'),
            (('--no-pictures', ), 'settings (no_pictures: ')):
        assert words in error_here(*command, *change, cwd=tmp_path)
    assert 'settings (inputs)' in error_here(
        *command[:3], *command[4:], cwd=tmp_path)
    assert 'settings (checkpoint)' in error_here(
        PREDICT, request.getfixturevalue('classifier'), *command[2:],
        cwd=tmp_path)
    assert '--resume needs' in error_here(
        PREDICT, checkpoint, photos[0], '--resume', cwd=tmp_path)
    assert contents(out) == whole


def test_no_other_file_is_replaced(run_here, error_here, detector, photos,
                                   tmp_path):
    command = PREDICT, detector, photos[0], '--no-pictures', '--out', 'out'
    (tmp_path / 'mine.json').write_text('[]')
    for option in ((), ('--resume', )):
        assert 'mine.json exists already' in error_here(
            *command, *option, '--json', 'mine.json', cwd=tmp_path)
    for name in ('run.json', 'predictions.jsonl'):
        assert f'out/{name} has the name' in error_here(
            *command, '--json', f'out/{name}', cwd=tmp_path)
    command = (*command, '--resume', '--json', 'list.json')
    for _ in range(2):
        assert run_here(*command, cwd=tmp_path).returncode == 0


def test_only_what_failed_is_tried_again(run_here, detector, photos, tmp_path):
    (tmp_path / 'in').mkdir()
    shutil.copy(photos[0], tmp_path / 'in/a.jpg')
    (tmp_path / 'in/b.jpg').write_text('no image')
    command = PREDICT, detector, 'in', '--out', 'out', '--resume', *ALL
    assert '1 of 2 done, 1 skipped' in run_here(*command, cwd=tmp_path).stdout
    shutil.copy(photos[1], tmp_path / 'in/b.jpg')
    assert '1 of 1 done,' in run_here(*command, cwd=tmp_path).stdout
    assert len(records(tmp_path / 'out')) == 20


@contextlib.contextmanager
def largest_file(size):
    """Nothing is written behind this byte of a file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(('size', 'source', 'options'), [
    (3000, 'photos', ['--no-pictures']),  # within a line
    (3000, 'photos', ['--save-crops']),  # within a line or a picture
    (700, 'photos', ['--save-crops']),  # within a picture
    (4000, 'film', []),  # within the video or a line
    (4000, 'film', ['--track'])])
def test_a_full_disk_is_one_line(run_here, detector, request, tmp_path, size,
                                 source, options):
    """What is written stays valid, and the rest can be resumed."""
    inputs = request.getfixturevalue(source)
    inputs = inputs if source == 'photos' else [inputs]
    command = PREDICT, detector, *inputs, *ALL, *options, '--resume', '--out'
    with largest_file(size):
        result = run_here(*command, 'out', cwd=tmp_path)
    assert result.returncode == 1, result.stdout
    assert 'Traceback' not in result.stdout
    assert re.fullmatch(r'predict.py: error: .* cannot be written: .*File too '
                        r'large.*--resume continues', result.stderr)
    assert 'Skipped' not in result.stdout
    out = tmp_path / 'out'
    lines = (out / 'predictions.jsonl').read_text()
    assert not lines or lines.endswith('\n')
    list(map(json.loads, lines.splitlines()))
    for file in [*out.rglob('*.jpg'), *out.rglob('*.png')]:
        Image.open(file).load()
    for folder in ('out', 'new'):
        result = run_here(*command, folder, cwd=tmp_path)
        assert result.returncode == 0, result.stdout
    assert contents(out) == contents(tmp_path / 'new')


def test_a_track_is_written_as_it_comes(run_here, detector, film, tmp_path,
                                        monkeypatch):
    """A killed one starts again with --resume."""
    command = (PREDICT, detector, film, '--track', '--score-thr', 0.01,
               '--out', 'out', '--resume')
    append = writing.Writer._append
    seen = []

    def interrupted(self, *arguments, **values):
        append(self, *arguments, **values)
        seen.append((tmp_path / 'out/tracks.txt').read_text().splitlines())
        if len(seen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(writing.Writer, '_append', interrupted)
    assert run_here(*command, cwd=tmp_path).returncode == 130
    # Of each frame, all objects are there.
    assert [lines[-1].split(',')[0] for lines in seen[:4]] == list('1234')
    monkeypatch.undo()
    assert run_here(*command, cwd=tmp_path).returncode == 0
    whole = contents(tmp_path / 'out')
    assert {line.split(b',')[0] for line in
            whole['tracks.txt'].splitlines()} == {b'%d' % i
                                                  for i in range(1, 8)}
    assert len(whole['predictions.jsonl'].splitlines()) == 8
    monkeypatch.setattr(predictor, 'load_model', pytest.fail)
    result = run_here(*command, cwd=tmp_path)
    assert 'complete already' in result.stdout
    assert contents(tmp_path / 'out') == whole
