"""Folders of strangers: nothing runs, and what is wrong ends in a line."""
import json
import os
import pickle
import shutil
import zipfile
from contextlib import suppress

import numpy as np
import onnx
import pytest

from mmlowformer import Predictor
from mmlowformer.errors import UserError
from mmlowformer.runtime import ExportedPredictor
from mmlowformer.runtime.__main__ import main
from mmlowformer.runtime.model_spec import read_description, sha256

TASKS = ('detection', 'classification', 'segmentation')


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file), )


def write(folder, values):
    (folder / 'model.json').write_text(json.dumps(values))


def values_of(folder):
    return json.loads((folder / 'model.json').read_text())


def spoil(**changes):
    """Change values; a dot leads to those inside."""
    def change(folder):
        values = values_of(folder)
        for key, value in changes.items():
            *path, last = key.split('__')
            inner = values
            for name in path:
                inner = inner[name]
            inner[last] = value
        write(folder, values)
    return change


def rename_to(name):
    def change(folder):
        values = values_of(folder)
        values['sha256'][name] = values['sha256']['model.onnx']
        write(folder, dict(values, files=[name]))
    return change


def replace_by_pickle(name, form):
    def change(folder):
        payload = pickle.dumps(Canary(folder.parent / 'canary'))
        if form == 'pt2':
            with zipfile.ZipFile(folder / name, 'w') as archive:
                for inner in ('data.pkl', 'serialized_exported_program.json',
                              'serialized_state_dict.pt', 'version'):
                    archive.writestr(inner, payload)
        else:
            (folder / name).write_bytes(payload)
        values = values_of(folder)
        values['sha256'][name] = sha256(folder / name)
        write(folder, dict(values, files=[name], format=form))
    return change


def with_external_data(location):
    def change(folder):
        model = onnx.load(str(folder / 'model.onnx'))
        tensor = model.graph.initializer[0]
        tensor.ClearField('raw_data')
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value=location)
        (folder / 'model.onnx').write_bytes(model.SerializeToString())
        spoil(sha256__x=sha256(folder / 'model.onnx'))(folder)
        values = values_of(folder)
        values['sha256']['model.onnx'] = values['sha256'].pop('x')
        write(folder, values)
    return change


def link(name, target):
    def change(folder):
        outside = folder.parent / 'outside'
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(target or outside)
    return change


def text(content):
    return lambda folder: (folder / 'model.json').write_text(content)


def changed_text(old, new):
    def change(folder):
        content = (folder / 'model.json').read_text()
        assert old in content
        text(content.replace(old, new, 1))(folder)
    return change


def pipe(folder):
    (folder / 'model.onnx').unlink()
    os.mkfifo(folder / 'model.onnx')


HOSTILE = dict(
    pt2=replace_by_pickle('model.pt2', 'pt2'),
    pt2_by_another_name=replace_by_pickle('model.onnx', 'pt2'),
    pickle_as_onnx=replace_by_pickle('model.onnx', 'onnx'),
    pickle_as_pte=replace_by_pickle('model.pte', 'executorch'),
    pickle_as_tflite=replace_by_pickle('model.tflite', 'tflite'),
    pickle_as_xml=replace_by_pickle('model.xml', 'openvino'),
    pickle_as_param=replace_by_pickle('model.param', 'ncnn'),
    unknown_format=spoil(format='pickle'),
    absolute=rename_to('/etc/passwd'),
    above=rename_to('../outside.onnx'),
    around=rename_to('a/../../outside.onnx'),
    backslash=rename_to('..\\outside.onnx'),
    drive=rename_to('C:model.onnx'),
    newline=rename_to('model\n.onnx'),
    no_file=spoil(files=[]),
    link=link('model.onnx', None),
    link_of_description=link('model.json', None),
    circle=link('model.onnx', 'model.onnx'),
    pipe=pipe,
    no_sha256=spoil(sha256={}),
    null_sha256=spoil(sha256__checkpoint=None),
    external_above=with_external_data('../outside'),
    external_absolute=with_external_data('/etc/passwd'),
    external_inside=with_external_data('weights.bin'),
    deep=text('[' * 100_000),
    deep_values=text('{"a":' * 50_000),
    not_a_record=text('[]'),
    huge_number=changed_text('"least_size": 33', '"least_size": 1' + '0' * 99),
    nan=changed_text('"least_size": 33', '"least_size": NaN'),
    infinite=changed_text('"least_size": 33', '"least_size": 1e999'),
    twice=changed_text('"task"', '"format": "pt2",\n "task"'),
    surrogate=changed_text('"task"', '"model": "\\ud800",\n "task"'),
    unknown_key=spoil(custom_imports=['canary']),
    scope=spoil(host__scope='canary'),
    scope_with_dots=spoil(host__scope='os.path'),
    pipeline=spoil(host__pipeline=dict(type='x')),
    step=spoil(prepare=[dict(step='canary')]),
    step_argument=spoil(prepare=[
        dict(step='read', library='opencv', path='x')]),
    library=spoil(prepare=[dict(step='read', library='os')]),
    interpolation=spoil(prepare=[
        dict(step='read', library='opencv'), dict(
            step='resize', width=9, height=9, keep_ratio=True,
            library='opencv', interpolation='canary')]),
    size=spoil(input__shape=[1, 3, 10 ** 9, 10 ** 9]),
    batch=spoil(input__shape=[10 ** 4, 3, 10 ** 4, 10 ** 4]),
    layout=spoil(input__layout='NHWC'),
    channel_order=spoil(input__channel_order='GBR'),
    names=spoil(classes='abcd'),
    names_of_other_types=spoil(classes=[1, None, {}, []]),
    palette=spoil(palette=[[0, 0, 1e9]]),
    no_verdict=spoil(verification={}),
    failed=spoil(verification__verdict='failed'),
    unknown_verdict=spoil(verification__verdict='fine'))


@pytest.fixture
def copied(exported, tmp_path):
    def copy(task='classification'):
        return shutil.copytree(exported(task), tmp_path / 'folder')
    return copy


@pytest.mark.parametrize('name', HOSTILE)
def test_nothing_runs(copied, tmp_path, name, capsys):
    folder = copied()
    HOSTILE[name](folder)
    for opened in (ExportedPredictor, Predictor):
        with pytest.raises(UserError) as caught:
            opened(folder)
        message = str(caught.value)
        assert '\n' not in message
        assert len(message) < 700
    with pytest.raises(SystemExit, match='^mmlowformer.runtime: error: '):
        main([str(folder), 'image.jpg'])
    assert not (tmp_path / 'canary').exists()


def test_trust_opens_pt2(copied):
    """A trusted folder gets past the refusal, and is damaged then."""
    folder = copied()
    HOSTILE['pt2'](folder)
    with pytest.raises(UserError, match='--trust'):
        ExportedPredictor(folder)
    with pytest.raises(UserError) as caught:
        ExportedPredictor(folder, trust=True)
    assert '--trust' not in str(caught.value)


def paths_of(values, path=()):
    """Where all values are, of lists the first two."""
    yield path
    items = (values.items() if isinstance(values, dict) else
             list(enumerate(values))[:2] if isinstance(values, list) else ())
    for key, value in items:
        if key not in ('verification', 'versions'):
            yield from paths_of(value, (*path, key))


WRONG = (None, True, -1, 10 ** 30, 1e300, 'x', '\ud800', [], {}, [[]],
         ['x'] * 9, {'x': None})


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_each_value_may_be_wrong(copied, task):
    """A line, or, where the value happens to be right, a description."""
    folder = copied(task)
    values = values_of(folder)
    refused = 0
    for path in paths_of(values):
        for wrong in WRONG:
            changed = json.loads(json.dumps(values))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if path:
                inner[path[-1]] = wrong
            write(folder, changed if path else wrong)
            try:
                read_description(folder)
            except UserError:
                refused += 1
    assert refused > 500


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_what_is_taken_predicts_or_says_why_not(copied, task, photos):
    folder = copied(task)
    values = values_of(folder)
    for path in paths_of(values):
        for wrong in (0, 1, 7, 0.5, [], {}, 'x'):
            changed = json.loads(json.dumps(values))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if not path or path[0] in ('sha256', 'palette', 'host'):
                continue
            inner[path[-1]] = wrong
            write(folder, changed)
            try:
                description = read_description(folder)
            except UserError:
                continue
            # Those that are in the way of an image.
            if path[0] in ('prepare', 'input', 'padding', 'decoding'):
                assert np.isfinite(description.padding['value'])
                with suppress(UserError):
                    ExportedPredictor(folder)(photos[0])
