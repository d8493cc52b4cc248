"""Whether what follows a backbone takes what it puts out."""
from ..configs import kind_of
from ..errors import UserError
from ..models import LowFormer
from ..models.arguments import check_arch, check_out_indices

# Classifiers' heads get as many channels as the last map has.
KEEPING_CHANNELS = ('GlobalAveragePooling', 'None')


def check_channels(model: dict, path: str = 'model') -> None:
    """Make sure that a neck or a classifier's head fits a LowFormer.

    Args:
        model (dict): Config of the model.
        path (str): Where it stands in the config. Defaults to ``'model'``.

    Raises:
        UserError: If the backbone's arguments are not allowed, or it puts out
            other maps than are wanted.
    """
    backbone = model.get('backbone') or {}
    if kind_of(backbone) != LowFormer.__name__:
        return
    given = _out_channels(backbone, path)
    wanted = _in_channels(model, 'neck')
    if isinstance(wanted, (list, tuple)) and list(wanted) != given:
        _refuse(f'{path}.neck', wanted, given, str(given).replace(' ', ''))
    wanted = _in_channels(model, 'head')
    if (wanted not in (None, given[-1])
            and kind_of(model.get('neck') or {}) in KEEPING_CHANNELS):
        _refuse(f'{path}.head', wanted, given, str(given[-1]))


def _in_channels(model: dict, part: str) -> object:
    value = model.get(part)
    return value.get('in_channels') if isinstance(value, dict) else None


def _out_channels(backbone: dict, path: str) -> list[int]:
    try:
        arch = check_arch(backbone.get('arch', 'b1'), LowFormer.arch_settings)
        indices = check_out_indices(
            backbone.get('out_indices', range(len(LowFormer.strides))),
            len(LowFormer.strides))
    except (ValueError, TypeError) as error:
        raise UserError(f'{path}.backbone: {error}') from error
    return [arch['widths'][i + 1] for i in indices]


def _refuse(part: str, wanted: object, given: list[int], remedy: str) -> None:
    maps = f'{len(given)} map{"s" if len(given) > 1 else ""}'
    raise UserError(
        f'{part}.in_channels is {wanted}, but the backbone puts out '
        f'{maps} of {", ".join(map(str, given))} channels: set '
        f'{part}.in_channels={remedy}, or other '
        f'{part.rsplit(".", 1)[0]}.backbone.out_indices')
