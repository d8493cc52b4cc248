"""Files that MMEngine's checkpoint loader does not read by itself."""
from mmengine.runner import CheckpointLoader

HUB_PREFIX = 'hf-hub:'
HUB_FILE = 'model.safetensors'


# MMEngine takes prefixes as regular expressions.
@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """Load a local safetensors file.

    Args:
        filename (str): The file.
        map_location (str, optional): Device of the tensors. Defaults to
            the CPU.

    Returns:
        dict: The state dict.

    Raises:
        ImportError: If safetensors is not installed.
    """
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(f'{filename} needs: pip install safetensors') \
            from error
    return load_file(filename, device=str(map_location or 'cpu'))


@CheckpointLoader.register_scheme(prefixes=HUB_PREFIX)
def load_from_hub(filename: str, map_location=None) -> dict:
    """Load timm's weights from the Hugging Face hub, or its local cache.

    Args:
        filename (str): For example ``'hf-hub:timm/lowformer_b1.in1k'``.
        map_location (str, optional): Device of the tensors. Defaults to
            the CPU.

    Returns:
        dict: The state dict.

    Raises:
        RuntimeError: If it cannot be fetched; the message says which file to
            fetch by hand.
    """
    repository = filename.removeprefix(HUB_PREFIX)
    try:
        from huggingface_hub import hf_hub_download
        path = hf_hub_download(repository, HUB_FILE)
    except Exception as error:
        raise RuntimeError(
            f'{filename} could not be fetched ({type(error).__name__}). With '
            'network and "pip install huggingface_hub" it is fetched '
            f'automatically; else get {HUB_FILE} of '
            f'https://huggingface.co/{repository} by hand and set '
            'checkpoint=PATH.') from error
    return load_from_safetensors(path, map_location)
