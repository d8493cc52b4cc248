"""Compiling mmcv: optimized, from few units, and never half done."""
import os
import subprocess
import sys
import tarfile
import threading

import pytest

from ..helpers import ROOT, fake_python

sys.path.insert(0, str(ROOT / 'tools'))
import mmcv_wheel

# Stands for pip: hands out an archive of one source file, and compiles all
# .cpp files that it finds with the flags of the environment, or fails.
FAKE_PIP = """
case "$3" in
download) cp {archive} {folder}/downloaded.tar.gz
    while [ "$1" != -d ]; do shift; done; cp {archive} "$2";;
wheel)
    while [ "$1" != -w ]; do shift; done
    mkdir -p "$2"; touch "$2/mmcv-2.1.0.whl"; cd "$3"
    echo "building 'mmcv._ext' extension"
    for file in $(find . -name '*.cpp'); do
        echo "[1/2] c++ {flags} -c $file -o a.o"
        {fail}
    done;;
esac
"""


# Lines of mmcv's.
SETUP = """
def get_version():
    version_file = 'mmcv/version.py'
    with open(version_file, encoding='utf-8') as f:
        exec(compile(f.read(), version_file, 'exec'))
    return locals()['__version__']

extra_compile_args = {'nvcc': ['-std=c++14'], 'cxx': ['-Wall', '-std=c++17']}
print(get_version(), extra_compile_args)
"""


@pytest.fixture
def archive(tmp_path):
    ops = tmp_path / 'mmcv-2.1.0/mmcv/ops/csrc/pytorch'
    (ops / 'cpu').mkdir(parents=True)
    (tmp_path / 'mmcv-2.1.0/setup.py').write_text(SETUP)
    for name in ('pybind', 'nms', 'roi_align', 'cpu/nms', 'cpu/roi_align'):
        (ops / f'{name}.cpp').write_text('int i;\n')
    path = tmp_path / 'mmcv-2.1.0.tar.gz'
    with tarfile.open(path, 'w:gz') as file:
        file.add(tmp_path / 'mmcv-2.1.0', 'mmcv-2.1.0')
    return path


@pytest.fixture
def build(tmp_path, archive):
    def run(flags='$CFLAGS', fail=':', with_cuda=False):
        python = fake_python(tmp_path, FAKE_PIP.format(
            archive=archive, folder=tmp_path, flags=flags, fail=fail))
        return mmcv_wheel.build(python, 'mmcv==2.1.0', tmp_path / 'wheels/key',
                                with_cuda)
    return run


def test_roi_align_searches_only_where_needed(archive, tmp_path):
    source = mmcv_wheel.unpack(archive, tmp_path / 'plain')
    path = source / 'mmcv/ops/csrc/pytorch/cpu/roi_align.cpp'
    path.write_text('if (val > maxval) {\n')
    mmcv_wheel.speed_up_roi_align(source)
    assert path.read_text() == 'if (pool_mode == 0 && val > maxval) {\n'


def test_setup_py_suits_new_python_and_torch(archive, tmp_path):
    """Its version is found; torch adds the standard that it needs."""
    source = mmcv_wheel.unpack(archive, tmp_path / 'new')
    (source / 'mmcv/version.py').write_text("__version__ = '2.1.0'")
    run = subprocess.run([sys.executable, 'setup.py'], cwd=source, text=True,
                         stdout=subprocess.PIPE, check=True)
    assert run.stdout == "2.1.0 {'nvcc': [], 'cxx': ['-Wall']}\n"


def test_pip_reads_the_version_of_what_it_downloads(tmp_path):
    """Python 3.13 reads it as older ones do."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/version.py').write_text("__version__ = '2.1.0'")
    (tmp_path / 'setup.py').write_text(SETUP)
    (tmp_path / 'sitecustomize.py').write_text(mmcv_wheel.OLD_EXEC.replace(
        '(3, 13)', '(3, 0)'))
    run = subprocess.run(
        [sys.executable, 'setup.py'], cwd=tmp_path, text=True,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        stdout=subprocess.PIPE, check=True)
    assert run.stdout.startswith('2.1.0 ')


def compiled_files(log):
    return sorted(line.split(' -c ./')[1].split()[0].split('pytorch/')[1]
                  for line in log.read_text().splitlines() if ' -c ' in line)


def test_every_line_of_the_log_is_optimized(build, tmp_path, monkeypatch):
    monkeypatch.setenv('CFLAGS', '-O0 -DMINE')
    wheel = build()
    assert wheel == tmp_path / 'wheels/key/mmcv-2.1.0.whl'
    assert wheel.exists()
    log = tmp_path / 'wheels/key.log'
    lines = [line for line in log.read_text().splitlines() if ' -c ' in line]
    assert len(lines) == 5
    for line in lines:
        assert '-DMINE' in line
        assert [w for w in line.split() if w.startswith('-O')][-1] == '-O3'


@pytest.mark.parametrize('flags', ['-g0', '-O3 -O1', '-Os'])
def test_a_build_without_optimization_is_refused(build, tmp_path, flags):
    with pytest.raises(mmcv_wheel.SetupError, match='without -O3'):
        build(flags=flags)
    assert [p.name for p in (tmp_path / 'wheels').iterdir()] == ['key.log']


def test_a_path_with_a_space(tmp_path):
    log = tmp_path / 'log'
    log.write_text("c++ -O3 -c '/home/Zoë Müller/nms.cpp' -o nms.o\n")
    mmcv_wheel.check_optimized(log)


def test_a_build_that_compiles_nothing_is_refused(tmp_path):
    log = tmp_path / 'log'
    log.write_text('Skip building ext ops due to the absence of torch.\n')
    with pytest.raises(mmcv_wheel.SetupError, match='compiled no C'):
        mmcv_wheel.check_optimized(log)


def test_units_replace_the_files(build, tmp_path):
    build()
    assert compiled_files(tmp_path / 'wheels/key.log') == [
        'cpu/unit_0.cpp', 'cpu/unit_1.cpp', 'cpu/unit_2.cpp', 'pybind.cpp',
        'unit_0.cpp']


def test_cuda_is_compiled_file_by_file(build, tmp_path):
    build(with_cuda=True)
    assert compiled_files(tmp_path / 'wheels/key.log') == [
        'cpu/nms.cpp', 'cpu/roi_align.cpp', 'nms.cpp', 'pybind.cpp',
        'roi_align.cpp']


def test_the_plain_build_follows(build, tmp_path, capsys):
    assert build(fail='case $file in *unit*) exit 1;; esac').exists()
    assert 'file by file' in capsys.readouterr().out
    assert 'cpu/nms.cpp' in compiled_files(tmp_path / 'wheels/key.log')
    assert (tmp_path / 'wheels/key.united.log').exists()


def test_failed_build_leaves_nothing(build, tmp_path, capsys):
    with pytest.raises(mmcv_wheel.SetupError, match='fatal error: no.h') as e:
        build(fail='echo "fatal error: no.h"; exit 1')
    assert 'did not compile' in str(e.value)
    assert '1/2 files compiled' in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / 'wheels').iterdir()) == [
        'key.log', 'key.united.log']


def test_failed_download_is_named(tmp_path):
    python = fake_python(tmp_path, 'echo "No route to host"; exit 1')
    with pytest.raises(mmcv_wheel.SetupError, match='No route') as error:
        mmcv_wheel.build(python, 'mmcv==2.1.0', tmp_path / 'wheels/key', False)
    assert 'downloading mmcv==2.1.0: failed' in str(error.value)


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    compiling = threading.Event()
    with pytest.raises(mmcv_wheel.SetupError, match='XDG_CACHE_HOME'):
        mmcv_wheel.build('python', 'mmcv==2.1.0',
                         tmp_path / 'file' / 'wheels' / 'key', False,
                         compiling)
    # The set-up waits for it before it installs the rest.
    assert compiling.is_set()


def test_the_cache_is_checked_first(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(mmcv_wheel.SetupError, match='XDG_CACHE_HOME'):
        mmcv_wheel.check_cache('mmcv==2.1.0')
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setattr('os.path.expanduser', lambda path: path)
    with pytest.raises(mmcv_wheel.SetupError, match='no HOME.*XDG_CACHE_HOME'):
        mmcv_wheel.check_cache('mmcv==2.1.0')


def test_a_cache_that_has_the_wheel_may_be_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    folder = tmp_path / 'mmlowformer/wheels/mmcv2.1.0-torch2'
    folder.mkdir(parents=True)
    (folder / 'mmcv.whl').touch()
    monkeypatch.setattr(mmcv_wheel, '_scratch_folder', None)
    mmcv_wheel.check_cache('mmcv==2.1.0')


def test_folder_depends_on_flags_and_stack(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    python = fake_python(tmp_path, 'echo 2.12.1')

    def folder(package='mmcv==2.1.0'):
        return mmcv_wheel.wheel_folder(python, package, False)

    before = folder()
    assert before.parent == tmp_path / 'mmlowformer/wheels'
    assert before.name.startswith('mmcv2.1.0-torch2.12.1-cp3')
    assert folder() == before
    assert folder('onedl-mmcv==2.3.6') != before
    for key, value in [('FLAGS', '-g0'), ('RECIPE', -1)]:
        with monkeypatch.context() as patch:
            patch.setattr(mmcv_wheel, key, value)
            assert folder() != before
    monkeypatch.setenv('CFLAGS', '-march=native')
    assert folder() != before


def test_units_compile_what_the_files_hold(tmp_path):
    """Macros end with their file, and names clash in no unit."""
    (tmp_path / 'a.cpp').write_text('#define max(a, b) 7\n'
                                    'int a = max(1, 2);\n')
    (tmp_path / 'b.cpp').write_text('#include <algorithm>\nstruct Same {};\n'
                                    'int b = std::max(1, 2);\n')
    (tmp_path / 'c.cpp').write_text('struct Same {};\n')
    mmcv_wheel.unite(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.glob('*.cpp')) == [
        'unit_0.cpp', 'unit_1.cpp']
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch/types.h').touch()
    for unit in tmp_path.glob('*.cpp'):
        result = subprocess.run(
            ['c++', '-I', tmp_path, '-fsyntax-only', unit],
            capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
