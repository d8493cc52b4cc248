"""Predictions as labels of every tool's format, read back by convert."""
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.formats import (
    ImageFolder,
    ReadErrors,
    check_annotations,
    read_annotations,
)
from mmlowformer.datasets.formats.writers import WRITERS
from mmlowformer.errors import UserError
from mmlowformer.predict import short_names
from mmlowformer.predict.labels.uncertainty import most_uncertain, uncertainty
from mmlowformer.predict.labels.writing import write_labels
from mmlowformer.predict.result_lines import line_of
from mmlowformer.runtime.masks import encode_rle

from ..helpers import TOOLS

CLASSES = ['dog', '<b>"Größe" & 犬</b>', 'yes']
# Boxes in half pixels, which VOC rounds.
TOLERANCE = dict(voc=0.5, cvat=0.006)
BOXES = [([10.25, 0, 20, 18.5], 0, 0.9), ([1, 2, 3, 4], 1, 0.5),
         ([5, 5, 6, 6], 2, 0.1)]
NAMES = ['a.jpg', 'a.png', 'Fläche 1/ü & "x" <y>.jpg', "sub/a'b;#%41.jpg",
         'classes.jpg', 'rotated.jpg', 'empty.jpg']


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        # Stored upright as 40x20, rotated as 20x40.
        exif[0x0112] = 6 if name == 'rotated.jpg' else 1
        size = (20, 40) if name == 'rotated.jpg' else (40, 20)
        Image.new('RGB', size).save(folder / name, exif=exif)
    return folder


def write_lines(folder, paths, records):
    """The lines of a run, with the same records for all but the last."""
    folder.mkdir()
    lines = folder / 'predictions.jsonl'
    lines.write_bytes(b''.join(line_of(
        position, file_name=path, image_id=position + 7,
        predictions=records if 'empty' not in path else [])
        for position, path in enumerate(paths)))
    return lines


def record(box, label, score, **more):
    return dict(category_id=label + 1, category_name=CLASSES[label],
                bbox=box, score=score, **more)


def read_back(kind, source, images):
    errors = ReadErrors()
    found, classes = read_annotations(kind, str(source),
                                      ImageFolder(str(images)), errors)
    found, dropped = check_annotations(found, classes, errors)
    errors.check(str(source), '')
    assert not dropped
    return {image.name: image for image in found}


@pytest.mark.parametrize('kind', WRITERS)
def test_boxes_return(kind, images, tmp_path):
    paths = [str(images / name) for name in NAMES]
    lines = write_lines(tmp_path / 'out', paths,
                        [record(*box) for box in BOXES])
    assert write_labels(kind, lines, paths, CLASSES, score_thr=0.5,
                        model='m') == len(NAMES)
    folder = tmp_path / f'out/labels-{kind}'
    found = read_back(kind, folder, images)
    assert sorted(found) == sorted(NAMES)
    for name, image in found.items():
        assert (image.width, image.height) == (40, 20)
        wanted = [] if 'empty' in name else BOXES[:2]
        assert [item.label for item in image.annotations] == [
            CLASSES[label] for _, label, _ in wanted]
        for item, ((x, y, w, h), *_) in zip(image.annotations, wanted):
            assert item.box == pytest.approx(
                (x, y, x + w, y + h), abs=TOLERANCE.get(kind, 1e-4))
    # Nothing else has been written, and nothing again.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'images', 'out']
    assert write_labels(kind, lines, paths, CLASSES) is None


@pytest.mark.parametrize('kind', WRITERS)
def test_masks_become_polygons(kind, images, tmp_path):
    mask = np.zeros((20, 40), bool)
    mask[2:12, 5:25] = mask[15:18, 30:32] = True
    paths = [str(images / 'rotated.jpg')]
    lines = write_lines(tmp_path / 'out', paths, [record(
        [5, 2, 27, 16], 0, 0.9, segmentation=encode_rle(mask))])
    write_labels(kind, lines, paths, CLASSES)
    item, = read_back(kind, tmp_path / f'out/labels-{kind}', images
                      )['rotated.jpg'].annotations
    parts = 0 if kind == 'voc' else 1 if kind in ('yolo', 'label-studio') \
        else 2
    assert len(item.segmentation or []) == parts
    assert item.box == pytest.approx(
        (5, 2, 25, 12) if parts == 1 else (5, 2, 32, 18), abs=1e-3)


def test_only_some_images(images, tmp_path):
    paths = [str(images / name) for name in NAMES]
    lines = write_lines(tmp_path / 'out', paths, [record(*BOXES[0])])
    assert write_labels('voc', lines, paths, CLASSES, only={3}) == 1
    written = [path for path in (tmp_path / 'out/labels-voc').rglob('*')
               if path.is_file()]
    assert [path.name for path in written] == ["a'b;#%41.xml"]


def test_paths_of_labelme_are_relative(images, tmp_path):
    paths = [str(images / 'sub' / "a'b;#%41.jpg"), str(images / 'a.jpg')]
    lines = write_lines(tmp_path / 'out', paths, [])
    write_labels('labelme', lines, paths, CLASSES)
    for file in (tmp_path / 'out/labels-labelme').rglob('*.json'):
        path = json.loads(file.read_text())['imagePath']
        assert not os.path.isabs(path)
        assert (file.parent / path).samefile(paths[file.stem == 'a'])


@pytest.mark.parametrize(('records', 'classes', 'text'), [
    ([dict(category_name='dog', area=3)], CLASSES, 'is for boxes'),
    ([dict(bbox=[1, 2], score=1)], CLASSES, 'cannot be written'),
    ([dict(bbox=[1, 2, 3, 4], score='high')], CLASSES, 'cannot be written'),
    ([record([1, 2, 3, 4], 0, 1, segmentation=dict(
        size=[9, 9], counts='0'))], CLASSES, 'another size'),
    ([], ['a\nb'], 'no printable text')])
def test_what_is_refused(records, classes, text, images, tmp_path):
    paths = [str(images / 'a.jpg')]
    lines = write_lines(tmp_path / 'out', paths, records)
    with pytest.raises(UserError, match=text):
        write_labels('coco', lines, paths, classes)
    assert os.listdir(tmp_path / 'out') == ['predictions.jsonl']


@pytest.mark.skipif(os.name == 'nt', reason='no such names')
def test_names_that_xml_cannot_hold(images, tmp_path):
    path = str(images / '\x01\n.jpg')
    Image.new('RGB', (40, 20)).save(path)
    lines = write_lines(tmp_path / 'out', [path], [record(*BOXES[1])])
    for kind in ('voc', 'cvat'):
        with pytest.raises(UserError, match='XML cannot hold'):
            write_labels(kind, lines, [path], CLASSES)
    write_labels('labelme', lines, [path], CLASSES)
    found = read_back('labelme', tmp_path / 'out/labels-labelme', images)
    assert len(found['\x01\n.jpg'].annotations) == 1


def test_uncertainty():
    near, far = record([0, 0, 1, 1], 0, 0.5), record([0, 0, 1, 1], 0, 0.9)
    assert uncertainty([near, near]) == 2
    assert uncertainty([far]) == pytest.approx(0.04)
    assert uncertainty([]) == 0
    assert uncertainty([dict(predictions=[
        dict(score=0.5), dict(score=0.3)])]) == pytest.approx(0.64)
    assert uncertainty([dict(predictions=[dict(score=1.)])]) == 0
    with pytest.raises(UserError, match='needs scores'):
        uncertainty([dict(share=1, area=3)])


def test_similar_images_come_last(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    paths = []
    # The second is the first again, a little brighter.
    for index, pixels in enumerate([noise[0], noise[0] // 2 + 9, noise[1],
                                    noise[2]]):
        paths.append(str(tmp_path / f'{index}.png'))
        Image.fromarray(pixels).save(paths[-1])
    lines = tmp_path / 'predictions.jsonl'
    lines.write_bytes(b''.join(line_of(
        index, predictions=[record([0, 0, 1, 1], 0, score)])
        for index, score in enumerate([0.5, 0.6, 0.7, 0.99])))
    assert list(most_uncertain(lines, paths, 2)) == [0, 2]
    assert list(most_uncertain(lines, paths, 9)) == [0, 2, 3, 1]


def test_the_tool_writes_labels(detector, classifier, images, run_here,
                                error_here, tmp_path):
    command = [TOOLS / 'predict.py', detector, images, '-r', '--out', 'out',
               '--no-pictures', '--score-thr', '0']
    names = sorted(NAMES)
    printed = run_here(*command, '--save-as', 'coco', '--uncertain', '2',
                       cwd=tmp_path).stdout
    assert '2 images in out/labels-coco' in ' '.join(printed.split())
    listed = (tmp_path / 'out/uncertain.txt').read_text().splitlines()
    assert len(listed) == 2
    found = json.loads((tmp_path / 'out/labels-coco/annotations.json'
                        ).read_text())
    assert sorted(image['file_name'] for image in found['images']) == sorted(
        short_names([str(images / 'x'), *listed])[1:])
    # The results of an earlier run in another format, without predicting.
    printed = run_here(*command, '--save-as', 'yolo', '--resume',
                       cwd=tmp_path).stdout
    assert f'{len(names)} images in out/labels-yolo' in ' '.join(
        printed.split())
    assert 'exists and is kept' in ' '.join(run_here(
        *command, '--save-as', 'yolo', '--resume', cwd=tmp_path
        ).stdout.split())
    result = run_here(
        TOOLS / 'data.py', 'convert', 'yolo', 'out/labels-yolo', '--images',
        images, '--out', 'back.json', cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    lines = map(json.loads, (tmp_path / 'out/predictions.jsonl').open())
    assert len(json.loads((tmp_path / 'back.json').read_text())[
        'annotations']) == sum(len(line['predictions']) for line in lines)
    # A list of uncertain images is an input; classes are no boxes.
    said = error_here(TOOLS / 'predict.py', classifier, 'out/uncertain.txt',
                      '--save-as', 'voc', '--uncertain', '1', cwd=tmp_path)
    assert 'is for boxes' in said
    assert len(Path(tmp_path / 'predictions/uncertain.txt'
                    ).read_text().splitlines()) == 1
    for option, value in (('--merge', 'out'), ('--gallery', images)):
        assert '--save-as' in error_here(
            TOOLS / 'predict.py', *([] if option == '--merge' else [
                detector, images]), option, value, '--save-as', 'voc',
            cwd=tmp_path)


def test_the_last_shard_writes_labels(detector, images, run_here, tmp_path):
    command = [TOOLS / 'predict.py', detector, images, '-r', '--no-pictures',
               '--score-thr', '0', '--save-as', 'cvat', '--uncertain', '3']
    assert run_here(*command, '--out', 'whole', cwd=tmp_path).returncode == 0
    for number in (2, 1):
        assert not (tmp_path / 'out/labels-cvat').exists()
        result = run_here(*command, '--out', 'out', '--shard', f'{number}/2',
                          cwd=tmp_path)
        assert result.returncode == 0, result.stdout
    for name in ('labels-cvat/annotations.xml', 'uncertain.txt'):
        assert (tmp_path / 'out' / name).read_bytes() == (
            tmp_path / 'whole' / name).read_bytes()


@pytest.mark.parametrize('kind', WRITERS)
def test_more_images_need_no_more_memory(kind, tmp_path):
    path = str(tmp_path / 'a.jpg')
    Image.new('RGB', (40, 20)).save(path)

    def peak(count):
        lines = write_lines(tmp_path / str(count), [path] * count,
                            [record([1, 2, 3, 4], 0, 0.5)] * 50)
        tracemalloc.start()
        assert write_labels(kind, lines, [path] * count, CLASSES) == count
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)
    assert peak(60) < 1.5 * peak(20)
