import functools
import gc
import multiprocessing.util
import os
import shutil
import signal
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader

from mmlowformer import engine
from mmlowformer.datasets.synthetic.shapes import make_dataset

from .forks import ForkingPython
from .helpers import (
    ANY_BOX,
    ROOT,
    TOOLS,
    restored_signals,
    run_python,
    run_tool,
    untrained,
)
from .hub import local_hub

# A shell's background jobs, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tools import modules beside them.
sys.path.append(str(TOOLS))
# Variants that run the same lines as the others, and tests of which each case
# runs the lines of the first. Coverage adds 80 % to the time of a test.
LARGER = {'b15', 'b2', 'b3', 'e2'}
ALIKE = {
    'test_classification', 'test_each_value_may_be_wrong',
    'test_five_sizes_of_five_levels', 'test_five_sizes_of_one_program',
    'test_mixed_labels_give_a_mean_over_classes', 'test_mutations',
    'test_no_false_alarms', 'test_retinanet', 'test_semantic_fpn'}


def pytest_configure(config):
    """Processes side by side: one thread each, theirs included."""
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    measured = set()
    for item in items:
        if item.get_closest_marker('gpu') and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason='torch finds no GPU'))
        if hasattr(item, 'callspec') and (
                item.function in measured or not LARGER.isdisjoint(
                    map(str, item.callspec.params.values()))):
            item.add_marker(pytest.mark.no_cover)
        elif item.name.partition('[')[0] in ALIKE:
            measured.add(item.function)


def pytest_collection_finish():
    """Keep the garbage collections of datasets and runs short.

    MMEngine asks for one with each dataset, and they would walk all modules
    and tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def _plain_configs():
    """Leave the text of configs as it is.

    MMEngine lets yapf format it five times in a training, which takes longer
    than training a tiny network.
    """
    with pytest.MonkeyPatch.context() as patch:
        # The forks of MMEngine import it from yapf in each call.
        for module in ('mmengine.config.config', 'yapf.yapflib.yapf_api'):
            patch.setattr(f'{module}.FormatCode',
                          lambda text, **_: (text, True), raising=False)
        yield


@pytest.fixture(autouse=True, scope='session')
def temporary_folder(tmp_path_factory):
    """Nothing that a test or its processes forget outlives the session."""
    tmp_path_factory.getbasetemp()  # Those of failed tests do.
    # Python keeps the sockets of its processes in this one until its end.
    multiprocessing.util.get_temp_dir()
    # Short, as the names of sockets below it are limited.
    folder = tempfile.mkdtemp(prefix='lowformer-')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TMPDIR', folder)
        patch.setattr(tempfile, 'tempdir', folder)
        # What convolutions took in one thread is nothing to remember.
        patch.setenv('XDG_CACHE_HOME', f'{folder}/cache')
        # Nothing is downloaded, and no test sees what the user has.
        patch.setenv('HF_HUB_OFFLINE', '1')
        patch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
        patch.setenv('HF_HOME', f'{folder}/hub')
        patch.setattr('huggingface_hub.constants.HF_HUB_CACHE',
                      f'{folder}/hub/hub')
        yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _signals():
    with restored_signals():
        yield


@pytest.fixture(autouse=True)
def _default_scope(monkeypatch):
    """A test has no scope but what it sets; others build what they name."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A tiny generated data set."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    make_dataset(root, train=4, val=2, size=64)
    return root


@pytest.fixture(scope='session')
def detector(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('detector'),
                     'retinanet_lowformer_b0_shapes', **ANY_BOX)


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('segmentor'),
                     'fpn_lowformer_b0_shapes')


@pytest.fixture(scope='session')
def classifier(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('classifier'),
                     'lowformer_b0_shapes')


@pytest.fixture(scope='session')
def retriever(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('retriever'),
                     'lowformer_b1_retrieval')


@pytest.fixture(scope='session')
def photos(shapes):
    return sorted(map(str, (shapes / 'coco/train2017').iterdir()))


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    """The checkpoint of a tiny model, by its task."""
    from .export.exports import make_checkpoint
    return functools.cache(lambda task: make_checkpoint(
        task, tmp_path_factory.mktemp(task)))


@pytest.fixture(scope='session')
def shared_folder(tmp_path_factory, worker_id):
    """The same in all processes of the session."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == 'master' else own.parent


@pytest.fixture(scope='session')
def exported(tiny, photos, shared_folder):
    """The folder of a verified ONNX export, by its task, made once."""
    from .export.exports import make_export

    def export(task):
        folder = shared_folder / f'exported-{task}'
        with FileLock(f'{folder}.lock'):
            if not folder.exists():
                _, outcome = make_export(tiny(task), folder, images=photos)
                assert outcome.verdict == 'verified', outcome
        return folder

    return functools.cache(export)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of weights on this machine."""
    with local_hub(tmp_path / 'hub', monkeypatch) as hub:
        yield hub


@pytest.fixture
def safe_loading(monkeypatch):
    """Checkpoints are read as the tools read them."""
    environ = {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}
    allowed = torch.serialization.get_safe_globals()
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes)
    engine.enable_safe_loading(environ)
    monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(allowed)


@pytest.fixture
def run_here(safe_loading):
    """Run a tool in this process, and read checkpoints as it does."""
    return run_tool


@pytest.fixture
def error_here(run_here):
    """What a tool that fails in this process says."""
    def error_of(*arguments, cwd):
        result = run_here(*arguments, cwd=cwd)
        assert result.returncode != 0
        assert 'Traceback' not in result.stdout, result.stdout
        return result.stdout

    return error_of


@pytest.fixture
def log(caplog):
    """What MMEngine's logger is told."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(name='run_python')
def _run_python(tmp_path):
    """Run Python as a user does, in a folder that is not the checkout."""
    return functools.partial(run_python, cwd=tmp_path)


@pytest.fixture(scope='session')
def _forking_python(temporary_folder):
    server = ForkingPython(ROOT)
    yield server
    server.close()


@pytest.fixture
def run_forked(_forking_python, tmp_path):
    """Run a program as ``python -c`` does, torch and mmcv being imported."""
    return functools.partial(_forking_python.run, cwd=tmp_path,
                             folder=tmp_path)
