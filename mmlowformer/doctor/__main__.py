"""Check an environment and say how to fix it.

A line starts with "ok", with " !" for what does not work in every case, with
"!!" for what is broken, or with "--" for what is missing or could not be
checked. Below a problem are the error by which it shows and the command that
fixes it.

With a task, only what it needs is checked, and the exit status is 1 if any of
that is broken or missing. Without one, all that is installed is checked, and
the exit status is 1 if any of it is broken or if the backbone lacks something.
"""
import argparse
import sys
import textwrap

from ..errors import LONGEST_MESSAGE, one_line_errors, printable
from .checks import TASKS, run_checks, subjects_for
from .environment import CheckResult, examine

WIDTH = 80
MARKS = dict(ok='ok', warning=' !', broken='!!', missing='--', skipped='--')


def main(arguments: list[str] | None = None) -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog='python -m mmlowformer.doctor', description=__doc__,
        epilog='tasks:\n' + '\n'.join(
            f'  {task:<15} {text}' for task, text in TASKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tasks', nargs='*', metavar='TASK',
                        help='what the environment is for, see below')
    tasks = parser.parse_args(arguments).tasks
    if unknown := set(tasks) - set(TASKS):
        parser.error(f'unknown task {min(unknown)!r}: choose from '
                     f'{", ".join(TASKS)}')
    results = []
    with one_line_errors('mmlowformer.doctor'):
        for name, result, fails in run_checks(
                examine(subjects_for(tasks), tasks)):
            print(format_result(name, result), flush=True)
            results.append((name, result, fails))
    print(f'\n{summarize(results, tasks)}')
    return int(any(fails for _, _, fails in results))


def format_result(name: str, result: CheckResult) -> str:
    """A line, and below it the symptom and the remedy."""
    lines = [_wrap(f'{MARKS[result.status]}  {name:<14} ', result.text)]
    if result.symptom:
        lines.append(_wrap('     you see: ', result.symptom))
    if result.remedy:
        lines.append(_wrap_command(result.remedy))
    return '\n'.join(lines)


def _wrap(label: str, text: str, width: int = WIDTH, **options) -> str:
    return textwrap.fill(
        printable(text, '\n', LONGEST_MESSAGE), width, initial_indent=label,
        subsequent_indent=' ' * len(label), break_on_hyphens=False, **options)


def _wrap_command(command: str) -> str:
    """Wrap a command so that it can be copied."""
    return _wrap('     run:     ', command, WIDTH - 2,
                 break_long_words=False).replace('\n', ' \\\n')


def summarize(results: list[tuple[str, CheckResult, bool]], tasks: list[str]
              ) -> str:
    """The last line, which says what to do first."""
    failed = [(name, result) for name, result, fails in results if fails]
    # What could not be checked has a cause further up.
    causes = [result for _, result in failed if result.remedy]
    if causes:
        return (f'Problems: {len(causes)}; first do:\n'
                + _wrap_command(causes[0].remedy))
    if failed:
        return f'{failed[0][0]}: {failed[0][1].text}.'
    subject = (f'{", ".join(sorted(tasks))} needs' if tasks else
               'is installed')
    warnings = sum(result.status == 'warning' for _, result, _ in results)
    return textwrap.fill(
        f'All that {subject} works' + (
            f'; warnings above: {warnings}.' if warnings else '.'), WIDTH)


if __name__ == '__main__':
    sys.exit(main())
