"""From command-line arguments to a config for Runner."""
import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import (
    barrier,
    broadcast_object_list,
    get_dist_info,
    is_distributed,
    is_main_process,
)
from torch import cuda, distributed, get_num_threads, set_num_threads

from ..config.loading import (
    config_folder,
    dicts_in,
    find_config,
    kind_of,
    read_config,
)
from ..datasets.checks.check_datasets import datasets_in
from ..errors import (
    DEBUG,
    UserError,
    exit_interrupted,
    first_line,
    is_interrupt,
)
from ..utils.allocator import keep_freed_memory
from ..utils.files import folder_problem
from ..utils.terminal import set_bar
from ..utils.text import visible, wrapped
from .config_checks import DATALOADERS
from .config_overrides import OptionAction, apply_options, warn_of_misspelt
from .data_root import follow_data_root

# What torch reads, and where other launchers than torchrun have it.
LAUNCHER_VARIABLES = {
    'slurm': dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS',
                  LOCAL_RANK='SLURM_LOCALID'),
    'mpi': dict(RANK='OMPI_COMM_WORLD_RANK', WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
                LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK')}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    parser.add_argument('config', help='path of a config, or name of one that '
                        'comes with mmlowformer')
    parser.add_argument('--work-dir', metavar='D',
                        help='folder for logs and results (default: '
                        'work_dirs/<name of the config>)')
    add_launcher_arguments(parser)
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction,
                        default={}, metavar='KEY=VALUE',
                        help='override settings of the config, for example '
                        'data_root=/data/coco train_dataloader.batch_size=4')
    parser.add_argument('--allow-nan', action='store_true',
                        help='continue if weights or losses are NaN or '
                        'infinite')
    parser.add_argument('--debug', action=Debug, nargs=0,
                        help='show tracebacks of errors')


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of several processes."""
    parser.add_argument('--launcher', default='none',
                        choices=['none', 'pytorch', 'slurm', 'mpi'],
                        help='how the processes are started (default: none, '
                        'a single process)')
    # torchrun sets the environment variable instead.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for a faster training."""
    parser.add_argument('--amp', nargs='?', const='fp16',
                        choices=['fp16', 'bf16', 'auto'],
                        help='automatic mixed precision: fp16 (the default '
                        'type, needs a GPU), bf16, or auto, which is bf16 on '
                        'a device with instructions for it')
    parser.add_argument('--channels-last', default=None,
                        action=argparse.BooleanOptionalAction,
                        help='channels-last weights (default: on a CPU in '
                        'bf16)')
    parser.add_argument('--compile', nargs='?', const='default',
                        metavar='MODE', help='compile backbone, neck and '
                        'heads with torch.compile')


class Debug(argparse.Action):
    """Shows tracebacks of errors, in all processes."""

    def __call__(self, *_):
        os.environ[DEBUG] = '1'


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the common arguments."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    # custom_imports may name modules in the current folder.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    path = find_config(args.config)
    options = dict(args.cfg_options)
    cfg = read_config(path, options)
    warn_of_misspelt(cfg)
    follow_data_root(cfg, options)
    apply_options(cfg, options)
    add_hooks(cfg)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get('work_dir'):
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    return cfg


def check_work_dir(cfg: Config) -> None:
    """Check that a work dir exists or can be created, and is writable."""
    problem = folder_problem(Path(cfg.work_dir))
    if problem:
        raise UserError(f'work dir {cfg.work_dir} cannot be written: '
                        f'{problem}. Name another folder with --work-dir')
    if not cfg.filename:
        return
    file = Path(cfg.work_dir, Path(cfg.filename).name)
    # MMEngine may replace a config that it has written itself.
    if (file.exists() and file.samefile(cfg.filename)
            and read_config(str(file)).pretty_text.strip()
            != file.read_text(encoding='utf-8').strip()):
        raise UserError(f'{cfg.filename} would be overwritten by the config '
                        'that MMEngine writes into the work dir. Name another '
                        'folder with --work-dir')


def add_hooks(cfg: Config) -> None:
    """Give any config the hooks of mmlowformer's default_runtime.py.

    A config switches one off by None, too, which MMEngine does not take.
    """
    hooks = cfg.get('default_hooks') or {}
    if isinstance(hooks, dict):
        ours = Config.fromfile(config_folder() / '_base_/default_runtime.py')
        for name, hook in ours.default_hooks.items():
            if str(hook.type).startswith('mmlowformer.'):
                hooks.setdefault(name, hook)
                if hooks[name] is None:
                    del hooks[name]
        cfg.default_hooks = hooks


def names_weights(cfg: Config) -> bool:
    """Whether a config names a checkpoint, for the model or a part of it."""
    return bool(cfg.get('load_from')) or any(
        kind_of(part) == 'Pretrained' for _, part in dicts_in(cfg.model))


def use_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation."""
    missing = [key for key in ('tta_model', 'tta_pipeline')
               if not cfg.get(key)]
    if missing:
        raise UserError(f'--tta needs {" and ".join(missing)} in the config')
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    for dataset in datasets_in(cfg.test_dataloader):
        dataset['pipeline'] = cfg.tta_pipeline


def adapt_to_device(cfg: Config) -> None:
    """Set what MMEngine requires on a machine without a GPU."""
    for name in DATALOADERS:
        if cfg.get(name) and not cfg[name].get('num_workers'):
            cfg[name].persistent_workers = False
    if get_device() != 'cpu':
        return
    keep_freed_memory()
    if cfg.launcher == 'none':
        return
    # MMEngine would pin DDP to a GPU, and torch has no SyncBatchNorm for the
    # CPU.
    _init_gloo(cfg.launcher)
    cfg.sync_bn = None
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))


def _init_gloo(launcher: str) -> None:
    """Connect processes, also without a GPU, which MMEngine requires."""
    variables = os.environ
    try:
        for name, source in LAUNCHER_VARIABLES.get(launcher, {}).items():
            variables[name] = variables[source]
        if launcher == 'slurm' and 'MASTER_ADDR' not in variables:
            variables['MASTER_ADDR'] = subprocess.check_output(
                ['scontrol', 'show', 'hostnames',
                 variables['SLURM_NODELIST']], text=True).split()[0]
        # MMEngine's default.
        variables.setdefault('MASTER_PORT', '29500')
        distributed.init_process_group('gloo')
    # torch raises ValueError where torchrun's variables are missing.
    except (LookupError, ValueError, OSError,
            subprocess.CalledProcessError) as error:
        raise UserError(f'--launcher {launcher}: {first_line(error)}. Start '
                        'the tool with torchrun, srun or mpirun'
                        ) from error


def start_processes(launcher: str) -> tuple[int, int]:
    """Connect independent processes; return the rank and their number.

    Each uses the GPU of its local rank, or its share of the processors.
    """
    from ..utils.device import usable_cpus
    _init_gloo(launcher)
    if get_device() != 'cpu':
        cuda.set_device(int(os.environ['LOCAL_RANK']))
    # torchrun allows each process one thread.
    share = usable_cpus() // int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
    if launcher == 'pytorch':
        set_num_threads(max(get_num_threads(), share))
    return get_dist_info()


def call_in_first_process(do: Callable[[], str]) -> str:
    """Tell all processes what the first one returns, and disconnect them."""
    said = ['', '']
    if is_main_process():
        try:
            said[0] = do()
        except UserError as error:
            said[1] = str(error)
    broadcast_object_list(said)
    barrier()
    distributed.destroy_process_group()
    if said[1]:
        raise UserError(said[1])
    return said[0]


@contextmanager
def destroy_process_group() -> Iterator[None]:
    """Destroy the process group when the work is done.

    Gloo's threads release the last tensors a little later, for which they
    need Python's lock. If Python exits meanwhile, the process aborts
    ("terminate called without an active exception").

    After an error the group is kept, as destroying it waits for the others.
    """
    yield
    if is_distributed():
        # Models that refer to the group would keep it, and its threads.
        gc.collect()
        distributed.destroy_process_group()


@contextmanager
def exit_on_interrupt(words: Callable[[], str]) -> Iterator[None]:
    """Exit with these words on Ctrl-C, SIGTERM and SIGHUP.

    Signals other than Ctrl-C are interrupts only within
    :func:`~mmlowformer.errors.one_line_errors`.
    """
    try:
        yield
    # An inner one has said its words before it exits.
    except SystemExit:
        raise
    except BaseException as error:
        if not is_interrupt(error):
            raise
        set_bar(None)
        exit_interrupted(wrapped(visible(words())))
