"""What a check found."""
from dataclasses import dataclass

OK, WARNING, BROKEN, MISSING, SKIPPED = (
    'ok', 'warning', 'broken', 'missing', 'skipped')


@dataclass(frozen=True)
class Result:
    """One line of the report, and what belongs below it."""

    status: str
    name: str
    text: str
    symptom: str = ''
    remedy: str = ''


def ok(name: str, text: str, symptom: str = '', remedy: str = '') -> Result:
    """It works; a symptom and a remedy are of what works elsewhere only."""
    return Result(OK, name, text, symptom, remedy)


def warning(name: str, text: str, symptom: str, remedy: str) -> Result:
    """It works, but not in every case or not well."""
    return Result(WARNING, name, text, symptom, remedy)


def broken(name: str, text: str, symptom: str, remedy: str) -> Result:
    """It does not work."""
    return Result(BROKEN, name, text, symptom, remedy)


def missing(name: str, symptom: str, remedy: str,
            text: str = 'not installed') -> Result:
    """It is not there; whether that matters depends on the task."""
    return Result(MISSING, name, text, symptom, remedy)


def skipped(name: str, cause: str) -> Result:
    """It cannot be looked at before something else is mended."""
    return Result(SKIPPED, name, f'not checked: {cause} does not work')
