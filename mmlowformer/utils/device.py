"""The device that a Runner uses."""
import torch
from mmengine.device import get_device


def device_name() -> str:
    """Describe the device, for example ``cuda (NVIDIA A100)``."""
    device = get_device()
    if device == 'cuda':
        return f'cuda ({torch.cuda.get_device_name()})'
    return f'{device} ({torch.get_num_threads()} threads)'
