"""Checks of LowFormer itself."""
from collections.abc import Iterator

from . import fixes
from .facts import Facts
from .results import Result, broken, ok, skipped

NEEDS = ('torch', 'mmengine', 'mmcv')
HIDDEN = ("KeyError: 'mmlowformer.LowFormer is not in the mmdet::model "
          "registry'; the reason, which MMEngine hides, is ")
HUB_PACKAGES = ('huggingface_hub', 'safetensors')
UNREADABLE = 'UnpicklingError: Weights only load failed'


def check_backbone(facts: Facts) -> Iterator[Result]:
    """An import, a forward pass and a config."""
    name = 'backbone'
    cause = facts.first_failed(*NEEDS)
    failed = facts.first_failed('mmlowformer', 'forward', 'configs')
    if cause:
        yield skipped(name, cause)
    elif failed is None:
        yield ok(name, 'b0 gives finite maps, a config is read')
    elif failed == 'mmlowformer':
        error = facts.error(failed)
        yield broken(name, 'importing mmlowformer fails', HIDDEN + error,
                     fixes.install_missing(error)
                     or fixes.install_mmlowformer('--force-reinstall'))
    elif failed == 'forward':
        yield broken(name, 'b0 cannot be built or computed',
                     facts.error(failed), fixes.reinstall_torch())
    else:
        yield broken(name, 'its configs are not found', facts.error(failed),
                     fixes.install_mmlowformer('--force-reinstall'))


def check_pretrained(facts: Facts) -> Iterator[Result]:
    """Weights are loaded, and those of another network refused."""
    name = 'weights'
    cause = facts.first_failed(*NEEDS, 'mmlowformer')
    if cause:
        yield skipped(name, cause)
    elif facts.works('pretrained'):
        yield _hub(name, facts)
    elif _has_no_room(facts.error('pretrained')):
        yield broken(name, 'no temporary file can be written',
                     facts.error('pretrained'),
                     'export TMPDIR=/path/on/a/larger/disk')
    else:
        yield broken(name, 'init_cfg does not load weights as it should',
                     facts.error('pretrained'),
                     fixes.reinstall('mmengine', facts))


def _hub(name: str, facts: Facts) -> Result:
    text = 'loaded; those of another network are refused'
    if all(package in facts.versions for package in HUB_PACKAGES):
        return ok(name, text)
    return ok(name, f'{text}; those on the hub need more packages',
              'hf-hub:timm/... could not be fetched',
              f'pip install {" ".join(HUB_PACKAGES)}')


def _has_no_room(error: str) -> bool:
    return 'No usable temporary directory' in error or 'Errno 28' in error


def check_checkpoint(facts: Facts) -> Iterator[Result]:
    """What Runner writes can be read: by the tools, and by torch alone."""
    name = 'checkpoints'
    cause = facts.first_failed(*NEEDS, 'mmlowformer')
    if cause:
        yield skipped(name, cause)
    elif not facts.works('checkpoint'):
        yield broken(name, 'resuming and testing cannot read them',
                     facts.error('checkpoint'), fixes.TORCH)
    elif facts.value('checkpoint'):
        yield ok(name, "Runner's are read")
    else:
        yield ok(name, "Runner's are read by tools/, not by mmdet's own "
                 'tools', UNREADABLE,
                 'python tools/test.py CONFIG CHECKPOINT')
