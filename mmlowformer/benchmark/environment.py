"""Describe the hardware and software of a measurement."""
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

from ..utils.device import cpu_name

PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet',
            'mmsegmentation', 'mmpretrain', 'timm', 'onnxruntime', 'openvino')
# Environment variables that change the speed.
VARIABLES = ('CUDA_LAUNCH_BLOCKING', 'GLIBC_TUNABLES', 'LD_PRELOAD',
             'NVIDIA_TF32_OVERRIDE', 'PYTORCH_ALLOC_CONF',
             'PYTORCH_CUDA_ALLOC_CONF', 'THP_MEM_ALLOC_ENABLE')
PREFIXES = ('GOMP_', 'KMP_', 'MALLOC_', 'MKL_', 'OMP_', 'ONEDNN_')


def describe_environment(device: str) -> dict:
    """Describe hardware, software and settings as they are now."""
    cuda = device == 'cuda'
    return dict(
        device=torch.cuda.get_device_name() if cuda else cpu_name(),
        driver=_driver() if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        cudnn=torch.backends.cudnn.version() if cuda else None,
        threads=torch.get_num_threads(),
        cores=os.cpu_count(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        tf32=torch.backends.cuda.matmul.allow_tf32,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        platform=platform.platform(),
        python=platform.python_version(),
        packages={name: version for name in PACKAGES
                  if (version := _version(name))},
        variables={name: value for name, value in sorted(os.environ.items())
                   if name in VARIABLES or name.startswith(PREFIXES)},
        commit=_commit())


def _driver() -> str | None:
    return _output('nvidia-smi', '--query-gpu=driver_version',
                   '--format=csv,noheader')


def _commit() -> str | None:
    folder = str(Path(__file__).resolve().parents[2])
    if not (Path(folder) / '.git').exists():
        return None
    return _output('git', '-C', folder, 'rev-parse', 'HEAD')


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True,
                              check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
