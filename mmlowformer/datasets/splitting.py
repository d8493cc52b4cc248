"""Images dealt out to training, validation and test, group by group."""
import random
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from ..errors import UserError, shown


def group_by(pattern: str | None) -> Callable[[str], str]:
    """Which images belong together."""
    if pattern is None:
        return lambda name: name
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f'--group {pattern} is no regular expression: '
                        f'{error}') from error

    def key(name: str) -> str:
        match = expression.search(name)
        if not match:
            raise UserError(f'--group {pattern} finds no group in '
                            + shown(name))
        return match.group(1 if expression.groups else 0)

    return key


def deal_out(groups: Sequence[Hashable], shares: dict[str, float], seed: int
             ) -> dict[str, list[int]]:
    """Deal images out so that no group is in two parts.

    The same groups and seed give the same parts, whatever the order of the
    images.
    """
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) <= len(shares):
        raise UserError(f'{len(groups)} images in {len(members)} group(s) '
                        f'cannot be split into {len(shares) + 1} parts')
    waiting = sorted(members, key=str)
    random.Random(seed).shuffle(waiting)
    parts: dict[str, list[int]] = {}
    for position, (name, share) in enumerate(shares.items()):
        wanted = max(1, round(share * len(groups)))
        # One group is left for each part that follows, and for train.
        reserve = len(shares) - position
        part: list[int] = []
        while len(part) < wanted and len(waiting) > reserve:
            part += members[waiting.pop()]
        parts[name] = sorted(part)
    rest = [index for group in waiting for index in members[group]]
    return dict(train=sorted(rest), **parts)
