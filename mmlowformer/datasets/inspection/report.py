"""What an inspection finds, as lines and a picture."""
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from ...errors import AnnotationErrors, UserError, printable
from ...visualization import drawing
from ..formats import AnnotatedImage, ImageFolder

# Images of the preview.
MOST_SHOWN = 24
# Rows of the table of classes; the most and least frequent are shown.
MOST_CLASSES = 20


class Inspection(NamedTuple):
    """Results of an inspection."""

    lines: list[tuple[str, str]]  # labels and texts
    counts: dict[str, int]  # of each class
    errors: AnnotationErrors
    panels: list[tuple[str, Image.Image]]  # of the preview, with captions
    side: int = drawing.SHEET_SIDE  # of a panel
    pixels: dict[str, int] = {}  # of each class to segment


def evenly_spaced(items: Sequence, most: int = MOST_SHOWN) -> list:
    """Choose at most so many items."""
    return list(items[::max(1, -(-len(items) // most))])


def describe_sizes(annotated: Sequence[AnnotatedImage]) -> str:
    """The smallest and the largest size of images."""
    if not annotated:
        return 'none readable'
    low, high = (f'{image.width}x{image.height}' for image in (
        choose(annotated, key=lambda image: image.width * image.height)
        for choose in (min, max)))
    return low if low == high else f'{low} to {high}'


def hidden_note(images: ImageFolder) -> str:
    """Tell how many hidden images were left out."""
    return f'; {images.hidden} hidden left out' if images.hidden else ''


def class_lines(counts: dict[str, int]) -> list[str]:
    """Table of classes and their counts, the most frequent first."""
    ordered = [(printable(name), count) for name, count in
               sorted(counts.items(), key=lambda item: -item[1])]
    width = max((len(name) for name, _ in ordered), default=0)
    lines = [f'{name:<{width}}  {count}' for name, count in ordered]
    if len(lines) <= MOST_CLASSES:
        return lines
    half = MOST_CLASSES // 2
    return [*lines[:half], f'... {len(lines) - 2 * half} more ...',
            *lines[-half:]]


def write_preview(inspected: Inspection, path: str) -> None:
    """Write the images of an inspection."""
    try:
        drawing.contact_sheet(inspected.panels, inspected.side).save(path)
    except (OSError, ValueError) as error:
        raise UserError(f'--preview {path} cannot be written: {error}'
                        ) from error
