import functools
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.utils import ManagerMixin

from mmlowformer import engine, get_config
from mmlowformer.datasets.synthetic.shapes import make_dataset

ROOT = Path(__file__).resolve().parents[1]
# Where Python looks for what a tool that it runs imports.
sys.path.append(str(ROOT / 'tools'))
# Whether this environment has the maintained forks of OpenMMLab.
FORKS = any(distribution.name == 'onedl-mmcv'
            for distribution in metadata.distributions())
# Below what an untrained head is sure of, for boxes to appear.
ANY_BOX = dict(model=dict(test_cfg=dict(score_thr=0., max_per_img=10)))


def pytest_configure(config):
    """Processes side by side: one thread each, theirs included."""
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='torch finds no GPU'))


@pytest.fixture(autouse=True, scope='session')
def temporary_folder(tmp_path_factory):
    """Nothing that a test or its processes forget outlives the session."""
    tmp_path_factory.getbasetemp()  # Those of failed tests do.
    # Short, as the names of sockets below it are limited.
    folder = tempfile.mkdtemp(prefix='lowformer-')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TMPDIR', folder)
        patch.setattr(tempfile, 'tempdir', folder)
        # What convolutions took in one thread is nothing to remember.
        patch.setenv('XDG_CACHE_HOME', f'{folder}/cache')
        yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _signals():
    """What ends a tool in this process is not to end the next one's words."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    # Below nohup it is ignored.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A tiny generated data set."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    make_dataset(root, train=4, val=2, size=64)
    return root


def untrained(folder, name, **changes):
    """A checkpoint as a training leaves it, of a model that knows nothing."""
    cfg = get_config(name)
    cfg.merge_from_dict(changes)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    file = folder / f'{name}.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(
        cfg=cfg.pretty_text, dataset_meta=dict(classes=cfg.get('classes')))),
        file)
    return file


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


def forget_runs(kind=ManagerMixin):
    """Loggers and the like of earlier runs in this process.

    MMEngine names them by the second, and a run of the same second would
    write into the folder of the one before.
    """
    for child in kind.__subclasses__():
        for instance in child._instance_dict.values():
            for handler in getattr(instance, 'handlers', ()):
                handler.close()
        child._instance_dict.clear()
        forget_runs(child)


@pytest.fixture
def run_here(monkeypatch, capsys, safe_loading):
    """Run a tool in this process, which has imported the libraries.

    What a user gets to see, and the exit status, are those of a process of
    its own; at least one test of each tool has such a process.
    """
    def run(tool, *arguments, cwd):
        before = dict(os.environ)
        capsys.readouterr()
        forget_runs()
        status = 0
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
            try:
                runpy.run_path(str(tool), run_name='__main__')
            except SystemExit as end:
                status = end.code
        os.environ.clear()
        os.environ.update(before)
        shown = ''.join(capsys.readouterr())
        if isinstance(status, str):
            shown, status = f'{shown}{status}\n', 1
        return subprocess.CompletedProcess(arguments, status or 0, shown)

    return run


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


@pytest.fixture
def run_python(tmp_path):
    """Run Python as a user does, in a folder that is not the checkout."""

    def run(*arguments, **kwargs):
        kwargs.setdefault('cwd', tmp_path)
        return subprocess.run(
            [sys.executable, *map(str, arguments)], text=True,
            capture_output=True, timeout=600, **kwargs)

    return run
