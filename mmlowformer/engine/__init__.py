"""What the command line tools share, for every task."""
from ..checkpoint.compatibility import (
    LoadAnyLayout,
    check_fits,
    check_pretrained,
    fitting_state_dict,
)
from ..checkpoint.download import local_checkpoint
from ..checkpoint.pretrained import fetch_weights
from ..checkpoint.resume import (
    check_resumable,
    latest_checkpoint,
    saved_checkpoints,
)
from ..config.build_errors import config_mistakes
from ..config.model_kind import is_tracker
from ..config.scope import require_scope
from ..datasets.checks.check_datasets import check_datasets
from ..datasets.image_errors import NameImages
from ..deployment.arguments import (
    add_deploy_arguments,
    deploy_settings,
    tell_of_compiling,
)
from ..errors import UserError, one_line_errors
from ..utils.console import exit_on_interrupt, quiet_screen, show, warn
from ..utils.device import device_name
from ..utils.file_lock import check_free, only_training_in
from ..utils.progress_bar import counting_bar, hours
from ..utils.safe_load import check_checkpoint, load_safely
from ..utils.text import command, line, short, wrapped
from .best_metrics import shown
from .cli import (
    Debug,
    adapt_to_device,
    add_common_arguments,
    leave_processes,
    load_config,
    use_tta,
)
from .config_checks import check_settings, check_testing, check_training
from .hooks.check_nan import StopAtNaN
from .hooks.config_warnings import WarnOfOddSettings
from .hooks.progress import ShowProgress
from .hooks.resume_validation import MakeUpValidation
from .hooks.safe_checkpoint import SaveSafely, check_places, full_disk_errors
from .hooks.visualization import draw_predictions
from .lr_scaling import describe_batch, scale_learning_rate
from .outputs import check_outputs, check_work_dir
from .run_summary import (
    Describe,
    conclude,
    describe_model,
    describe_runner,
    suggest_prediction,
)
from .runner import QuietRunner
from .testing import build_tester, prepare_test

__all__ = [
    'Debug', 'Describe', 'LoadAnyLayout', 'MakeUpValidation', 'NameImages',
    'QuietRunner', 'SaveSafely', 'ShowProgress', 'StopAtNaN', 'UserError',
    'WarnOfOddSettings', 'adapt_to_device', 'add_common_arguments',
    'add_deploy_arguments', 'build_tester', 'check_checkpoint',
    'check_datasets', 'check_fits', 'check_free', 'check_outputs',
    'check_places', 'check_pretrained', 'check_resumable', 'check_settings',
    'check_testing', 'check_training', 'check_work_dir', 'command',
    'conclude', 'config_mistakes', 'counting_bar', 'deploy_settings',
    'describe_batch', 'describe_model', 'describe_runner', 'device_name',
    'draw_predictions',
    'exit_on_interrupt', 'fetch_weights', 'fitting_state_dict',
    'full_disk_errors', 'hours', 'is_tracker', 'latest_checkpoint',
    'leave_processes', 'line', 'load_config', 'load_safely',
    'local_checkpoint', 'one_line_errors', 'only_training_in', 'prepare_test',
    'quiet_screen', 'require_scope', 'saved_checkpoints',
    'scale_learning_rate', 'short', 'show', 'shown', 'suggest_prediction',
    'tell_of_compiling', 'use_tta', 'warn', 'wrapped'
]
