"""Commands in pages and on screens, read by the tools' own parsers."""
import argparse
import contextlib
import io
import re
import runpy
import shlex
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlowformer import engine, get_config
from mmlowformer.doctor.checks import TASKS
from mmlowformer.runtime import __main__ as runtime

from .helpers import TOOLS, restored_process

TOOL = re.compile(r'(?:.*/)?tools/(\w+)\.(?:py|sh)|'
                  r'mmlowformer\.(doctor|runtime)')
END = re.compile('[|&;>]+')
# How many arguments of a launcher come before and after the config.
LAUNCHERS = dict(dist_train=(0, 1), slurm_train=(2, 1))
# Tools that are no commands of users, without a function for their options.
OTHERS = ('mmcv_wheel', 'model_zoo', 'setup_env')
SAVED = re.compile(r'(epoch|iter)_(\d+)\.pth')


def commands_in(text):
    """Tool and arguments of each command in a text, one for a line."""
    for text_line in re.sub(r'\\\n\s*', ' ', text).splitlines():
        with contextlib.suppress(ValueError):  # No command: an apostrophe.
            yield from _commands_of(text_line)


def check_suggestions(printed, folder):
    """Whether all that a tool suggests can be pasted in a folder."""
    joined = re.sub(r'\\\n\s*', ' ', printed)
    lines = re.findall(r'^  (\S*python\S* .*/\w+\.py .*)$', joined, re.M)
    for text_line in lines:
        (tool, words), = commands_in(text_line)
        args = vars(parse(tool, words))
        for name in ('source', 'config', 'checkpoint', 'folder'):
            if args.get(name):
                assert (folder / args[name]).exists(), text_line
        for path in args.get('work_dirs', ()):
            assert (folder / path).exists(), text_line
    return len(lines)


def _commands_of(text_line):
    text_line = re.sub(r'\$[A-Z_]+', '1', text_line)
    lexer = shlex.shlex(text_line, posix=True, punctuation_chars='|&;>')
    lexer.wordchars += '{},@[]%$:+!^()<'
    command = None
    for word in [*lexer, ';']:
        if END.fullmatch(word):
            if command:
                yield command[0], command[1:]
            command = None
        elif command is not None:
            command.append(word)
        # The libraries have tools of these names, too.
        elif (match := TOOL.fullmatch(word)) and '/mmdet/' not in word:
            command = [match[1] or match[2]]


@cache
def _parse_args(tool):
    if tool == 'runtime':
        return lambda: runtime.parse_args(None)
    return runpy.run_path(str(TOOLS / f'{tool}.py'))['parse_args']


def parse(tool, words):
    """The arguments as the tool reads them; an assertion if it refuses."""
    if tool in LAUNCHERS:
        before, after = LAUNCHERS[tool]
        config, *words = words[before:]
        tool, words = 'train', [config, *words[after:]]
    if tool in OTHERS:
        return argparse.Namespace()
    if tool == 'doctor':
        assert set(words) <= set(TASKS), words
        return argparse.Namespace()
    screen = io.StringIO()
    with (pytest.MonkeyPatch.context() as patch, restored_process(),
          contextlib.redirect_stderr(screen)):
        patch.setattr('sys.argv', [f'{tool}.py', *words])
        with contextlib.suppress(SystemExit):
            args = _parse_args(tool)()
    # Renamed options warn.
    assert not screen.getvalue(), (tool, words)
    return args


@cache
def options_of_tools():
    """All options, of all tools and their sub-commands."""
    options = set()

    def remember(parser, *names, **_):
        options.update(names)
        return add(parser, *names, **_)

    add = argparse._ActionsContainer.add_argument
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse._ActionsContainer, 'add_argument', remember)
        for file in TOOLS.glob('*.py'):
            if file.stem not in ('_ctrl_c', 'mmcv_wheel'):
                tool = runpy.run_path(str(file))
                _print_help(tool.get('parse_args') or tool['main'], patch)
        _print_help(_parse_args('runtime'), patch)
    return options


def _print_help(parse_args, patch):
    patch.setattr('sys.argv', ['tool', '--help'])
    with contextlib.redirect_stdout(io.StringIO()), \
            contextlib.suppress(SystemExit):
        parse_args()


def own_config(name):
    """A config of this project that needs no data to be read, if any."""
    stem = Path(name).stem
    if '_custom' in stem or not re.fullmatch(
            r'(configs/)?\w+(\.py)?', name) or 'lowformer' not in stem:
        return None
    return get_config(stem)


def configured(args):
    """The config that a command runs, with its options."""
    if not isinstance(getattr(args, 'config', None), str):
        return None
    cfg = own_config(args.config)
    if cfg is None or not hasattr(args, 'cfg_options'):
        return cfg
    with restored_process():
        return engine.load_config(argparse.Namespace(**dict(
            vars(args), config=Path(args.config).stem, work_dir=None)))


def saves(cfg: Config, name: str) -> bool:
    """Whether a training with this config writes a checkpoint."""
    match = SAVED.fullmatch(name)
    hook, number = cfg.default_hooks.checkpoint, int(match[2])
    by_epoch = hook.get('by_epoch', True)
    last = cfg.train_cfg['max_epochs' if by_epoch else 'max_iters']
    return (by_epoch == (match[1] == 'epoch') and number <= last
            and (number % hook.interval == 0 or number == last))
