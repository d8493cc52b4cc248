"""How work and memory grow with a data set, counted, not timed."""
import gc
import json
import os
import sys
import tracemalloc
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets import splitting
from mmlowformer.datasets.checks.coco import find_in_coco
from mmlowformer.datasets.checks.coco_annotations import parse_coco, parts_of
from mmlowformer.datasets.formats import (
    AnnotatedImage,
    Annotation,
    ImageFolder,
    annotated_images,
    check_annotations,
)
from mmlowformer.datasets.inspection import anchor_fit
from mmlowformer.datasets.inspection import boxes as inspection
from mmlowformer.datasets.paths import files_below
from mmlowformer.errors import AnnotationErrors
from mmlowformer.utils import files

from ..custom_data import write_custom_data
from ..helpers import ROOT

DATA = ROOT / 'tools/data.py'
OPENED, WATCHED = Counter(), []


def _watch(event, arguments):
    if event == 'open' and WATCHED and isinstance(arguments[0], str):
        OPENED[os.path.realpath(arguments[0])] += 1


# Hooks cannot be removed.
sys.addaudithook(_watch)


@pytest.fixture
def opened():
    """How often each file is opened."""
    OPENED.clear()
    WATCHED.append(True)
    yield OPENED
    WATCHED.clear()


def lines_run(function, *arguments):
    """Lines of mmlowformer that a call runs, those of loops each time."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if 'mmlowformer' not in frame.f_code.co_filename:
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def linked(folder, names):
    """Files of these names, links to one."""
    source = folder / 'source'
    source.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (40, 20)).save(source, 'PNG')
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, path)
    source.unlink()
    return folder


def test_class_folders_are_split_in_linear_time(tmp_path):
    work = {}
    for classes in (20, 40):
        folder = str(linked(tmp_path / str(classes), [
            f'{label:02d}/{index}.png' for label in range(classes)
            for index in range(4)]))
        images = ImageFolder(folder)
        work[classes] = lines_run(splitting.split_images, images,
                                  dict(val=0.25), None, 0)
    assert work[40] < 2.2 * work[20]


def test_linked_folders_are_walked_in_linear_time(tmp_path):
    """Each link is compared with its parents, not with all folders."""
    work = {}
    for count in (20, 40):
        outside = linked(tmp_path / f'{count}-outside', [
            f'{number}/a.png' for number in range(count)])
        root = linked(tmp_path / str(count), [
            f'{number}/b.png' for number in range(count)])
        for number in range(count):
            (root / f'link-{number}').symlink_to(outside / str(number))
            (root / str(number) / 'back').symlink_to(root)
        names, _ = files_below(root)
        assert names == sorted(
            [f'{number}/b.png' for number in range(count)]
            + [f'link-{number}/a.png' for number in range(count)])
        work[count] = lines_run(files_below, root)
    assert work[40] < 2.2 * work[20]


def test_classes_are_looked_up(monkeypatch):
    class Label(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other):
            Label.compared += 1
            return str.__eq__(self, other)

    classes = [Label(f'class {number}') for number in range(300)]
    image = AnnotatedImage('a.png', 9, 9, [
        Annotation(str(label), (1, 1, 5, 5)) for label in classes])
    errors = AnnotationErrors()
    check_annotations([image], classes, errors)
    assert not errors.counts
    content = dict(
        categories=[dict(id=number, name=str(name))
                    for number, name in enumerate(classes)],
        images=[dict(id=1, file_name='a.png', width=9, height=9)],
        annotations=[dict(id=1, image_id=1, category_id=1, area=9, iscrowd=0,
                          bbox=[1, 1, 3, 3])])
    content = parts_of(content, 'all.json')
    content['categories'] = classes
    find_in_coco(content, 'all.json').check()
    assert Label.compared <= 5 * len(classes)


def test_annotation_files_are_read_once(run_here, shapes, tmp_path, opened):
    write_custom_data(shapes, tmp_path)
    source = tmp_path / 'all.json'
    source.write_bytes(
        (shapes / 'coco/annotations/instances_train2017.json').read_bytes())
    for command in (['inspect'], ['split'],
                    ['tile', '--out', 'tiles', '--tile-size', 64]):
        opened.clear()
        result = run_here(DATA, command[0], 'all.json', *command[1:],
                          cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        assert opened[str(source.resolve())] == 1
        images = {path: count for path, count in opened.items()
                  if path.startswith(str(tmp_path / 'images'))}
        # Sizes, the check of a training, and the preview or the tiles.
        assert images
        assert max(images.values()) <= 3


@pytest.mark.parametrize('kind', ['voc', 'yolo', 'labelme', 'csv'])
def test_sizes_are_read_once(kind, run_here, shapes, tmp_path, opened):
    write_custom_data(shapes, tmp_path)
    opened.clear()
    source = dict(voc='xml', yolo='labels', labelme='labelme',
                  csv='boxes.csv')[kind]
    assert run_here(DATA, 'convert', kind, source, '--out', 'x.json',
                    cwd=tmp_path).returncode == 0
    images = [count for path, count in opened.items()
              if path.startswith(str(tmp_path / 'images'))]
    assert images
    assert max(images) == 1


def test_anchors_are_compared_in_parts(monkeypatch):
    boxes = np.random.default_rng(0).uniform(1, 90, (250, 2)).tolist()
    image = AnnotatedImage('', 640, 480, [
        Annotation('', (0, 0, *box)) for box in boxes])
    anchors = anchor_fit.torch.tensor([[32., 32.], [64., 32.]])
    monkeypatch.setattr(anchor_fit, '_anchors', lambda cfg: anchors)
    cfg = SimpleNamespace(model={}, get=lambda name: None)
    whole = dict(anchor_fit.against_anchors([image], cfg))
    sizes = []

    def compare(some, others, box_iou=anchor_fit.box_iou):
        sizes.append(len(some))
        return box_iou(some, others)

    monkeypatch.setattr(anchor_fit, 'box_iou', compare)
    monkeypatch.setattr(anchor_fit, 'AT_ONCE', 100)
    assert dict(anchor_fit.against_anchors([image], cfg)) == whole
    assert sizes == [100, 100, 50]


def test_json_is_written_record_by_record(tmp_path, monkeypatch):
    content = {
        'info': {'description': 'näh "quoted"'}, 'empty': [], 'number': 3,
        'images': [{'id': number, 'file_name': f'{number}é.png'}
                   for number in range(100)]}
    longest = []

    def dumps(value, dumps=json.dumps, **kwargs):
        text = dumps(value, **kwargs)
        longest.append(len(text))
        return text

    expected = json.dumps(content, ensure_ascii=False)
    monkeypatch.setattr(files.json, 'dumps', dumps)
    files.write_json(tmp_path / 'a.json', content)
    assert (tmp_path / 'a.json').read_text('utf-8') == expected
    assert max(longest) < 100
    odd = {'images': [{'name': '\ud800'}, {'name': 'é'}], 'x': '\udfff'}
    files.write_json(tmp_path / 'b.json', odd)
    assert json.loads((tmp_path / 'b.json').read_text('utf-8')) == odd
    files.write_json(tmp_path / 'c.json', {})
    assert (tmp_path / 'c.json').read_text() == '{}'


def peak(function, *arguments):
    """The peak of Python's memory in a call, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_inspection_needs_little_more_than_the_json(tmp_path):
    count, each = 100, 30
    names = [f'{number}.png' for number in range(count)]
    images = linked(tmp_path / 'images', names)
    source = tmp_path / 'all.json'
    source.write_text(json.dumps(dict(
        images=[dict(id=number, file_name=name, width=40, height=20)
                for number, name in enumerate(names)],
        categories=[dict(id=1, name='a')],
        annotations=[dict(
            id=number + 1, image_id=number % count, category_id=1, iscrowd=0,
            area=10.5 + number, segmentation=[[1.5, 1.5, 9.5, 1.5, 9.5, 9.5]],
            bbox=[1.5, 1.5, 8.25 + number / 10_000, 8.25])
            for number in range(count * each)])))

    def load():
        json.loads(source.read_text())

    def inspect():
        folder, errors = ImageFolder(str(images)), AnnotationErrors()
        content = parts_of(parse_coco(str(source)), str(source))
        assert not find_in_coco(content, str(source), str(images)).counts
        annotated, _ = check_annotations(
            annotated_images(content, str(source), folder, errors),
            content['categories'], errors)
        findings = inspection.inspect_boxes(annotated, ['a'], folder, errors,
                                            None, lambda: None)
        assert not errors.counts
        assert findings.counts == dict(a=count * each)

    inspect()  # Imports.
    assert peak(inspect) < 1.35 * peak(load)
