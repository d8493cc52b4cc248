"""Truth and prediction side by side, each with a caption, for every task."""
import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torchvision.ops import box_iou

from ..errors import printable

# Smaller images are enlarged, so that labels fit; larger ones are shrunk, so
# that labels can be read when the whole is looked at.
SMALLEST_SIDE = 320
LARGEST_SIDE = 1600
# Of each picture in a sheet of several.
SHEET_SIDE, SHEET_COLUMNS = 240, 6
FONT_SIZE = 15
MARGIN = FONT_SIZE + 6
GAP = 8
LINE = 3
DASH = 7
PAPER, INK = (255, 255, 255), (0, 0, 0)
RIGHT, WRONG = (0, 130, 60), (200, 0, 30)
# A box of the right class that overlaps as much is a hit.
HIT = 0.5


class Boxes(NamedTuple):
    """Boxes of one image.

    Attributes:
        corners (Tensor): ``(n, 4)``, in pixels of the image.
        labels (list[int]): Their classes.
        texts (list[str]): What is written at each.
        right (list[bool]): Whether prediction and truth agree on it.
    """

    corners: Tensor
    labels: list[int]
    texts: list[str]
    right: list[bool]


def colours(count: int, palette: Sequence | None = None) -> list[tuple]:
    """A colour for each class."""
    if (isinstance(palette, (list, tuple)) and len(palette) == count
            and all(map(_is_color, palette))):
        return [tuple(colour) for colour in palette]
    # Steps of the golden ratio keep neighbours apart, however many there are.
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(
        index * 0.618034 % 1, 0.9, 0.6 + 0.3 * (index % 2)))
        for index in range(count)]


def _is_color(color: object) -> bool:
    return (isinstance(color, (list, tuple)) and len(color) == 3 and all(
        isinstance(part, int) and 0 <= part <= 255 for part in color))


def match(truth: Tensor, truth_labels: list[int], found: Tensor,
          found_labels: list[int]) -> tuple[list[bool], list[bool]]:
    """Tell hits from misses and false alarms."""
    hit, overlaps = [False] * len(truth), box_iou(found, truth)
    hits = []
    for overlap, label in zip(overlaps, found_labels):
        free = [index for index in range(len(truth)) if not hit[index]
                and truth_labels[index] == label and overlap[index] >= HIT]
        hits.append(bool(free))
        if free:
            hit[max(free, key=overlap.__getitem__)] = True
    return hit, hits


def scale_of(image: np.ndarray) -> float:
    """How many times an image is enlarged, for labels to be readable."""
    shortest, longest = sorted(image.shape[:2])
    if longest > LARGEST_SIDE:
        return LARGEST_SIDE / longest
    return max(1, min(-(-SMALLEST_SIDE // shortest),
                      LARGEST_SIDE // longest))


def _resized(image: np.ndarray) -> Image.Image:
    picture, scale = Image.fromarray(image), scale_of(image)
    if scale == 1:
        return picture
    way = (Image.Resampling.NEAREST if scale > 1 else
           Image.Resampling.LANCZOS)
    return picture.resize([max(1, round(side * scale))
                           for side in picture.size], way)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _framed(picture: Image.Image) -> Image.Image:
    """With a margin, in which labels have room."""
    framed = Image.new('RGB', (picture.width + 2 * MARGIN,
                               picture.height + 2 * MARGIN), PAPER)
    framed.paste(picture, (MARGIN, MARGIN))
    return framed


def draw_boxes(image: np.ndarray, boxes: Boxes, palette: list[tuple]
               ) -> Image.Image:
    """An image with boxes; dashed are those that are not right."""
    panel = _framed(_resized(image))
    draw = ImageDraw.Draw(panel)
    corners = (boxes.corners * scale_of(image) + MARGIN).round().tolist()
    for box, label, right in zip(corners, boxes.labels, boxes.right):
        _outline(draw, box, palette[label], right)
    taken = list(corners)
    texts = map(printable, boxes.texts)
    for box, label, text in zip(corners, boxes.labels, texts):
        place = _place(draw, box, text, taken, panel.size)
        draw.rectangle(place, fill=palette[label])
        draw.text((place[0], place[1]), text, font=_font(),
                  fill=_ink(palette[label]))
        taken.append(place)
    return panel


def _ink(ground: tuple) -> tuple:
    """Black or white, whichever is readable."""
    return INK if np.dot(ground, (0.3, 0.59, 0.11)) > 140 else PAPER


def _outline(draw: ImageDraw.ImageDraw, box: list, colour: tuple,
             solid: bool) -> None:
    if solid:
        draw.rectangle(box, outline=colour, width=LINE)
        return
    left, top, right, bottom = box
    for x in np.arange(left, right, 2 * DASH):
        for y in (top, bottom):
            draw.line((x, y, min(x + DASH, right), y), colour, LINE)
    for y in np.arange(top, bottom, 2 * DASH):
        for x in (left, right):
            draw.line((x, y, x, min(y + DASH, bottom)), colour, LINE)


def _place(draw: ImageDraw.ImageDraw, box: list, text: str, taken: list,
           size: tuple[int, int]) -> list[float]:
    """Where a label hides least: above, below or beside its box."""
    left, top, right, bottom = box
    width = draw.textlength(text, font=_font()) + 2
    height = FONT_SIZE + 3
    places = [(left, top - height), (left, bottom + 1),
              (right - width, top - height), (right - width, bottom + 1),
              (right + 1, top), (left - width, top)]
    inside = [[min(max(x, 0), size[0] - width),
               min(max(y, 0), size[1] - height)] for x, y in places]
    rectangles = [[x, y, x + width, y + height] for x, y in inside]
    return min(rectangles, key=lambda place: sum(
        _common_area(place, other) for other in taken))


def _common_area(one: list, other: list) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def draw_mask(image: np.ndarray, mask: np.ndarray, palette: list[tuple]
              ) -> Image.Image:
    """An image in grey under the colours of classes."""
    # With its own colours, a class would be of another in each image.
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    tint = grey.copy()
    for label in np.unique(mask):
        if label < len(palette):
            tint[mask == label] = palette[label]
    return _framed(_resized((grey * 0.35 + tint * 0.65).astype(np.uint8)))


def captioned(panels: Sequence[tuple[str, Image.Image]],
              legend: Sequence[tuple[str, tuple]] = ()) -> Image.Image:
    """Panels side by side, with a caption above each."""
    panels = [(printable(caption), panel) for caption, panel in panels]
    legend = [(printable(name), colour) for name, colour in legend]
    ruler = ImageDraw.Draw(Image.new('RGB', (1, 1)))
    widths = [max(panel.width, round(ruler.textlength(
        caption, font=_font())) + 2 * GAP) for caption, panel in panels]
    entries, lines = _arranged(legend, sum(widths))
    height = MARGIN + panels[0][1].height
    sheet = Image.new('RGB', (sum(widths), height + lines * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    left = 0
    for (caption, panel), width in zip(panels, widths):
        draw.text((left + GAP, 3), caption, font=_font(), fill=INK)
        sheet.paste(panel, (left, MARGIN))
        left += width
    for (name, colour), (x, line) in zip(legend, entries):
        y = height + line * MARGIN
        draw.rectangle((x, y, x + FONT_SIZE, y + FONT_SIZE), colour)
        draw.text((x + FONT_SIZE + 4, y - 1), name, font=_font(), fill=INK)
    return sheet


def _arranged(legend: Sequence[tuple[str, tuple]], width: int
              ) -> tuple[list[tuple[int, int]], int]:
    """Places and lines of a legend's entries, and the number of lines."""
    places, left, line = [], GAP, 0
    for name, _ in legend:
        length = FONT_SIZE + 4 + round(_font().getlength(name)) + 2 * GAP
        if left > GAP and left + length > width:
            left, line = GAP, line + 1
        places.append((left, line))
        left += length
    return places, line + 1 if legend else 0


def outlined(image: np.ndarray, masks: np.ndarray, colours: Sequence[tuple]
             ) -> np.ndarray:
    """An image with objects tinted."""
    image = image.copy()
    for mask, colour in zip(masks, colours):
        image[mask] = image[mask] * 0.5 + np.multiply(colour, 0.5)
    return image


def draw_label(image: np.ndarray, lines: Sequence[str]) -> Image.Image:
    """An image with lines of text below it."""
    return _subtitled(image, [(line, INK) for line in lines])


def contact_sheet(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of any sizes in rows, each with its caption."""
    columns = min(len(panels), SHEET_COLUMNS)
    rows = -(-len(panels) // columns)
    cell = (SHEET_SIDE + GAP, SHEET_SIDE + MARGIN + GAP)
    sheet = Image.new('RGB', (columns * cell[0] + GAP, rows * cell[1] + GAP),
                      PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(panels):
        row, column = divmod(index, columns)
        left, top = GAP + column * cell[0], GAP + row * cell[1]
        draw.text((left, top), _shortened(printable(caption),
                                           SHEET_SIDE), font=_font(),
                  fill=INK)
        sheet.paste(ImageOps.contain(picture.convert('RGB'),
                                     (SHEET_SIDE, SHEET_SIDE)),
                    (left, top + MARGIN))
    return sheet


def _shortened(text: str, width: int) -> str:
    """The end of a text, as much as there is room for."""
    if _font().getlength(text) <= width:
        return text
    while _font().getlength('...' + text) > width:
        text = text[1:]
    return '...' + text


def draw_class(image: np.ndarray, truth: str, found: str, right: bool
               ) -> Image.Image:
    """An image with its class and the predicted one below."""
    return _subtitled(image, [
        ('truth: ' + truth, INK),
        ('prediction: ' + found, RIGHT if right else WRONG)])


def _subtitled(image: np.ndarray, lines: Sequence[tuple[str, tuple]]
               ) -> Image.Image:
    """An image and, below it, lines in their colours."""
    lines = [(printable(text), ink) for text, ink in lines]
    panel = _resized(image)
    ruler = ImageDraw.Draw(panel)
    width = max(panel.width, *(round(ruler.textlength(text, font=_font()))
                               + 2 * GAP for text, _ in lines))
    sheet = Image.new('RGB', (width, panel.height + len(lines) * MARGIN + 4),
                      PAPER)
    sheet.paste(panel)
    draw = ImageDraw.Draw(sheet)
    for index, (text, ink) in enumerate(lines):
        draw.text((GAP, panel.height + 3 + index * MARGIN), text,
                  font=_font(), fill=ink)
    return sheet
