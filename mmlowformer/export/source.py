"""What a format is written from."""
from collections.abc import Callable
from dataclasses import dataclass

from torch.export import ExportedProgram

from ..runtime.model_spec import Description
from .program import Shape, program_of
from .wrappers import Network


@dataclass
class Source:
    """What is exported, in the steps that formats share.

    Attributes:
        network (Network): The whole model.
        shape (Shape): Of its input.
        description (Description): What is known of it by now.
        calibration (Callable, optional): Yields images for the network, each
            ``(1, 3, h, w)``.
    """

    network: Network
    shape: Shape
    description: Description
    calibration: Callable | None = None

    def make_program(self) -> ExportedProgram:
        """That of torch.export, anew for each file.

        One with non-maximum suppression cannot be written as ONNX twice.
        """
        return program_of(self.network, self.shape)
