"""Compare the outputs of a model with eager float32."""
import math

from ..errors import UserError
from ..utils.tensors import relative_error, tensors_in
from .options import TOLERANCES


def checked_errors(outputs, reference, dtype: str) -> list[float]:
    """Relative errors of outputs that are close enough to the reference."""
    errors = relative_errors(outputs, reference)
    if not all(map(math.isfinite, errors)):
        raise UserError(f'outputs are not finite in {dtype}')
    if max(errors) > TOLERANCES[dtype]:
        raise UserError('outputs differ from eager float32 by '
                        f'{max(errors):.1e}')
    return errors


def relative_errors(outputs, reference) -> list[float]:
    """Relative error of each output."""
    errors = [relative_error(*pair) for pair in zip(
        tensors_in(outputs), tensors_in(reference), strict=True)]
    if not errors:
        raise UserError('the model returns no tensors')
    return errors
