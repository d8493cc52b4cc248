"""Pictures of ground truth and predictions, for every task."""
import colorsys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..errors import printable

# Smaller images are enlarged for labels to fit, larger ones are shrunk for
# labels to be readable in the whole picture.
SMALLEST_SIDE = 320
LARGEST_SIDE = 1600
LANCZOS = Image.Resampling.LANCZOS
# Pixels that are drawn at a time, and those of an image whose copy is too
# large.
BLOCK, LARGE = 2**20, 2**24
# Contact sheets.
SHEET_SIDE, SHEET_COLUMNS = 240, 6
FONT_SIZE = 15
MARGIN = FONT_SIZE + 6
GAP = 8
LINE = 3
DASH = 7
# Part of a box or text that another text may cover.
MOST_HIDDEN = 0.15
PAPER, INK = (255, 255, 255), (0, 0, 0)
RIGHT, WRONG = (0, 130, 60), (200, 0, 30)
# IoU from which on a box of the right class is a hit.
HIT = 0.5


class Boxes(NamedTuple):
    """Boxes of one image."""

    corners: Any  # array or tensor, (n, 4), in pixels
    labels: list[int]
    texts: list[str]
    right: list[bool]  # whether prediction and ground truth agree
    # What a legend calls the colors if texts have no room.
    names: Sequence[str] = ()
    # What is written if longer texts have no room.
    numbers: Sequence[int] = ()


def class_colors(count: int, palette: Sequence | None = None) -> list[tuple]:
    """One color for each class: the data set's, if it has any."""
    if (isinstance(palette, (list, tuple)) and len(palette) == count
            and all(isinstance(color, (list, tuple)) and len(color) == 3
                    and all(isinstance(part, int) and 0 <= part <= 255
                            for part in color) for color in palette)):
        colors = [tuple(color) for color in palette]
        if colors != _random_colors(count):
            return colors
    # Steps of the golden ratio keep neighbors apart in palettes of any size.
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(
        index * 0.618034 % 1, 0.9, 0.6 + 0.3 * (index % 2)))
        for index in range(count)]


def _random_colors(count: int) -> list[tuple]:
    """What MMSegmentation gives to classes without colors.

    Its first two are greens.
    """
    colors = np.random.RandomState(42).randint(0, 255, (count, 3))
    return list(map(tuple, colors.tolist()))


def match(truth: Any, truth_labels: list[int], predicted: Any,
          predicted_labels: list[int]) -> tuple[list[bool], list[bool]]:
    """Tell which boxes of the ground truth, and which predictions, match."""
    found, hits = [False] * len(truth), []
    ious = _pairwise_iou(np.asarray(predicted), np.asarray(truth))
    for iou, label in zip(ious, predicted_labels):
        free = [index for index in range(len(truth)) if not found[index]
                and truth_labels[index] == label and iou[index] >= HIT]
        hits.append(bool(free))
        if free:
            found[max(free, key=iou.__getitem__)] = True
    return found, hits


def _pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    common = _common_areas(boxes, others)
    areas, other_areas = ((item[:, 2:] - item[:, :2]).prod(1)
                          for item in (boxes, others))
    return common / (areas[:, None] + other_areas - common).clip(1e-9)


def scale_of(image: np.ndarray) -> float:
    """Factor by which an image is enlarged in its picture."""
    shortest, longest = sorted(image.shape[:2])
    if longest > LARGEST_SIDE:
        return LARGEST_SIDE / longest
    return max(1, min(-(-SMALLEST_SIDE // shortest),
                      LARGEST_SIDE // longest))


def _resized(image: np.ndarray, paint: Callable | None = None
             ) -> Image.Image:
    """Resize an image; ``paint`` may change the values of some rows before."""
    scale, (height, width) = scale_of(image), image.shape[:2]
    size = [max(1, round(side * scale)) for side in (width, height)]
    # Large images are narrowed before their rows come together.
    narrow = size[0] if height * width > LARGE else width
    picture = Image.new('RGB', (narrow, height))
    step = max(1, BLOCK // width)
    for top in range(0, height, step):
        rows = slice(top, top + step)
        part = Image.fromarray(paint(rows) if paint else image[rows])
        picture.paste(part.resize((narrow, part.height), LANCZOS), (0, top))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else
                          LANCZOS)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _framed(picture: Image.Image) -> Image.Image:
    """Add a margin with room for labels."""
    framed = Image.new('RGB', (picture.width + 2 * MARGIN,
                               picture.height + 2 * MARGIN), PAPER)
    framed.paste(picture, (MARGIN, MARGIN))
    return framed


def draw_boxes(image: np.ndarray, boxes: Boxes, palette: list[tuple]
               ) -> Image.Image:
    """Draw boxes; those that are not right are dashed.

    Texts that would hide boxes are left out. If fewer than half have room, no
    text names a color, or all would fill a quarter of the picture, a legend in
    the margin names the colors instead.
    """
    panel = _framed(_resized(image))
    draw = ImageDraw.Draw(panel)
    corners = (np.asarray(boxes.corners, float).reshape(-1, 4)
               * scale_of(image) + MARGIN).round()
    for box, label, right in zip(corners.tolist(), boxes.labels, boxes.right):
        _outline(draw, box, palette[label], right)
    texts = list(map(printable, boxes.texts))
    places = _places(corners, texts, panel.size)
    if boxes.numbers and None in places:
        texts = [str(number) for number in boxes.numbers]
        places = _places(corners, texts, panel.size)
    named = {label for place, label in zip(places, boxes.labels) if place}
    if (2 * places.count(None) > len(places)
            or boxes.names and named != set(boxes.labels)):
        places = []
        _draw_legend(draw, boxes, palette, panel.size)
    for place, label, text in zip(places, boxes.labels, texts):
        if place is not None:
            draw.rectangle((*place[:2], place[2] - 1, place[3] - 1),
                           palette[label])
            bright = np.dot(palette[label], (0.3, 0.59, 0.11)) > 140
            draw.text((place[0], place[1]), text, font=_font(),
                      fill=INK if bright else PAPER)
    return panel


def _draw_legend(draw: ImageDraw.ImageDraw, boxes: Boxes,
                 palette: list[tuple], size: tuple[int, int]) -> None:
    """Name the colors of boxes, as many as the lower margin has room for.

    Below the picture, it would change the size of a video's frames.
    """
    left, top = GAP, size[1] - FONT_SIZE - 4
    counts = Counter(zip(map(printable, boxes.names), boxes.labels))
    for (name, label), count in counts.most_common():
        text = f'{name} {count}'
        right = left + FONT_SIZE + 4 + _text_width(text)
        if right > size[0]:
            draw.text((left, top), '...', font=_font(), fill=INK)
            return
        draw.rectangle((left, top, left + FONT_SIZE, top + FONT_SIZE),
                       palette[label])
        draw.text((left + FONT_SIZE + 4, top - 1), text, font=_font(),
                  fill=INK)
        left = right


def _outline(draw: ImageDraw.ImageDraw, box: list, color: tuple,
             solid: bool) -> None:
    """Draw a line around a box, thinner around a small object."""
    left, top, right, bottom = box
    width = min(max(1, round(min(right - left, bottom - top) / 12)), LINE)
    left, top, right, bottom = (left - width, top - width,
                                right + width - 1, bottom + width - 1)
    if solid:
        draw.rectangle((left, top, right, bottom), outline=color, width=width)
        return
    dash, line = DASH * width // LINE, width - 1
    for x in np.arange(left, right + 1, 2 * dash):
        for y in (top, bottom - line):
            draw.rectangle((x, y, min(x + dash - 1, right), y + line), color)
    for y in np.arange(top, bottom + 1, 2 * dash):
        for x in (left, right - line):
            draw.rectangle((x, y, x + line, min(y + dash - 1, bottom)), color)


def _places(corners: np.ndarray, texts: list[str], size: tuple[int, int]
            ) -> list[list[float] | None]:
    """Places at the boxes for texts; None where one would hide others."""
    places: list[list[float] | None] = []
    taken = corners
    covered: np.ndarray = np.zeros(len(corners))
    widths = [_font().getlength(text) + 2 for text in texts]
    if 4 * sum(widths) * FONT_SIZE > np.prod(size):
        return [None] * len(texts)
    for index, width in enumerate(widths):
        around = _around(corners[index], width, size)
        hidden = covered + _common_areas(around, taken) / np.prod(
            taken[:, 2:] - taken[:, :2], 1).clip(1)
        allowed = hidden.max(1) <= MOST_HIDDEN
        best = np.where(allowed, hidden.sum(1), np.inf).argmin()
        places.append(around[best].tolist() if allowed[best] else None)
        if allowed[best]:
            taken = np.vstack([taken, around[best]])
            covered = np.append(hidden[best], 0)
    return places


def _around(box: np.ndarray, width: float, size: tuple[int, int]
            ) -> np.ndarray:
    """Places for a text above, below and beside a box."""
    left, top, right, bottom = box
    height = FONT_SIZE + 3
    places = np.array([
        (left, top - height), (left, bottom + 1),
        (right - width, top - height), (right - width, bottom + 1),
        (right + 1, top), (left - width, top)])
    places = places.clip(0).clip(max=np.subtract(size, (width, height)))
    return np.hstack([places, places + (width, height)])


def _common_areas(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return (high - low).clip(0).prod(2)


def draw_mask(image: np.ndarray, mask: np.ndarray, palette: list[tuple]
              ) -> Image.Image:
    """Draw the classes' colors over the gray image."""
    # The image's own colors would change those of the classes. All colors of
    # a label, by the sum of a pixel's channels; the last label has none.
    gray = np.arange(3 * 255 + 1)[:, None] / 3
    tints = np.empty((len(palette) + 1, len(gray), 3))
    tints[:-1] = np.reshape(palette, (-1, 1, 3))
    tints[-1] = gray
    table = (gray * 0.35 + tints * 0.65).astype(np.uint8)
    return _framed(_resized(image, lambda rows: table[
        np.minimum(mask[rows], np.intp(len(palette))),
        image[rows].sum(2, dtype=np.uint16)]))


def captioned(panels: Sequence[tuple[str, Image.Image]],
              legend: Sequence[tuple[str, tuple]] = ()) -> Image.Image:
    """Panels side by side, each below its caption."""
    panels = [(printable(caption), panel) for caption, panel in panels]
    legend = [(printable(name), color) for name, color in legend]
    widths = [max(panel.width, _text_width(caption))
              for caption, panel in panels]
    entries, lines = _arranged(legend, sum(widths))
    height = MARGIN + panels[0][1].height
    sheet = Image.new('RGB', (sum(widths), height + lines * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    left = 0
    for (caption, panel), width in zip(panels, widths):
        draw.text((left + GAP, 3), caption, font=_font(), fill=INK)
        sheet.paste(panel, (left, MARGIN))
        left += width
    for (name, color), (x, line) in zip(legend, entries):
        y = height + line * MARGIN
        draw.rectangle((x, y, x + FONT_SIZE, y + FONT_SIZE), color)
        draw.text((x + FONT_SIZE + 4, y - 1), name, font=_font(), fill=INK)
    return sheet


def _text_width(text: str) -> int:
    return round(_font().getlength(text)) + 2 * GAP


def _arranged(legend: Sequence[tuple[str, tuple]], width: int
              ) -> tuple[list[tuple[int, int]], int]:
    """Places and lines of a legend's entries, and the number of lines."""
    places, left, line = [], GAP, 0
    for name, _ in legend:
        length = FONT_SIZE + 4 + _text_width(name)
        if left > GAP and left + length > width:
            left, line = GAP, line + 1
        places.append((left, line))
        left += length
    return places, line + 1 if legend else 0


def outlined(image: np.ndarray, masks: np.ndarray, colors: Sequence[tuple]
             ) -> np.ndarray:
    """Tint the objects of an image."""
    image = image.copy()
    for mask, color in zip(masks, colors):
        image[mask] = image[mask] * 0.5 + np.multiply(color, 0.5)
    return image


def draw_label(image: np.ndarray, lines: Sequence[str]) -> Image.Image:
    """Write lines below an image."""
    return _subtitled(image, [(line, INK) for line in lines])


def side_of(length: int) -> int:
    """The side of a drawn image of this side, with its margin."""
    return length + 2 * MARGIN


def contact_sheet(panels: Sequence[tuple[str, Image.Image]],
                  side: int = SHEET_SIDE) -> Image.Image:
    """Pictures of any sizes in rows, each below its caption."""
    columns = min(len(panels), SHEET_COLUMNS)
    rows = -(-len(panels) // columns)
    cell = (side + GAP, side + MARGIN + GAP)
    sheet = Image.new('RGB', (columns * cell[0] + GAP, rows * cell[1] + GAP),
                      PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(panels):
        row, column = divmod(index, columns)
        left, top = GAP + column * cell[0], GAP + row * cell[1]
        text = shown = printable(caption)
        # The end of a caption, as far as it fits.
        while _font().getlength(shown) > side:
            text = text[1:]
            shown = f'...{text}'
        draw.text((left, top), shown, font=_font(), fill=INK)
        sheet.paste(ImageOps.contain(picture.convert('RGB'), (side, side)),
                    (left, top + MARGIN))
    return sheet


def draw_class(image: np.ndarray, truth: str, predicted: str, right: bool
               ) -> Image.Image:
    """Write the class and the predicted one below an image."""
    return _subtitled(image, [
        (f'truth: {truth}', INK),
        (f'prediction: {predicted}', RIGHT if right else WRONG)])


def _subtitled(image: np.ndarray, lines: Sequence[tuple[str, tuple]]
               ) -> Image.Image:
    lines = [(printable(text), ink) for text, ink in lines]
    panel = _resized(image)
    width = max(panel.width, *(_text_width(text) for text, _ in lines))
    sheet = Image.new('RGB', (width, panel.height + len(lines) * MARGIN + 4),
                      PAPER)
    sheet.paste(panel)
    draw = ImageDraw.Draw(sheet)
    for index, (text, ink) in enumerate(lines):
        draw.text((GAP, panel.height + 3 + index * MARGIN), text,
                  font=_font(), fill=ink)
    return sheet
