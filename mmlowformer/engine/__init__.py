"""What the command line tools share, for every task."""
from ..data.checks import check_datasets
from ..errors import UserError, one_line_errors
from ..weights.fitting import (
    LoadAnyLayout,
    check_fits,
    check_pretrained,
    fitting_state_dict,
)
from ..weights.reading import check_checkpoint, load_safely
from ..weights.resuming import (
    check_resumable,
    latest_checkpoint,
    saved_checkpoints,
)
from .batch_size import describe_batch, scale_learning_rate
from .drawing import draw_predictions
from .finite import StopAtNaN
from .launch import (
    adapt_to_device,
    add_common_arguments,
    device_name,
    load_config,
    require_scope,
    use_tta,
)
from .saving import SaveSafely, full_disk_errors
from .testing import build_tester, prepare_test

__all__ = [
    'LoadAnyLayout', 'SaveSafely', 'StopAtNaN', 'UserError', 'adapt_to_device',
    'add_common_arguments', 'build_tester', 'check_checkpoint',
    'check_datasets', 'check_fits', 'check_pretrained', 'check_resumable',
    'describe_batch', 'device_name', 'draw_predictions', 'fitting_state_dict',
    'full_disk_errors', 'latest_checkpoint', 'load_config', 'load_safely',
    'one_line_errors', 'prepare_test', 'require_scope', 'saved_checkpoints',
    'scale_learning_rate', 'use_tta'
]
