import warnings
from argparse import ArgumentParser, BooleanOptionalAction

import pytest

from mmlowformer import get_config_path, predict, registry
from mmlowformer.config.loading import read_config
from mmlowformer.errors import UserError
from mmlowformer.utils.arguments import rename_option
from mmlowformer.utils.console import quiet_screen


def read_deprecated_config():
    """It has no data beside it, which is the next thing that it says."""
    with pytest.raises(UserError, match='data not found'):
        read_config(get_config_path('lowformer_b0_custom'))


@pytest.mark.parametrize(('use', 'remedy'), [
    (lambda: predict.Neighbours, 'is called RetrievalResult now'),
    (lambda: registry.TRANSFORMS.get('mmlowformer.FlipPair'),
     'is called \'mmlowformer.PairRandomFlip\' now'),
    (read_deprecated_config, 'write a plain config')])
def test_users_of_a_tool_see_it_once(use, remedy, capsys):
    with warnings.catch_warnings():
        # As Python has it, other than pytest.
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning,
                         ImportWarning, ResourceWarning):
            warnings.simplefilter('ignore', category)
        with quiet_screen():
            for _ in range(2):
                use()
                # Has Python forget what it has shown, as libraries do.
                with warnings.catch_warnings():
                    pass
    shown = ' '.join(capsys.readouterr().out.split())
    assert shown.count(remedy) == 1, shown


@pytest.mark.parametrize(('kwargs', 'values', 'expected'), [
    (dict(type=float, default=2.), ['0.5'], .5),
    (dict(nargs='+', type=int), ['1', '2'], [1, 2]),
    (dict(action='store_true'), [], True),
    (dict(action='append'), ['a', '--old', 'b'], ['a', 'b']),
    (dict(action=BooleanOptionalAction), [], True)])
def test_an_old_option_does_what_the_new_does(kwargs, values, expected,
                                              capsys):
    parser = ArgumentParser(prog='long_name_of_a_tool.py')
    parser.add_argument('--new', **kwargs)
    rename_option(parser, '--old', '--new')
    assert parser.parse_args(['--old', *values]).new == expected
    notice = capsys.readouterr().err
    assert '--new' in notice
    assert max(map(len, notice.splitlines())) <= 80
    assert parser.parse_args([]).new == kwargs.get(
        'default', False if kwargs.get('action') == 'store_true' else None)
    assert not capsys.readouterr().err
    assert '--old' not in parser.format_help()


def test_an_old_option_excludes_what_the_new_does(capsys):
    parser = ArgumentParser(prog='tool.py')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--boxes', action='store_true')
    group.add_argument('--new', action='store_true')
    rename_option(group, '--old', '--new')
    with pytest.raises(SystemExit):
        parser.parse_args(['--boxes', '--old'])
    assert 'not allowed with' in capsys.readouterr().err
    assert '[--boxes | --new]' in parser.format_usage()
