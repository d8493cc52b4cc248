from argparse import ArgumentParser, BooleanOptionalAction

import pytest

from mmlowformer.utils.deprecation import rename_option


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
