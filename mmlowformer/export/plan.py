"""What is asked of an export, and what comes of it."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.schema import FAILED
from .comparison import Row
from .formats import Format


@dataclass
class Wishes:
    """What is asked for.

    Attributes:
        formats (list[Format]): Each is written to a folder of its own.
        size (tuple[int, int], optional): Height and width, fixed. Defaults
            to any, where a format can do that.
        dynamic (bool): Whether any size is insisted on.
        batch (int, optional): Images in a call; None for any number, where
            that can be done, and else 1.
        any_batch (bool): Whether any number is insisted on.
        boxes (bool): Whether non-maximum suppression is insisted on.
        raw (bool): Whether a detector gives its maps.
        backbone (bool): Whether to take the backbone alone.
        score_thr (float, optional): Instead of the config's.
        max_dets (int, optional): Instead of the config's.
        bits (int): Of the weights: 32, 16 or 8.
        calibration (Sequence[str]): Images for 8 bits. Defaults to those of
            the training.
        calibration_images (int): At most so many.
        max_drop (float): Of the metric, of rounded weights.
        images (Sequence[str]): To verify with. Defaults to the config's test
            images, and else to generated ones.
        metric (bool): Whether to compute the metric, if there is data.
    """

    formats: list[Format]
    size: tuple[int, int] | None = None
    dynamic: bool = False
    batch: int | None = None
    any_batch: bool = False
    boxes: bool = False
    raw: bool = False
    backbone: bool = False
    score_thr: float | None = None
    max_dets: int | None = None
    bits: int = 32
    calibration: Sequence[str] = ()
    calibration_images: int = 300
    max_drop: float = 0.005
    images: Sequence[str] = ()
    metric: bool = True


class Progress:
    """Is told how an export goes; this one keeps it to itself."""

    def say(self, label: str, text: str) -> None:
        """Something that a user has to know."""

    def phase(self, text: str, steps: int | None) -> None:
        """The next part begins, of so many steps."""

    def step(self) -> None:
        """A step of the part is done."""


@dataclass
class Outcome:
    """What came of a format.

    Attributes:
        folder (Path): Where it is.
        verdict (str): One of the constants of this module.
        rows (list[Row]): The comparisons.
        reason (str): Of a failure, the worst that was found.
        metrics (dict): Of ``checkpoint`` and ``export``, if computed.
        speed (list[dict]): See :func:`.speed.speeds`.
    """

    folder: Path
    verdict: str
    rows: list[Row] = field(default_factory=list)
    reason: str = ''
    metrics: dict = field(default_factory=dict)
    speed: list[dict] = field(default_factory=list)

    @property
    def slower(self) -> str:
        """That rounding the weights gained nothing here, if so."""
        rounded, plain = (
            [item for item in self.speed if item['weights'] in weights]
            for weights in (('float16', 'int8'), ('float32', )))
        if not rounded:
            return ''
        best, rival = (min(items, key=lambda item: item['milliseconds'])
                       for items in (rounded, plain))
        if best['milliseconds'] < rival['milliseconds']:
            return ''
        return (f'{best["weights"]} is no faster on this machine than '
                f'{rival["name"]} with float32 weights '
                f'({rival["milliseconds"]:.1f} ms)')

    def fail(self, reason: str) -> None:
        """Take the export for wrong."""
        self.verdict, self.reason = FAILED, reason
