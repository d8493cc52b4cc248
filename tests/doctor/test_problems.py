"""Each problem, simulated: how it is reported, and what fixes it."""
import shlex
import subprocess
import sys

import pytest

from mmlowformer.doctor import fixes, machine
from mmlowformer.doctor.__main__ import format_result
from mmlowformer.utils.imports import pinned, without_wheel

from ..helpers import ROOT, fake_python
from .conftest import A_GPU, describe, judge, library_steps


def test_nothing_is_wrong():
    found, problems = judge(describe())
    assert {result.status for result in found.values()} == {'ok'}
    assert len(found) >= 18
    assert not problems


NO_MODULE = "ModuleNotFoundError: No module named '{}'".format
UNDEFINED = ('ImportError: /site/mmcv/_ext.so: undefined symbol: '
             '_ZN3c106detail14torchCheckFailEPKc')
NO_KERNEL = ('AcceleratorError: CUDA error: no kernel image is available for '
             'execution on the device')
OLD_DRIVER = ('CUDA initialization: The NVIDIA driver on your system is too '
              'old (found version 12040).')
ONEDL = {'mmengine': None, 'mmcv': None, 'mmdet': None,
         'mmsegmentation': None, 'mmpretrain': None,
         'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6',
         'onedl-mmdetection': '3.5.1'}

# What is wrong, the check that finds it, whether it breaks anything, a part
# of the symptom and of the remedy.
PROBLEMS = dict(
    torch_missing=(
        dict(errors={'torch': NO_MODULE('torch')}), 'torch', 'missing',
        "No module named 'torch'", 'pip install torch=='),
    torch_broken=(
        dict(errors={'torch': 'OSError: libcudnn.so.9: cannot open shared '
                     'object file'}),
        'torch', 'broken', 'libcudnn.so.9', '--force-reinstall torch=='),
    torch_old=(
        dict(torch='2.0.1'), 'torch', 'broken', 'torch.utils.flop_counter',
        'pip install torch=='),
    torchvision_missing=(
        dict(errors={'torchvision': NO_MODULE('torchvision')},
             versions={'torchvision': None}),
        'torchvision', 'missing', "No module named 'torchvision'",
        'pip install torch==2.12.1 torchvision'),
    torchvision_of_another_torch=(
        dict(torch='2.13.0+cpu', errors={
            'torchvision': 'RuntimeError: operator torchvision::nms does not '
                           'exist'}),
        'torchvision', 'broken', 'operator torchvision::nms does not exist',
        'pip install torch==2.13.0 torchvision'),
    torchvision_of_another_build=(
        dict(errors={'torchvision': 'RuntimeError: operator torchvision::nms '
                                    'does not exist'}),
        'torchvision', 'broken', 'operator torchvision::nms',
        'pip uninstall -y torch torchvision && pip install torch==2.12.1 '
        'torchvision'),
    numpy_2_for_torch_of_numpy_1=(
        dict(errors={'torch and numpy': 'RuntimeError: Numpy is not '
                                        'available'}),
        'numpy', 'broken', 'Numpy is not available', '"numpy<2"'),
    numpy_missing=(
        dict(errors={'numpy': NO_MODULE('numpy')}), 'numpy', 'missing',
        "No module named 'numpy'", 'pip install "numpy<2.4"'),
    numpy_broken=(
        dict(errors={'numpy': 'ImportError: Unable to import required '
                              'dependencies'}),
        'numpy', 'broken', 'Unable to import', '--force-reinstall'),
    numpy_without_in1d=(
        dict(numpy='2.4.6', errors={
            'numpy.in1d': "AttributeError: module 'numpy' has no attribute "
                          "'in1d'"}), 'numpy', 'warning',
        "module 'numpy' has no attribute 'in1d'", '"numpy<2.4"'),
    setuptools=(
        dict(versions={'setuptools': '82.0.0'},
             errors={'pkg_resources': NO_MODULE('pkg_resources')}),
        'setuptools', 'warning', "No module named 'pkg_resources'",
        'pip install "setuptools<81"'),
    both_mmcv=(
        dict(versions={'onedl-mmcv': '2.3.6'}, mmcv='2.3.6'),
        'families', 'broken', 'MMCV==2.3.6 is used but incompatible',
        'pip uninstall -y onedl-mmcv &&'),
    lite_beside_mmcv=(
        dict(versions={'mmcv-lite': '2.1.0'}), 'families', 'broken',
        "ImportError: cannot import name '...' from 'mmcv'",
        'pip uninstall -y mmcv-lite &&'),
    mixed_families=(
        dict(versions={'onedl-mmpretrain': '1.3.6', 'mmpretrain': None}),
        'families', 'warning', 'is used but incompatible',
        'pip uninstall -y onedl-mmpretrain'),
    openmmlab_among_forks=(
        dict(versions={**ONEDL, 'mmcv': '2.1.0', 'mmengine': '0.10.7'}),
        'families', 'broken', "cannot import name '...' from 'mmengine'",
        'pip uninstall -y mmengine mmcv && pip install --force-reinstall '
        '--no-deps onedl-mmengine==0.10.12 && pip install "setuptools<81"'),
    mmengine_missing=(
        dict(errors={'mmengine': NO_MODULE('mmengine')}), 'mmengine',
        'missing', 'LowFormer needs mmengine, which is not installed',
        'pip install mmengine=='),
    mmengine_lacks_a_package=(
        dict(errors={'mmengine': NO_MODULE('yaml')}), 'mmengine', 'broken',
        "No module named 'yaml'", 'pip install pyyaml'),
    mmengine_broken=(
        dict(errors={'mmengine': 'SystemExit: 1'}), 'mmengine', 'broken',
        'SystemExit', '--force-reinstall --no-deps mmengine=='),
    mmcv_missing_for_detectors=(
        dict(errors={'mmcv': NO_MODULE('mmcv')}, versions={'mmcv': None}),
        'mmcv', 'missing', 'LowFormer needs mmcv, which is not installed',
        'MMCV_WITH_OPS=1'),
    mmcv_missing_for_trackers=(
        dict(errors={'mmcv': NO_MODULE('mmcv')}, tasks=['mot'],
             versions={'mmcv': None, 'mmdet': None, 'mmsegmentation': None}),
        'mmcv', 'missing', 'LowFormer needs mmcv, which is not installed',
        'MMCV_WITH_OPS=1'),
    mmcv_missing_for_the_backbone=(
        dict(errors={'mmcv': NO_MODULE('mmcv')}, tasks=['backbone'],
             versions={'mmcv': None, 'mmdet': None, 'mmsegmentation': None}),
        'mmcv', 'missing', 'LowFormer needs mmcv, which is not installed',
        'pip install mmcv-lite=='),
    mmcv_of_the_forks_missing=(
        dict(errors={'mmcv': NO_MODULE('mmcv')},
             versions={**ONEDL, 'onedl-mmcv': None}),
        'mmcv', 'missing', 'needs mmcv', 'onedl-mmcv==2.3.6'),
    mmcv_1=(
        dict(mmcv='1.7.2'), 'mmcv', 'broken',
        'MMCV==1.7.2 is used but incompatible', 'mmcv==2.1.0'),
    opencv_of_a_desktop=(
        dict(errors={'cv2': 'ImportError: libGL.so.1: cannot open shared '
                            'object file: No such file or directory',
                     'mmcv': 'ImportError: libGL.so.1'}),
        'mmcv', 'broken', 'libGL.so.1: cannot open shared object file',
        'opencv-python-headless'),
    opencv_missing=(
        dict(errors={'cv2': NO_MODULE('cv2'), 'mmcv': NO_MODULE('cv2')}),
        'mmcv', 'broken', "No module named 'cv2'",
        'pip install opencv-python'),
    mmcv_without_ops=(
        dict(errors={'mmcv._ext': NO_MODULE('mmcv._ext')}),
        'mmcv ops', 'broken', "No module named 'mmcv._ext'",
        '--no-build-isolation --no-cache-dir --force-reinstall --no-deps '
        'mmcv==2.1.0'),
    mmcv_lite_for_detectors=(
        dict(errors={'mmcv._ext': NO_MODULE('mmcv._ext')},
             versions={'mmcv': None, 'mmcv-lite': '2.1.0'}),
        'mmcv ops', 'broken', "No module named 'mmcv._ext'",
        'pip uninstall -y mmcv-lite && pip install "setuptools<81"'),
    mmcv_of_another_torch=(
        dict(errors={'mmcv._ext': UNDEFINED}), 'mmcv ops', 'broken',
        'undefined symbol', '--no-cache-dir'),
    mmcv_crashes=(
        dict(errors={'ops': 'Segmentation fault (Python was killed)'}),
        'mmcv ops', 'broken', 'Segmentation fault', 'mmcv==2.1.0'),
    mmcv_slow=(
        dict(ops=False), 'mmcv ops', 'warning', 'takes far longer',
        'CFLAGS=-O3 pip install'),
    mmcv_without_cuda=(
        dict(gpu=A_GPU, errors={
            'ops on gpu': 'RuntimeError: nms_impl: implementation for device '
                          'cuda:0 not found.'}),
        'mmcv on GPU', 'broken', 'implementation for device cuda:0 not found',
        'FORCE_CUDA=1'),
    mmcv_for_another_gpu=(
        dict(gpu=A_GPU, errors={'ops on gpu': NO_KERNEL}), 'mmcv on GPU',
        'broken', 'no kernel image', 'FORCE_CUDA=1'),
    gpu_too_old=(
        dict(gpu=dict(A_GPU, capability=[6, 1]),
             errors={'gpu computes': NO_KERNEL}),
        'GPU', 'broken', 'no kernel image', 'pip install torch==2.6.0'),
    gpu_too_new=(
        dict(gpu=A_GPU, torch='2.1.0', errors={'gpu computes': NO_KERNEL}),
        'GPU', 'broken', 'no kernel image', fixes.TORCH),
    gpu_hangs=(
        dict(errors={'gpu': 'no end within 120 s'}), 'GPU', 'broken',
        'no end within 120 s', 'nvidia_uvm'),
    rate_for_eight_gpus=(
        dict(gpu=A_GPU, tasks=['train']), 'GPU', 'ok', 'loss: nan',
        '--auto-scale-lr'),
    not_installed=(
        dict(installed=None), 'mmlowformer', 'broken',
        "'mmlowformer.LowFormer is not in the mmdet::model registry",
        '--no-deps -e'),
    another_copy=(
        dict(installed='/elsewhere/mmlowformer'), 'mmlowformer', 'warning',
        'has no effect', '--no-deps -e'),
    hidden_import_error=(
        dict(errors={'mmlowformer': 'ImportError: cannot import name x'}),
        'backbone', 'broken', 'which MMEngine hides, is ImportError: cannot '
        'import name x', 'pip install --no-deps --force-reinstall'),
    backbone_does_not_compute=(
        dict(errors={'forward': 'RuntimeError: could not create a primitive'}),
        'backbone', 'broken', 'could not create a primitive', 'torch=='),
    no_configs=(
        dict(errors={'configs': 'FileNotFoundError: no config'}), 'backbone',
        'broken', 'no config', '--force-reinstall'),
    weights_are_not_checked=(
        dict(errors={'pretrained': 'ValueError: weights of another network '
                                   'were accepted'}),
        'weights', 'broken', 'were accepted', 'mmengine==0.10.7'),
    no_temporary_folder=(
        dict(errors={'pretrained': 'FileNotFoundError: [Errno 2] No usable '
                                   "temporary directory found in ['/tmp']"}),
        'weights', 'broken', 'No usable temporary directory', 'TMPDIR='),
    no_hub=(
        dict(versions={'safetensors': None}), 'weights', 'ok',
        'could not be fetched', 'pip install huggingface_hub safetensors'),
    checkpoints_unreadable_alone=(
        dict(checkpoint=False), 'checkpoints', 'ok',
        'UnpicklingError: Weights only load failed', 'tools/test.py'),
    checkpoints_unreadable=(
        dict(errors={'checkpoint': "AttributeError: module "
                     "'torch.serialization' has no attribute "
                     "'add_safe_globals'"}),
        'checkpoints', 'broken', 'add_safe_globals', 'pip install torch=='),
    library_missing=(
        dict(errors={'mmdet': NO_MODULE('mmdet')}), 'mmdet', 'missing',
        "No module named 'mmdet'", 'pip install mmdet==3.3.0'),
    library_of_the_forks_missing=(
        dict(errors={'mmseg': NO_MODULE('mmseg')}, versions=ONEDL), 'mmseg',
        'missing', "No module named 'mmseg'",
        'pip install onedl-mmsegmentation==1.4.2 ftfy regex'),
    mmcv_too_new_for_library=(
        dict(mmcv='2.2.0', errors={
            'mmdet': 'AssertionError: MMCV==2.2.0 is used but incompatible. '
                     'Please install mmcv>=2.0.0rc4, <2.2.0.'}),
        'mmdet', 'broken', 'MMCV==2.2.0 is used but incompatible',
        'mmcv==2.1.0'),
    mmengine_too_old_for_library=(
        dict(errors={
            'mmdet': 'AssertionError: MMEngine==0.6.0 is used but '
                     'incompatible.'}),
        'mmdet', 'broken', 'MMEngine==0.6.0 is used', 'mmengine==0.10.7'),
    ftfy=(
        dict(errors={'mmseg.models': NO_MODULE('ftfy')}), 'mmseg', 'broken',
        "No module named 'ftfy'", 'pip install ftfy regex'),
    library_lacks_a_package=(
        dict(errors={'mmdet.datasets': NO_MODULE('pycocotools.coco')}),
        'mmdet', 'broken', 'pycocotools', 'pip install pycocotools'),
    library_broken=(
        dict(errors={'mmdet.models': 'KeyError: x'}), 'mmdet', 'broken',
        'KeyError: x', '--force-reinstall --no-deps mmdet==3.3.0'),
    transformers_too_new=(
        dict(errors={'mmpretrain.models': 'TypeError: NoneType takes no '
                                          'arguments'},
             modules={'mmpretrain.models': [
                 'mmpretrain.models.multimodal.blip.language_model']}),
        'mmpretrain', 'broken', 'NoneType takes no arguments',
        'pip uninstall -y transformers' if without_wheel('transformers') else
        'pip install transformers=='),
    look_up_fails=(
        dict(errors={'mmdet look-up': "KeyError: 'mmlowformer.LowFormer is "
                     "not in the mmdet::model registry'"}),
        'mmdet', 'broken', 'is not in the mmdet::model registry',
        'mmengine==0.10.7'),
    bases_of_others=(
        dict(versions=ONEDL, errors={
            'mmseg base': 'ModuleNotFoundError: mmsegmentation is not '
                          'installed, please install mmsegmentation '
                          'manually'}),
        'mmseg', 'ok', 'please install mmsegmentation manually',
        '/.mim/configs'),
    no_library_to_train=(
        dict(tasks=['train'], errors={
            f'{library}{part}': NO_MODULE(library)
            for library in ('mmdet', 'mmseg', 'mmpretrain')
            for part in ('', ' look-up')}),
        'a library', 'missing', 'which is not installed',
        'pip install mmdet=='),
    one_process_only=(
        dict(distributed=False), 'distributed', 'warning',
        'Default process group has not been initialized', 'torch=='),
    peers=(
        dict(tasks=['benchmark'], versions={'timm': None, 'onnx': None}),
        'to compare', 'missing', "No module named 'timm'",
        'pip install timm=='))


@pytest.mark.parametrize('problem', PROBLEMS.values(), ids=PROBLEMS)
def test_problem(problem):
    wrong, name, status, symptom, remedy = problem
    result = judge(describe(**wrong))[0][name]
    assert result.status == status
    assert symptom in result.symptom
    assert remedy in result.remedy
    assert is_shell(result.remedy)
    assert all(len(line) <= 80
               for line in format_result(name, result).split('\n'))


def is_shell(command):
    return subprocess.run(['sh', '-nc', command]).returncode == 0


@pytest.mark.parametrize('problem', PROBLEMS.values(), ids=PROBLEMS)
def test_a_shown_command_can_be_copied(problem):
    wrong, name, *_ = problem
    result = judge(describe(**wrong))[0][name]
    shown = format_result(name, result).split('run:')[-1]
    assert words(shown.replace('\\\n', '')) == words(result.remedy)


def words(command):
    """As the shell splits them; spaces within do not count."""
    return [' '.join(word.split()) for word in shlex.split(command)]


def test_every_problem_of_a_needed_part_counts():
    counted = {
        name for name, (wrong, result, status, *_) in PROBLEMS.items()
        if result in judge(describe(**wrong))[1]}
    assert counted == {
        name for name, (_, result, status, *_) in PROBLEMS.items()
        if status == 'broken'} | {
            'torch_missing', 'numpy_missing', 'mmengine_missing',
            'mmcv_missing_for_detectors', 'mmcv_missing_for_trackers',
            'mmcv_missing_for_the_backbone',
            'mmcv_of_the_forks_missing', 'no_library_to_train'}


@pytest.mark.parametrize(('version', 'status', 'symptom'), [
    ((3, 9, 1), 'broken', 'requires a different Python'),
    ((3, 15, 0), 'broken', 'requires a different Python'),
    ((3, 14, 1), 'ok', ''),
    ((3, 10, 2), 'ok', '')])
def test_python(monkeypatch, version, status, symptom):
    monkeypatch.setattr(sys, 'version_info', version)
    result = judge(describe())[0]['Python']
    assert result.status == status
    assert symptom in result.symptom
    assert bool(result.remedy) == bool(symptom)


OLD = dict(version='550.54', cuda='12.4')


@pytest.mark.parametrize(('driver', 'gpu', 'symptom', 'remedy'), [
    (OLD, dict(cuda='13.0', warning=OLD_DRIVER), machine.DRIVER_TOO_OLD,
     'pip install torch==2.10.0'),
    (dict(version='470.1', cuda='11.4'), dict(cuda='13.0'),
     machine.DRIVER_TOO_OLD, 'sudo'),
    (OLD, dict(cuda=None), 'Torch not compiled with CUDA enabled',
     'pip install --force-reinstall torch=='),
    (OLD, dict(cuda='12.8', warning='CUDA unknown error'),
     'CUDA unknown error', 'nvidia_uvm')])
def test_torch_sees_no_gpu(monkeypatch, driver, gpu, symptom, remedy):
    monkeypatch.setattr(machine, 'driver', lambda: driver)
    gpu = dict(dict(available=False, warning=''), **gpu)
    found, problems = judge(describe(gpu=gpu, tasks=['train']))
    assert symptom in found['GPU'].symptom
    assert remedy in found['GPU'].remedy
    assert problems == ['GPU']
    # The backbone by itself runs on the CPU as well.
    assert judge(describe(gpu=gpu, tasks=['backbone']))[1] == []


def test_hidden_gpu_is_no_problem(monkeypatch):
    monkeypatch.setattr(machine, 'driver', lambda: OLD)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert judge(describe())[0]['GPU'].status == 'ok'


def test_driver_that_fails(monkeypatch):
    monkeypatch.setattr('shutil.which', lambda name: f'/bin/{name}')
    result = judge(describe())[0]['GPU']
    assert result.status == 'warning'
    assert 'NVIDIA-SMI has failed' in result.symptom


NO_OPS = dict(errors={'mmcv._ext': NO_MODULE('mmcv._ext')})


compile_error = machine.compile_error


@pytest.mark.parametrize(('text', 'remedy'), [
    ('a.cpp: fatal error: {}: No such file or directory'.format('Python.h'),
     f'sudo apt-get install python{sys.version_info[0]}.'
     f'{sys.version_info[1]}-dev'),
    ('all.h: error: #error C++20 or later compatible compiler is required',
     'sed -i.bak s/c++17/c++20/ mmcv-2.1.0/setup.py && MMCV_WITH_OPS=1 pip '
     'install --no-build-isolation --no-cache-dir --force-reinstall '
     '--no-deps ./mmcv-2.1.0'),
    ('internal compiler error', 'sudo apt-get install g++')])
def test_what_does_not_compile(monkeypatch, tmp_path, text, remedy):
    monkeypatch.setattr(machine, 'compile_error', compile_error)
    program = fake_python(tmp_path, f'echo "{text}" >&2; exit 1')
    monkeypatch.setenv('CXX', shlex.quote(str(program)))
    result = judge(describe(**NO_OPS))[0]['compiler']
    assert result.symptom == text
    assert result.remedy.endswith(remedy)


def test_no_compiler(monkeypatch):
    monkeypatch.setattr(machine, 'compile_error', compile_error)
    monkeypatch.setenv('CXX', 'no-such-compiler')
    result = judge(describe(**NO_OPS))[0]['compiler']
    assert 'no-such-compiler' in result.symptom
    assert 'apt-get install g++' in result.remedy


def test_the_compiler_here_compiles():
    assert compile_error('c++20') == ''


def test_the_projects_own_build_uses_the_standard_of_torch(monkeypatch):
    standards = []
    monkeypatch.setattr(machine, 'compile_error',
                        lambda standard: standards.append(standard) or '')
    judge(describe(**NO_OPS))
    monkeypatch.setattr(sys, 'prefix', str(ROOT / '.venv'))
    judge(describe(**NO_OPS))
    assert standards == ['c++17', 'c++20']


def test_no_nvcc(monkeypatch, tmp_path):
    monkeypatch.setattr('shutil.which', lambda name: None
                        if name == 'nvcc' else f'/bin/{name}')
    monkeypatch.setenv('CUDA_HOME', str(tmp_path))
    result = judge(describe(gpu=A_GPU, **NO_OPS))[0]['compiler']
    assert 'CUDA_HOME' in result.symptom
    assert result.remedy == 'conda install -c nvidia cuda-toolkit=13.0'
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'nvcc').touch()
    assert judge(describe(gpu=A_GPU, **NO_OPS))[0]['compiler'].status == 'ok'


@pytest.mark.parametrize(('free', 'disk', 'shared'), [
    (0.02, 'broken', 'broken'), (0.06, 'broken', 'warning'),
    (0.5, 'broken', 'warning'), (3, 'warning', 'ok'), (50, 'ok', 'ok')])
def test_room(monkeypatch, free, disk, shared):
    monkeypatch.setattr(machine, 'free_space', lambda path: free)
    found = judge(describe(tasks=['train']))[0]
    assert found['disk'].status == disk
    assert found['shared memory'].status == shared
    if disk != 'ok':
        assert 'No space left on device' in found['disk'].symptom
        assert '--work-dir' in found['disk'].remedy
    if shared != 'ok':
        assert 'killed by signal: Bus error' in found['shared memory'].symptom
        assert '/dev/shm' in found['shared memory'].remedy


def test_shared_memory_of_a_container(monkeypatch):
    monkeypatch.setattr(machine, 'free_space', lambda path: 0.06)
    monkeypatch.setattr(machine, 'DOCKER_MARK', __file__)
    result = judge(describe())[0]['shared memory']
    assert 'docker run --shm-size' in result.remedy


def test_no_shared_memory_on_this_system(monkeypatch):
    monkeypatch.setattr(machine, 'free_space', lambda path: None
                        if path == machine.SHARED_MEMORY else 50)
    assert judge(describe())[0]['shared memory'].status == 'ok'


def test_busy_machine(monkeypatch):
    monkeypatch.setattr(machine.os, 'cpu_count', lambda: 4)
    assert judge(describe(tasks=['benchmark']))[0]['load'].status == 'ok'
    found, problems = judge(describe(tasks=['benchmark'], load=3.))
    assert 'differ from run to run' in found['load'].symptom
    assert not problems


def test_mmcv_lite_is_enough_for_a_backbone():
    env = describe(
        tasks=['backbone', 'classification'], **NO_OPS,
        versions={'mmcv': None, 'mmcv-lite': '2.1.0', 'mmdet': None,
                  'mmsegmentation': None})
    assert not judge(env)[1]


def test_forks_do_without_pkg_resources():
    env = describe(versions=ONEDL, errors={
        'pkg_resources': NO_MODULE('pkg_resources')})
    found, _ = judge(env)
    assert found['setuptools'].status == 'ok'
    assert found['families'].text == 'the maintained forks (onedl-*)'


def test_one_cause_is_reported_once():
    env = describe(
        errors={step: NO_MODULE('torch') for step in (
            'torch', 'torch and numpy', 'gpu', 'distributed', 'torchvision',
            'mmcv', 'mmlowformer', 'forward', 'mmcv._ext', 'ops',
            'pretrained', 'checkpoint', 'mmdet', 'mmseg', 'mmpretrain')})
    found, _ = judge(env)
    assert [name for name, result in found.items()
            if result.remedy] == ['torch']
    assert found['mmdet'].text == 'not checked: torch does not work'


@pytest.mark.parametrize('error', [
    UNDEFINED, NO_MODULE('mmcv._ext'),
    'Segmentation fault (Python was killed)'])
def test_libraries_are_skipped_where_mmcv_lacks_its_ops(error):
    env = describe(errors={'mmcv._ext': error, 'mmdet.models': error})
    env.steps['mmdet.models'].crashed = 'killed' in error
    found, problems = judge(env)
    assert found['mmdet'].text == 'not checked: mmcv._ext does not work'
    assert problems == ['mmcv ops']


def test_a_missing_library_matters_to_its_task_only():
    errors = {'mmseg': NO_MODULE('mmseg')}
    assert judge(describe(errors=errors))[1] == []
    assert judge(describe(errors=errors, tasks=['train']))[1] == []
    assert judge(describe(errors=errors, tasks=['segmentation']))[1] == [
        'mmseg']


def test_in_the_projects_own_environment(monkeypatch):
    monkeypatch.setattr(sys, 'prefix', str(ROOT / '.venv'))
    found = judge(describe(**NO_OPS))[0]
    assert found['mmcv ops'].remedy == 'rm -rf .venv && make setup'
    forks = judge(describe(**NO_OPS, versions=ONEDL))[0]
    assert forks['mmcv ops'].remedy == \
        'rm -rf .venv && make setup STACK=onedl'
    monkeypatch.setattr(sys, 'version_info', (3, 15))
    assert judge(describe())[0]['Python'].remedy == \
        'make setup PYTHON=python3.11'


def test_checkout_of_an_installed_package(monkeypatch, tmp_path):
    assert judge(describe(installed=None))[0]['mmlowformer'].remedy == \
        f'pip install --no-deps -e {shlex.quote(str(ROOT))}'
    monkeypatch.setattr(fixes, 'PACKAGE', tmp_path / 'mmlowformer')
    assert judge(describe(installed=None))[0]['mmlowformer'].remedy == \
        'pip install --no-deps -e /path/of/the/checkout'


def test_versions_are_those_of_the_requirements():
    pins = {line for file in (ROOT / 'requirements').glob('*.txt')
            for line in file.read_text().splitlines() if '==' in line}
    assert {pinned(name) for names in fixes.DISTRIBUTIONS.values()
            for name in names} <= pins
    assert set(fixes.TORCH.split()[2:]) <= pins


def test_libraries_of_other_tasks_are_not_checked():
    env = describe(tasks=['detection', 'train'])
    for step in library_steps('mmseg', ''):
        del env.steps[step]
    found, problems = judge(env)
    assert 'mmseg' not in found
    assert not problems
