"""The report, readable at 80 columns."""
import textwrap
from collections.abc import Iterable

from ..errors import LONGEST_MESSAGE, printable
from .results import BROKEN, MISSING, OK, SKIPPED, WARNING, Result

WIDTH = 80
MARKS = {OK: 'ok', WARNING: ' !', BROKEN: '!!', MISSING: '--', SKIPPED: '--'}
INDENT = ' ' * 5


def format_result(result: Result) -> str:
    """A line, and below it the symptom and the remedy."""
    lines = textwrap.wrap(
        f'{MARKS[result.status]}  {result.name:<14} {_plain(result.text)}',
        WIDTH, subsequent_indent=' ' * 19, break_on_hyphens=False)
    if result.symptom:
        lines += textwrap.wrap(
            f'you see: {_plain(result.symptom)}', WIDTH, initial_indent=INDENT,
            subsequent_indent=INDENT + ' ' * 9, break_on_hyphens=False)
    if result.remedy:
        lines += _wrap_command(result.remedy)
    return '\n'.join(lines)


def _plain(text: str) -> str:
    return printable(text, '\n', LONGEST_MESSAGE)


def _wrap_command(command: str) -> list[str]:
    """Broken so that it can be copied as it is."""
    lines = textwrap.wrap(
        f'run:     {_plain(command)}', WIDTH - 2, initial_indent=INDENT,
        subsequent_indent=INDENT + ' ' * 9, break_long_words=False,
        break_on_hyphens=False)
    return [f'{line} \\' for line in lines[:-1]] + lines[-1:]


def summarise(found: Iterable[tuple[Result, bool]], tasks: Iterable[str]
              ) -> str:
    """The last line."""
    found = list(found)
    troubles = [result for result, is_trouble in found if is_trouble]
    warnings = sum(result.status == WARNING for result, _ in found)
    # What could not be checked has a cause further up.
    causes = [result for result in troubles if result.remedy]
    if causes:
        return (f'{_count(len(causes), "trouble")}; first do:\n'
                + '\n'.join(_wrap_command(causes[0].remedy)))
    if troubles:
        return f'{troubles[0].name}: {troubles[0].text}.'
    works = (f'All that {_join(sorted(tasks))} needs works' if tasks else
             'All that is installed works')
    works += f'; {_count(warnings, "warning")} above.' if warnings else '.'
    return textwrap.fill(works, WIDTH)


def _join(words: list[str]) -> str:
    return ' and '.join(filter(None, [', '.join(words[:-1]), *words[-1:]]))


def _count(number: int, word: str) -> str:
    return f'{number} {word}' + ('s' if number != 1 else '')
