"""Settings and results of an export."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..runtime.schema import FAILED
from .comparison import Comparison
from .formats import Format


@dataclass
class ExportConfig:
    """Settings of an export.

    Attributes:
        formats (list[Format]): The formats to write.
        size (tuple[int, int], optional): Fixed height and width. Defaults to
            any size where the format supports that.
        dynamic (bool): Whether to require support of any size.
        batch (int | str, optional): Images in a call, or ``'dynamic'`` to
            require any number. Defaults to any number where the format
            supports that, else 1.
        nms (bool, optional): Whether a detector includes NMS; False exports
            the feature maps of its head. Defaults to NMS where the format
            supports it.
        backbone (bool): Whether to export the backbone alone.
        score_thr (float, optional): Minimum score of a box. Defaults to the
            config's.
        max_dets (int, optional): Maximum number of boxes in an image. Defaults
            to the config's.
        bits (int): Bits of the weights: 32, 16 or 8.
        calibration (Sequence[str]): Images for 8 bits. Defaults to the
            training images of the config.
        calibration_images (int): Maximum number of them.
        max_metric_drop (float): Maximum allowed metric drop for 16 and 8 bits.
        images (Sequence[str]): Images for the verification. Defaults to the
            test images of the config, else generated ones.
        metric (bool): Whether to compute the metric, if its data exists.
    """

    formats: list[Format]
    size: tuple[int, int] | None = None
    dynamic: bool = False
    batch: int | Literal['dynamic'] | None = None
    nms: bool | None = None
    backbone: bool = False
    score_thr: float | None = None
    max_dets: int | None = None
    bits: int = 32
    calibration: Sequence[str] = ()
    calibration_images: int = 300
    max_metric_drop: float = 0.005
    images: Sequence[str] = ()
    metric: bool = True


@dataclass
class ExportResult:
    """Result of exporting to a format.

    Attributes:
        folder (Path): The folder of the export.
        verdict (str): ``verified``, ``failed`` or ``converted, not verified``.
        rows (list[Comparison]): The comparisons with the checkpoint.
        reason (str): Why it failed or could not be verified.
        metrics (dict): Metrics of ``checkpoint`` and ``export``, if computed.
        speed (list[dict]): See :func:`.speed.time_models`.
    """

    folder: Path
    verdict: str
    rows: list[Comparison] = field(default_factory=list)
    reason: str = ''
    metrics: dict = field(default_factory=dict)
    speed: list[dict] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Set the verdict to failed."""
        self.verdict, self.reason = FAILED, reason
