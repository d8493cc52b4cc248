"""Packaging. torch is not imported here: isolated builds have none."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Tools that need a checkout.
DEVELOPERS = ('mmcv_wheel.py', 'model_zoo.py', 'setup_env.py')


def pins(file, *packages):
    """Requirements in ``requirements/<file>``, by default all of them."""
    lines = (ROOT / 'requirements' / file).read_text().splitlines()
    names = [re.match(r'[\w.-]*', line).group() for line in lines]
    return [line for name, line in zip(names, lines)
            if name and (not packages or name in packages)]


class BuildWithMim(build_py):
    """Copies configs/ and tools/ to where OpenMMLab packages have them."""

    def run(self):
        if not self.editable_mode:
            # Modules of an older build would get into the wheel.
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        mim = Path(self.build_lib) / 'mmlowformer' / '.mim'
        for folder in ('configs', 'requirements', 'tools'):
            shutil.copytree(
                ROOT / folder, mim / folder, dirs_exist_ok=True,
                ignore=shutil.ignore_patterns('__pycache__', *DEVELOPERS))
        shutil.copy(ROOT / 'model-index.yml', mim)


version = re.search(r"__version__ = '(.+)'",
                    (ROOT / 'mmlowformer' / '__init__.py').read_text())[1]
python = pins('python.txt')[0].removeprefix('python')
ftfy_regex = pins('openmmlab.txt', 'ftfy', 'regex')
hub = pins('hub.txt')
extras = dict(
    openmmlab=[*pins('openmmlab.txt', 'mmengine'), *pins('mmcv.txt')],
    det=pins('openmmlab.txt', 'mmdet') + hub,
    seg=pins('openmmlab.txt', 'mmsegmentation') + ftfy_regex + hub,
    cls=pins('openmmlab.txt', 'mmpretrain') + hub,
    # All of the maintained forks; not together with those above.
    onedl=pins('onedl.txt') + pins('onedl-mmcv.txt') + hub,
    serve=pins('serve.txt'),
    # Only for the test of docs/scale.md; the package does not import it.
    ray=pins('ray.txt'),
    # TrackEval alone would install a numpy that MMPreTrain fails with.
    mot=pins('mot.txt', 'trackeval', 'lap', 'motmetrics')
    + pins('constraints.txt', 'numpy'),
    benchmark=pins('tests.txt', 'timm', 'onnx', 'onnxruntime', 'openvino',
                   'scipy'),
    tiff=pins('tests.txt', 'rasterio'),
    export=pins('export.txt', 'onnxscript', 'onnx', 'onnxruntime', 'openvino',
                'nncf'),
    ncnn=pins('export.txt', 'pnnx', 'ncnn'),
    executorch=pins('export.txt', 'executorch'),
    tflite=pins('export.txt', 'litert-torch', 'ai-edge-litert',
                'ai-edge-quantizer', 'transformers'),
    coreml=pins('export.txt', 'coremltools'),
    tests=pins('tests.txt'))

setup(
    name='mmlowformer',
    version=version,
    description='LowFormer backbones for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    classifiers=[
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        *(f'Programming Language :: Python :: 3.{minor}'
          for minor in range(*map(int, re.findall(r'3\.(\d+)', python)))),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmlowformer', 'mmlowformer.*']),
    package_data={'mmlowformer.serve': ['page/*']},
    cmdclass=dict(build_py=BuildWithMim),
    python_requires=python,
    # mmengine and mmcv are needed, too, but each is provided by several
    # distributions (mmcv, mmcv-lite, onedl-mmcv; mmengine, onedl-mmengine).
    # Naming one would overwrite the files of another in environments that
    # work, so, as in mmdet itself, importing the package checks for them.
    install_requires=['torch>=2.1'],
    extras_require=extras)
