"""Compiling mmcv: optimized, from few units, and never half done."""
import subprocess
import sys

import pytest

from ..helpers import ROOT, fake_python

sys.path.insert(0, str(ROOT / 'tools'))
import mmcv_wheel

# Stands for pip: unpacks the sources and fails, as mmcv's setup.py does since
# Python 3.13; and compiles all .cpp files that it finds with the flags of the
# environment, or fails.
FAKE_PIP = """
case "$3" in
download) mkdir "$TMPDIR/pip-download"
    cp -r '{source}' "$TMPDIR/pip-download"; exit 1;;
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
def source(tmp_path):
    """Sources like those of mmcv."""
    ops = tmp_path / 'mmcv-2.1.0/mmcv/ops/csrc/pytorch'
    (ops / 'cpu').mkdir(parents=True)
    (tmp_path / 'mmcv-2.1.0/setup.py').write_text(SETUP)
    for name in ('pybind', 'nms', 'roi_align', 'cpu/nms', 'cpu/roi_align'):
        (ops / f'{name}.cpp').write_text('if (val > maxval) {\n')
    return tmp_path / 'mmcv-2.1.0'


@pytest.fixture(autouse=True)
def wheels(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/mmlowformer/wheels'


@pytest.fixture
def build(tmp_path, source, wheels):
    def run(flags='$CFLAGS', fail=':', with_cuda=False, calls=None):
        python = fake_python(tmp_path, FAKE_PIP.format(
            source=source, flags=flags, fail=fail))
        return mmcv_wheel.build(
            python, 'mmcv==2.1.0', wheels / 'key', with_cuda,
            lambda: calls is None or calls.append('compiling'))
    return run


def test_roi_align_searches_only_where_needed(source):
    mmcv_wheel.adapt(source, {})
    path = source / 'mmcv/ops/csrc/pytorch/cpu/roi_align.cpp'
    assert path.read_text() == 'if (pool_mode == 0 && val > maxval) {\n'


def test_setup_py_suits_new_python_and_torch(source):
    """Its version is found; torch adds the standard that it needs."""
    mmcv_wheel.adapt(source, {})
    (source / 'mmcv/version.py').write_text("__version__ = '2.1.0'")
    run = subprocess.run([sys.executable, 'setup.py'], cwd=source, text=True,
                         stdout=subprocess.PIPE, check=True)
    assert run.stdout == "2.1.0 {'nvcc': [], 'cxx': ['-Wall']}\n"


def compiled_files(log):
    return sorted(line.split(' -c ./')[1].split()[0].split('pytorch/')[1]
                  for line in log.read_text().splitlines() if ' -c ' in line)


def test_every_line_of_the_log_is_optimized(build, wheels, monkeypatch):
    monkeypatch.setenv('CFLAGS', '-O0 -DMINE')
    wheel = build()
    assert wheel == wheels / 'key/mmcv-2.1.0.whl'
    assert wheel.exists()
    log = wheels / 'key.log'
    lines = [line for line in log.read_text().splitlines() if ' -c ' in line]
    assert len(lines) == 5
    for line in lines:
        assert '-DMINE' in line
        assert [w for w in line.split() if w.startswith('-O')][-1] == '-O3'


@pytest.mark.parametrize('flags', ['-g0', '-O3 -O1', '-Os'])
def test_a_build_without_optimization_is_refused(build, wheels, flags):
    with pytest.raises(mmcv_wheel.SetupError, match='without -O3'):
        build(flags=flags)
    assert [p.name for p in wheels.iterdir()] == ['key.log']


def test_a_path_with_a_space(tmp_path):
    log = tmp_path / 'log'
    log.write_text("c++ -O3 -c '/home/Zoë Müller/nms.cpp' -o nms.o\n")
    mmcv_wheel.check_optimized(log)


def test_a_build_that_compiles_nothing_is_refused(tmp_path):
    log = tmp_path / 'log'
    log.write_text('Skip building ext ops due to the absence of torch.\n')
    with pytest.raises(mmcv_wheel.SetupError, match='no C.. was compiled'):
        mmcv_wheel.check_optimized(log)


def test_units_replace_the_files(build, wheels):
    build()
    assert compiled_files(wheels / 'key.log') == [
        'cpu/unit_0.cpp', 'cpu/unit_1.cpp', 'cpu/unit_2.cpp', 'pybind.cpp',
        'unit_0.cpp']


def test_cuda_is_compiled_file_by_file(build, wheels):
    build(with_cuda=True)
    assert compiled_files(wheels / 'key.log') == [
        'cpu/nms.cpp', 'cpu/roi_align.cpp', 'nms.cpp', 'pybind.cpp',
        'roi_align.cpp']


def test_the_plain_build_follows(build, wheels, capsys):
    calls = []
    assert build(fail='case $file in *unit*) exit 1;; esac',
                 calls=calls).exists()
    assert calls == ['compiling'] * 2
    assert 'file by file' in capsys.readouterr().out
    assert 'cpu/nms.cpp' in compiled_files(wheels / 'key.log')
    assert (wheels / 'key.united.log').exists()


def test_a_full_disk_is_named_at_once(build, wheels):
    calls = []
    with pytest.raises(mmcv_wheel.SetupError, match='No space left.*TMPDIR'):
        build(fail='echo "a.s: No space left on device"; exit 1', calls=calls)
    assert calls == ['compiling']


def test_failed_build_leaves_nothing(build, wheels, capsys):
    with pytest.raises(mmcv_wheel.SetupError, match='fatal error: no.h') as e:
        build(fail='echo "fatal error: no.h"; exit 1')
    assert 'did not compile' in str(e.value)
    assert '1/2 files compiled' in capsys.readouterr().out
    assert sorted(p.name for p in wheels.iterdir()) == [
        'key.log', 'key.united.log']


def test_failed_download_is_named(tmp_path):
    python = fake_python(tmp_path, 'echo "No route to host"; exit 1')
    with pytest.raises(mmcv_wheel.SetupError, match='No route') as error:
        mmcv_wheel.build(python, 'mmcv==2.1.0', tmp_path, False, None)
    assert 'downloading mmcv==2.1.0: failed' in str(error.value)


def test_the_cache_is_checked_first(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(mmcv_wheel.SetupError, match='XDG_CACHE_HOME'):
        mmcv_wheel.check_cache('mmcv==2.1.0')

    def denied(*_):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(mmcv_wheel.Path, 'glob', denied)
    with pytest.raises(mmcv_wheel.SetupError, match='XDG_CACHE_HOME'):
        mmcv_wheel.check_cache('mmcv==2.1.0')
    monkeypatch.undo()
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr('os.path.expanduser', lambda path: path)
    with pytest.raises(mmcv_wheel.SetupError, match='no HOME.*XDG_CACHE_HOME'):
        mmcv_wheel.check_cache('mmcv==2.1.0')


def test_a_cache_that_has_the_wheel_may_be_read_only(wheels, monkeypatch):
    (wheels / 'mmcv2.1.0-torch2').mkdir(parents=True)
    (wheels / 'mmcv2.1.0-torch2/mmcv.whl').touch()
    monkeypatch.setattr(mmcv_wheel, 'scratch_folder', None)
    mmcv_wheel.check_cache('mmcv==2.1.0')


def test_folder_depends_on_flags_and_stack(tmp_path, wheels, monkeypatch):
    python = fake_python(tmp_path, 'echo 2.12.1 False None None')

    def folder(package='mmcv==2.1.0'):
        return mmcv_wheel.wheel_folder(python, package)

    before, with_cuda = folder()
    assert not with_cuda
    assert before.parent == wheels
    assert before.name.startswith('mmcv2.1.0-torch2.12.1-cp3')
    assert folder() == (before, False)
    assert folder('onedl-mmcv==2.3.6')[0] != before
    for key, value in [('FLAGS', '-g0'), ('RECIPE', -1)]:
        with monkeypatch.context() as patch:
            patch.setattr(mmcv_wheel, key, value)
            assert folder()[0] != before
    monkeypatch.setenv('CFLAGS', '-march=native')
    assert folder()[0] != before


def test_cuda_ops_need_nvcc(tmp_path, monkeypatch):
    python = fake_python(tmp_path, f'echo 2.12.1 True 13.0 {tmp_path}')
    with pytest.raises(mmcv_wheel.SetupError, match='CUDA toolkit 13.0'):
        mmcv_wheel.wheel_folder(python, 'mmcv==2.1.0')
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin/nvcc').touch()
    folder, with_cuda = mmcv_wheel.wheel_folder(python, 'mmcv==2.1.0')
    assert with_cuda
    assert '-cuda-' in folder.name


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
