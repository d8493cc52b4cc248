"""Check an environment and say how to mend it.

Each line starts with ok, with ' !' for what works but not in every case, with
'!!' for what is broken, or with '--' for what is missing or could not be
checked. Below a trouble is the text of the error that it shows itself by, and
the command that mends it.

With a task, only what it needs is checked, and the exit status is 1 if any of
that is broken or missing. Without one, all that is installed is checked:
what is installed and does not work makes the exit status 1, and so does what
the backbone lacks; what is merely not installed is reported.
"""
import argparse
import sys

from ..errors import one_line_errors
from .facts import gather
from .report import format_result, summarise
from .tasks import TASKS, hosts_for, run_checks


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    tasks = '\n'.join(f'  {task:<15} {text}' for task, text in TASKS.items())
    parser = argparse.ArgumentParser(
        prog='python -m mmlowformer.doctor', description=__doc__,
        epilog=f'tasks:\n{tasks}',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tasks', nargs='*', metavar='TASK',
                        help='what the environment is for, see below')
    parsed = parser.parse_args(arguments)
    for task in parsed.tasks:
        if task not in TASKS:
            parser.error(f'there is no task {task!r}; there are '
                         f'{", ".join(TASKS)}')
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Print the report."""
    tasks = parse_args(arguments).tasks
    found = []
    with one_line_errors('mmlowformer.doctor'):
        facts = gather(hosts_for(tasks), tasks)
        for result, is_trouble in run_checks(facts):
            print(format_result(result), flush=True)
            found.append((result, is_trouble))
    print(f'\n{summarise(found, tasks)}')
    return int(any(is_trouble for _, is_trouble in found))


if __name__ == '__main__':
    sys.exit(main())
