import argparse

import mmengine
import pytest
from mmengine.config import Config
from torch import distributed

from mmlowformer import engine, get_config, get_config_path
from mmlowformer.config.loading import read_config
from mmlowformer.config.variables import read_bases
from mmlowformer.engine import UserError


def load(config, *arguments):
    parser = argparse.ArgumentParser()
    engine.add_common_arguments(parser)
    return engine.load_config(parser.parse_args([str(config), *arguments]))


def paths(cfg):
    return [cfg.train_dataloader.dataset.data_root,
            cfg.test_dataloader.dataset.data_root, cfg.val_evaluator.ann_file]


@pytest.mark.parametrize('root', ['/data/coco', '/data/coco/'])
def test_data_root_moves_all_paths(root):
    cfg = load('retinanet_lowformer_b1_coco', '--cfg-options',
               f'data_root={root}')
    assert paths(cfg) == ['/data/coco/', '/data/coco/', (
        '/data/coco/annotations/instances_val2017.json')]


def test_data_root_moves_only_what_is_below(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("data_root = 'data/coco'\n"
                      "a = [dict(b='data/coco/x'), dict(b='data/coco2/x')]\n")
    cfg = load(config, '--cfg-options', 'data_root=/new')
    assert cfg.data_root == '/new'
    assert [item.b for item in cfg.a] == ['/new/x', 'data/coco2/x']


CHILD = """
_base_ = {base!r}
data_root = '/mine/'
"""


@pytest.fixture
def child(tmp_path):
    """A config with another data_root than its base."""
    path = tmp_path / 'child.py'
    path.write_text(CHILD.format(base=get_config_path(
        'retinanet_lowformer_b1_coco')))
    return path


def test_data_root_of_a_child_moves_all_paths(child):
    assert paths(load(child)) == ['/mine/', '/mine/', (
        '/mine/annotations/instances_val2017.json')]
    cfg = load(child, '--cfg-options', 'data_root=/a/with space')
    assert cfg.data_root == '/a/with space'
    assert paths(cfg) == ['/a/with space/', '/a/with space/', (
        '/a/with space/annotations/instances_val2017.json')]


def test_data_root_of_a_child_that_uses_it_moves_what_is_its_own(child):
    with child.open('a') as file:
        file.write('train_dataloader = dict(dataset=dict(data_root=data_root'
                   '))\n')
    assert paths(load(child))[:2] == ['/mine/', 'data/coco/']
    assert paths(load(child, '--cfg-options', 'data_root=/new'))[:2] == [
        '/new/', 'data/coco/']


OWN_DATA = """
_base_ = {base!r}
mine = dict(data_root='data/mine')
train_dataloader = dict(dataset=mine)
val_dataloader = dict(dataset=mine)
test_dataloader = dict(dataset=dict({inside}))
"""


@pytest.mark.parametrize(('base', 'inside', 'expected'), [
    ('fpn_lowformer_b1_ade20k', '**mine', 'data/mine'),
    ('retinanet_lowformer_b1_coco', '**mine', 'data/mine'),
    # Below the base's, and in the config itself.
    ('retinanet_lowformer_b1_coco', "data_root='data/coco/mine'",
     'data/coco/mine'),
])
@pytest.mark.parametrize('line', ['', "data_root = '/top'\n"])
def test_explicit_data_sets_are_not_moved(base, inside, expected, line,
                                          tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(OWN_DATA.format(
        base=get_config_path(base), inside=inside) + line)
    above = tmp_path / 'above.py'
    above.write_text("_base_ = 'config.py'\n")
    for path in (config, above):
        cfg = load(path)
        assert cfg.train_dataloader.dataset.data_root == 'data/mine'
        assert cfg.test_dataloader.dataset.data_root == expected
        if line and 'coco' in base:
            assert cfg.val_evaluator.ann_file.startswith('/top/annotations')


def test_data_root_of_two_levels(child):
    above = child.with_name('above.py')
    above.write_text(f"_base_ = {child.name!r}\n")
    assert paths(load(above))[0] == '/mine/'
    above.write_text(f"_base_ = {child.name!r}\ndata_root = '/above/'\n")
    assert paths(load(above)) == ['/above/', '/above/', (
        '/above/annotations/instances_val2017.json')]


def test_moved_paths_are_told(child, capsys):
    with engine.quiet_screen():
        load(child)
    assert 'from data/coco/ to /mine/' in capsys.readouterr().out


def test_data_root_is_a_text():
    with pytest.raises(UserError, match='data_root has to be a folder, not'):
        load('retinanet_lowformer_b1_coco', '--cfg-options',
             'data_root=/a,/b')


def test_other_options_win_over_data_root():
    cfg = load('retinanet_lowformer_b1_coco', '--cfg-options',
               'data_root=/new', 'train_dataloader.dataset.data_root=/other')
    assert paths(cfg)[:2] == ['/other', '/new/']


def test_work_dir(tmp_path):
    assert load('retinanet_lowformer_b1_coco').work_dir == \
        'work_dirs/retinanet_lowformer_b1_coco'
    assert load('retinanet_lowformer_b1_coco', '--work-dir',
                'mine').work_dir == 'mine'
    config = tmp_path / 'config.py'
    config.write_text("work_dir = 'of the config'\n")
    assert load(config).work_dir == 'of the config'


def test_unreadable_config(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('a = (\n')
    with pytest.raises(UserError, match='config.py cannot be read'):
        load(config)
    config.write_text("_base_ = 'none.py'\n")
    with pytest.raises(UserError, match='config.py cannot be read.*none.py'):
        load(config)


@pytest.mark.parametrize(('text', 'message'), [
    (b'a = 1\nb = c\n', r"line 2: NameError: name 'c' is not defined"),
    (b'import nothing_there\na = dict(b=nothing_there.c)\n',
     "No module named 'nothing_there'"),
    (b'from torch import nothing_there\n',
     'Failed to import nothing_there from torch in .*line 1'),
    # Python's own modules MMEngine imports at once.
    (b'from sys import nothing_there\n',
     "line 1: ImportError: cannot import name 'nothing_there' from 'sys'"),
    (b"custom_imports = dict(imports=['nothing_there'])\n",
     "No module named 'nothing_there'"),
    ('a = "ä"\n'.encode('latin-1'), "UnicodeDecodeError.*no text in UTF-8"),
    (b'a = 1 / 0\n', 'line 1: ZeroDivisionError'),
    (b'filename = 1\n', 'filename is reserved'),
    (b'_base_ = 1\n', 'cannot be read'),
])
def test_config_that_fails(text, message, tmp_path):
    config = tmp_path / 'config.py'
    config.write_bytes(text)
    with pytest.raises(UserError, match=message) as error:
        load(config)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(('name', 'text'), [
    ('c.json', '{'), ('c.yml', 'a: ['), ('c.txt', 'a = 1'), ('c.py', '')])
def test_files_that_are_no_config(name, text, tmp_path):
    config = tmp_path / name
    config.write_text(text)
    if name == 'c.py':
        with pytest.raises(UserError, match='no default_scope'):
            engine.require_scope(load(config))
        return
    with pytest.raises(UserError, match=f'{name} cannot be read'):
        load(config)


@pytest.mark.parametrize('name', ['c.yml', 'c.yaml'])
@pytest.mark.parametrize('above', [
    [], [('a.py', "_base_ = ['{}']")], [('a.yml', '_base_: {}')],
    [('a.json', '{{"_base_": "{}"}}')],
    [('a.py', "_base_ = '{{{{ fileDirname }}}}/{}'")],
    [('b.yml', '_base_: {}'), ('a.py', "_base_ = '{}'")],
    [('b.py', "_base_ = '{}'"), ('a.py', "_base_ = '{}'")]])
def test_yaml_runs_no_code(name, above, tmp_path):
    """Neither as the config nor as what it builds upon."""
    trace = tmp_path / 'trace'
    config = tmp_path / name
    config.write_text(
        f"a: !!python/object/apply:os.system ['touch {trace}']\n")
    for file, text in above:
        (tmp_path / file).write_text(text.format(name))
        config, name = tmp_path / file, file
    with pytest.raises(UserError, match='would run code'):
        load(config)
    assert not trace.exists()


def test_yaml_bases_run_no_code(tmp_path):
    (tmp_path / 'c.yml').write_text("a: !!python/object/apply:os.getpid []\n")
    config = tmp_path / 'a.py'
    config.write_text("_base_ = ['c.yml']")
    with pytest.raises(UserError, match='would run code'):
        read_bases(str(config))


def test_yaml_of_others_is_read_as_before(tmp_path):
    file = tmp_path / 'c.yml'
    file.write_text('a: 1\n')
    assert read_config(str(file)).a == 1
    file.write_text('a: !!python/tuple [1]\n')
    assert mmengine.load(file)['a'] == (1, )


def test_scope():
    assert engine.require_scope(Config(dict(default_scope='mmdet'))) == 'mmdet'
    with pytest.raises(UserError, match='no default_scope'):
        engine.require_scope(Config({}))
    with pytest.raises(UserError, match='mmrotate, which is not installed'):
        engine.require_scope(Config(dict(default_scope='mmrotate')))


def test_no_workers_are_not_persistent():
    cfg = load('retinanet_lowformer_b1_coco', '--cfg-options',
               'train_dataloader.num_workers=0')
    engine.adapt_to_device(cfg)
    assert not cfg.train_dataloader.persistent_workers
    assert cfg.val_dataloader.persistent_workers


def test_augmentation_has_to_be_in_the_config():
    with pytest.raises(UserError, match='tta_model and tta_pipeline'):
        engine.use_tta(get_config('lowformer_b1_in1k'))


def test_augmentation_reaches_wrapped_data_sets():
    cfg = get_config('fpn_lowformer_b1_ade20k')
    inner = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[inner, inner])
    engine.use_tta(cfg)
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.model.module.backbone.arch == 'b1'
    for dataset in cfg.test_dataloader.dataset.datasets:
        assert dataset.pipeline == cfg.tta_pipeline


@pytest.fixture
def group(tmp_path):
    """A group of one process."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.mark.usefixtures('group')
def test_processes_are_left_when_the_work_is_done():
    with engine.destroy_process_group():
        assert distributed.is_initialized()
    assert not distributed.is_initialized()


@pytest.mark.usefixtures('group')
def test_nobody_is_waited_for_after_an_error():
    with pytest.raises(UserError), engine.destroy_process_group():
        raise UserError('of this process')
    assert distributed.is_initialized()


def test_one_process_has_none_to_leave():
    with engine.destroy_process_group():
        pass
