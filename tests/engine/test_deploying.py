"""What the tools say about deployment."""
import argparse

import pytest

from mmlowformer.deployment.arguments import (
    add_deploy_arguments,
    print_compile_note,
)


@pytest.mark.parametrize(('given', 'told'), [
    ('', False), ('--deploy', False), ('--deploy --compile', True)])
def test_compiling_is_told(capsys, given, told):
    parser = argparse.ArgumentParser()
    add_deploy_arguments(parser)
    print_compile_note(parser.parse_args(given.split()))
    assert ('takes a minute' in capsys.readouterr().out) == told
