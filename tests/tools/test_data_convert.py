"""tools/data.py convert and merge: parts, classes and several files."""
import json
import shutil

import pytest
from PIL import Image

from ..custom_data import voc, voc_object, write_export
from ..helpers import ROOT

DATA = ROOT / 'tools/data.py'


def ran(result):
    assert result.returncode == 0, result.stdout
    return ' '.join(result.stdout.split())


def load(file):
    """Boxes by image and class."""
    content = json.loads(file.read_text())
    images = {item['id']: item['file_name'] for item in content['images']}
    names = {item['id']: item['name'] for item in content['categories']}
    return list(names.values()), sorted(
        (images[item['image_id']], names[item['category_id']],
         *item['bbox']) for item in content['annotations'])


@pytest.mark.parametrize(('layout', 'folder'), [
    ('{part}/{kind}', ''), ('{kind}/{part}', 'images')])
def test_exported_folder(layout, folder, run_here, shapes, tmp_path):
    export = tmp_path / 'cells.v1i.yolov8'
    write_export(shapes, export, layout)
    said = ran(run_here(DATA, 'convert', 'yolo', export.name, '--out',
                        export.name, cwd=tmp_path))
    for part, count in dict(train=2, val=1, test=1).items():
        content = json.loads((export / f'{part}.json').read_text())
        assert len(content['images']) == count
        assert all((export / folder / image['file_name']).exists()
                   for image in content['images'])
        assert f'{part}: {count} images' in said
    assert 'README.roboflow.txt' in said
    assert 'no object of shapes' in said
    assert 'convert --drop-unused' in said
    option = '' if folder else f' --images {export.name}'
    assert f'inspect {export.name}/train.json{option}' in said.replace(
        '\\ ', '')
    assert f'config boxes {export.name}{option}' in said.replace('\\ ', '')
    assert f'config boxes {export.name}{option}' in ran(run_here(
        DATA, 'inspect', f'{export.name}/train.json', *option.split(),
        cwd=tmp_path)).replace('\\ ', '')
    # The command that was printed.
    ran(run_here(DATA, 'config', 'boxes', export.name, '--arch', 'b0',
                 *option.split(), cwd=tmp_path))
    assert (export / 'retinanet_lowformer_b0_custom.py').exists()


@pytest.mark.parametrize('option', ['--out', '--masks'])
def test_class_that_is_two_lines(option, error_here, run_here, two):
    """In a list of classes it would be two."""
    (two / 'may/a.json').write_text(json.dumps(dict(
        imagePath='a.jpg', shapes=[dict(label='a\nb', shape_type='rectangle',
                                        points=[[1, 1], [9, 9]])])))
    out = 'out.json' if option == '--out' else 'out'
    command = (DATA, 'convert', 'labelme', 'may/a.json', option, out)
    said = error_here(*command, cwd=two)
    assert r"has a class 'a\nb', whose name must be printable" in said
    assert not (two / out).exists()
    ran(run_here(*command, '--rename', 'a\nb=ab', cwd=two))


def test_byte_order_mark(run_here, error_here, two):
    """MMDetection's metric reads the file by itself."""
    ran(convert(run_here, two, 'may'))
    file = two / 'may/all.json'
    file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
    result = run_here(DATA, 'inspect', 'may/all.json', cwd=two)
    assert result.returncode == 1
    said = ' '.join(result.stdout.replace('\\\n', ' ').split())
    assert '1 x byte order mark' in said
    assert 'data.py fix may/all.json may/all-fixed.json' in said
    ran(run_here(DATA, 'fix', 'may/all.json', 'may/fixed.json', cwd=two))
    assert 'No errors' in ran(run_here(DATA, 'inspect', 'may/fixed.json',
                                       cwd=two))


def test_parts_in_one_file(run_here, shapes, tmp_path):
    write_export(shapes, tmp_path / 'export')
    said = ran(run_here(DATA, 'convert', 'yolo', 'export', '--out',
                        'all.json', '--drop', 'shapes', cwd=tmp_path))
    assert 'train, val, test of export are in one file now' in said
    assert 'shapes' not in load(tmp_path / 'all.json')[0]


@pytest.fixture
def two(tmp_path):
    """Two folders with an image of each name and VOC files."""
    for name, label in (('may', 'car'), ('june', 'truck')):
        folder = tmp_path / name
        (folder / 'images').mkdir(parents=True)
        Image.new('RGB', (40, 20)).save(folder / 'images/a.jpg')
        (folder / 'xml').mkdir()
        (folder / 'xml/a.xml').write_text(voc('a.jpg', (40, 20), [
            voc_object(label, (1, 1, 10, 20)),
            voc_object('unclear', (11, 1, 30, 20))]))
    return tmp_path


def convert(run_here, folder, name, *options):
    return run_here(DATA, 'convert', 'voc', f'{name}/xml', '--out',
                    f'{name}/all.json', *options, cwd=folder)


def test_rename_and_drop(run_here, two):
    said = ran(convert(run_here, two, 'may', '--rename', 'car=vehicle',
                       '--rename', 'unclear=vehicle'))
    assert 'Classes 1: vehicle' in said
    assert load(two / 'may/all.json') == (['vehicle'], [
        ('a.jpg', 'vehicle', 0, 0, 10, 20),
        ('a.jpg', 'vehicle', 10, 0, 20, 20)])
    said = ran(convert(run_here, two, 'june', '--drop', 'unclear'))
    assert '1 x object of a dropped class' in said
    assert load(two / 'june/all.json')[0] == ['truck']


@pytest.mark.parametrize(('options', 'message'), [
    (['--rename', 'cat=vehicle'], "has no class 'cat', it has car, unclear"),
    (['--rename', 'vehicle'], '--rename vehicle must be old=new'),
    (['--rename', 'car=a', '--rename', 'car=b'], "names 'car' twice"),
    (['--drop', 'caar'], 'Did you mean car?'),
    (['--drop', 'car', '--drop', 'unclear'], 'holds no annotations')])
def test_classes_that_do_not_exist(options, message, error_here, two):
    said = error_here(DATA, 'convert', 'voc', 'may/xml', '--out', 'x.json',
                      *options, cwd=two)
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (two / 'x.json').exists()


def test_out_of_a_source_without_parts(error_here, two):
    said = error_here(DATA, 'convert', 'voc', 'may/xml', '--out', 'parts',
                      cwd=two)
    assert 'has no folders train and val' in said
    assert '.json file, then split it' in said


def test_merge_of_two_folders(run_here, two):
    for name in ('may', 'june'):
        ran(convert(run_here, two, name))
    said = ran(run_here(DATA, 'merge', 'may/all.json', 'june/all.json',
                        '--out', 'all.json', cwd=two))
    assert f'inspect all.json --images {"."}' in said.replace('\\ ', '')
    classes, boxes = load(two / 'all.json')
    assert classes == ['car', 'unclear', 'truck']
    assert boxes == [
        ('june/images/a.jpg', 'truck', 0, 0, 10, 20),
        ('june/images/a.jpg', 'unclear', 10, 0, 20, 20),
        ('may/images/a.jpg', 'car', 0, 0, 10, 20),
        ('may/images/a.jpg', 'unclear', 10, 0, 20, 20)]
    assert 'No errors' in ran(run_here(DATA, 'inspect', 'all.json', '--images',
                                       '.', cwd=two))


def test_merge_of_files_of_a_folder(run_here, error_here, two):
    ran(convert(run_here, two, 'may'))
    ran(convert(run_here, two, 'june'))
    shutil.copy(two / 'june/all.json', two / 'may/more.json')
    said = ran(run_here(DATA, 'merge', 'may/all.json', 'may/more.json',
                        '--out', 'may/both.json', cwd=two))
    assert '1 x object that an earlier file has, too' in said
    assert [box[1] for box in load(two / 'may/both.json')[1]] == [
        'car', 'truck', 'unclear']
    assert 'exists already' in error_here(
        DATA, 'merge', 'may/all.json', '--out', 'may/both.json', cwd=two)
