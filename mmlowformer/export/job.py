"""What the writers of all formats start from."""
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch.export import ExportedProgram

from ..runtime.model_spec import Description
from .program import InputShape, export_program
from .wrappers import ExportWrapper

# Key of our entries in a file's own metadata.
KEY = 'mmlowformer'


@dataclass
class ExportJob:
    """A model to be written, with its input shape and description."""

    model: ExportWrapper
    shape: InputShape
    description: Description
    # Yields images (1, 3, h, w) for 8 bits.
    calibration: Callable | None = None

    def make_program(self) -> ExportedProgram:
        """Export with torch, again for each file.

        A program with NMS cannot be written as ONNX twice.
        """
        return export_program(self.model, self.shape)

    @property
    def metadata(self) -> dict[str, str]:
        """Entries for the file itself: the description, and common keys."""
        # Checksums of the file would change with them.
        whole = replace(self.description, sha256={}, verification={})
        return {KEY: json.dumps(vars(whole)), 'task': whole.task,
                'names': json.dumps(dict(enumerate(whole.classes))),
                'channel_order': whole.input['channel_order'],
                'precision': whole.precision}
