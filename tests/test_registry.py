from importlib import import_module

import pytest

LIBRARIES = ('mmengine', 'mmdet', 'mmseg', 'mmpretrain')
BUILD = """
from {library}.registry import MODELS
model = MODELS.build(dict(type='mmlowformer.LowFormer', arch='b0'))
print(type(model).__name__, model.out_channels)
"""


@pytest.mark.parametrize('library', LIBRARIES)
def test_scoped_name_needs_no_import(run_forked, library):
    result = run_forked(BUILD.format(library=library))
    assert result.stdout == 'LowFormer (32, 64, 128, 256)\n', result.stderr


BARE = """
from mmengine.config import Config
from {library}.registry import MODELS
open('config.py', 'w').write(
    "custom_imports = dict(imports=['mmlowformer'])\\n"
    "model = dict(type='LowFormer', arch='e1')\\n")
cfg = Config.fromfile('config.py')
print(type(MODELS.build(cfg.model)).__module__)
"""


@pytest.mark.parametrize('library', ['mmdet', *(
    pytest.param(name, marks=pytest.mark.slow)
    for name in ('mmseg', 'mmpretrain'))])
def test_bare_name_after_custom_imports(run_forked, library):
    result = run_forked(BARE.format(library=library))
    assert result.stdout == 'mmlowformer.models.lowformer\n', result.stderr


HOSTS = """
import sys
import mmlowformer
hosts = ('mmdet', 'mmseg', 'mmpretrain', 'torchvision', 'timm')
print([name for name in hosts if name in sys.modules])
"""


def test_no_host_library_is_imported(run_python):
    assert run_python('-c', HOSTS).stdout == '[]\n'


LITE = """
import sys
sys.modules['mmcv._ext'] = None
import torch, mmlowformer
print(len(mmlowformer.LowFormer('b0').eval()(torch.rand(1, 3, 32, 32))))
"""


def test_works_without_mmcv_ops(run_forked):
    result = run_forked(LITE)
    assert result.stdout == '4\n', result.stderr


MISSING = """
import sys
for name in [*sys.modules]:
    if name.startswith('{package}.'):
        del sys.modules[name]
sys.modules['{package}'] = None
from mmlowformer import LowFormer
"""


@pytest.mark.parametrize('package', ['mmcv', 'mmengine'])
def test_says_what_is_missing(run_forked, package):
    result = run_forked(MISSING.format(package=package))
    assert result.returncode == 1
    assert f'needs {package}, which is not installed' in result.stderr
    assert f'pip install onedl-{package}' in result.stderr


def test_an_old_name_still_builds(monkeypatch):
    from mmengine.registry import HOOKS as ROOT
    from mmengine.registry import DefaultScope

    from mmlowformer import registry
    monkeypatch.setitem(registry.RENAMED, 'FormerHook', 'DeployHook')
    for hooks, name in ((ROOT, 'mmlowformer.FormerHook'),
                        (registry.HOOKS, 'FormerHook')):
        # Other tests leave a scope behind.
        with (DefaultScope.overwrite_default_scope('mmlowformer'),
              pytest.warns(FutureWarning,
                           match='mmlowformer.DeployHook')):
            hook = hooks.build(dict(type=name))
        assert type(hook).__name__ == 'DeployHook'


@pytest.mark.parametrize(('old', 'new'), [
    ('datasets.listed_masks.ListedMasks', 'CustomSegDataset'),
    ('tracking.template_tracker.Follower', 'SOTState')])
def test_old_modules_still_import(old, new):
    module, _, name = f'mmlowformer.{old}'.rpartition('.')
    with pytest.warns(FutureWarning, match=f'called {new} now'):
        found = getattr(import_module(module), name)
    assert found.__name__ == new


def test_public_names_are_imported_when_asked_for():
    import mmlowformer
    for name in mmlowformer.__all__:
        assert getattr(mmlowformer, name) is not None
    for package in ('benchmark', 'export'):
        entry = getattr(import_module(f'mmlowformer.{package}'), package)
        assert callable(entry)
