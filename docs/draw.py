"""Draw the pictures of docs/ (DRAWINGS) from the project's data."""
import json
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mmlowformer import LowFormer
from mmlowformer.models.arch_validation import ARCH_DEFAULTS
from mmlowformer.models.blocks import MLP_RATIO

DOCS = Path(__file__).parent
# Narrow enough to be readable on a phone.
WIDTH = 456
MARGIN = 4
STAGE_WIDTH = 270
LINE = 19
GAP = 22
INK, PALE = '#1f2933', '#52606d'
CONV, ATTENTION, PLAIN = '#d9e8f6', '#fbe3cf', '#eef1f4'
BAR, OTHER_BAR = '#1f77b4', '#c3cbd3'
TITLES = dict(norm_lowtention='GroupNorm, Lowtention', lowtention='Lowtention',
              norm_mlp=f'GroupNorm, MLP (×{MLP_RATIO})',
              local='Local convolution')
BLOCK_CELL = dict(channels=128, size=14, batch_size=1)
LOWFORMER_BLOCKS = ('fused MBConv', 'Lowtention stride 2')
COMPARED_BLOCKS = ('conv 1x1', 'conv 3x3', 'depthwise 3x3', 'MBConv',
                   'plain attention', 'MLP', *LOWFORMER_BLOCKS)
LOWTENTION = (
    'depthwise convolution, stride s (2 in stage 3, 1 in stage 4)',
    '1×1 convolution to q, k, v with half of the channels',
    'attention over all positions',
    'transposed convolution back, by s',
)
STAGES = (
    ('Stem', ('3×3 convolution, stride 2',
              'n0 × residual FusedMBConv'), CONV),
    ('Stage 1', ('FusedMBConv, stride 2',
                 'n1 − 1 × residual FusedMBConv'), CONV),
    ('Stage 2', ('FusedMBConv, stride 2',
                 'n2 − 1 × residual FusedMBConv'), CONV),
    ('Stage 3', ('FusedMBConv, stride 2', 'n3 × LowFormer block'), ATTENTION),
    ('Stage 4', ('FusedMBConv, stride 2', 'n4 × LowFormer block'), ATTENTION),
)


class Sheet:
    """An SVG that grows downward."""

    def __init__(self, title: str):
        self.root = ElementTree.Element(
            'svg', xmlns='http://www.w3.org/2000/svg', role='img')
        self.root.set('font-family', 'Helvetica, Arial, sans-serif')
        self.root.set('font-size', '14')
        ElementTree.SubElement(self.root, 'title').text = title
        self.paper = self.add('rect', width=WIDTH, fill='#ffffff')
        self.y = MARGIN

    def add(self, tag: str, text: str | None = None, **attributes):
        element = ElementTree.SubElement(self.root, tag, {
            name.replace('_', '-'): str(value)
            for name, value in attributes.items()})
        element.text = text
        return element

    def write(self, x: float, y: float, text: str, **attributes) -> None:
        self.add('text', text, x=x, y=y, **dict(dict(fill=INK), **attributes))

    def heading(self, text: str) -> None:
        self.y += GAP + 10
        self.write(MARGIN, self.y, text, font_weight='bold', font_size=16)
        self.y += 10

    def box(self, x: float, width: float, lines: tuple[str, ...],
            fill: str, title: str | None = None) -> None:
        """Draw a box at the current height, and move below it."""
        height = LINE * (len(lines) + bool(title)) + 10
        self.add('rect', x=x, y=self.y, width=width, height=height, rx=6,
                 fill=fill, stroke=PALE)
        y = self.y + LINE
        if title:
            self.write(x + 10, y, title, font_weight='bold')
            y += LINE
        for line in lines:
            self.write(x + 10, y, line)
            y += LINE
        self.y += height

    def arrow(self, x: float, y: float, dx: float = 0, dy: float = 0) -> None:
        tip = 'l-4,-7 h8 z' if dy else 'l-7,-4 v8 z'
        self.add('path', d=f'M{x},{y} l{dx},{dy}', stroke=PALE)
        self.add('path', d=f'M{x + dx},{y + dy} {tip}', fill=PALE)

    def down(self) -> None:
        self.arrow(MARGIN + STAGE_WIDTH / 2, self.y, dy=GAP)
        self.y += GAP

    def text(self) -> str:
        height = self.y + MARGIN
        self.paper.set('height', str(height))
        self.root.set('viewBox', f'0 0 {WIDTH} {height}')
        self.root.set('width', str(WIDTH))
        ElementTree.indent(self.root)
        return ElementTree.tostring(self.root, encoding='unicode') + '\n'


def draw_network(sheet: Sheet) -> None:
    sheet.box(MARGIN, STAGE_WIDTH, ('Image, H × W',), PLAIN)
    beside = MARGIN + STAGE_WIDTH
    for index, (title, lines, fill) in enumerate(STAGES):
        sheet.down()
        top = sheet.y
        sheet.box(MARGIN, STAGE_WIDTH, lines, fill, title)
        middle = (top + sheet.y) / 2
        if index:
            stride = LowFormer.strides[index - 1]
            sheet.arrow(beside, middle, dx=34)
            sheet.write(beside + 42, middle - 4, f'output {index - 1}',
                        font_weight='bold')
            sheet.write(beside + 42, middle + LINE - 4,
                        f'c{index} × H/{stride} × W/{stride}')
        else:
            sheet.write(beside + 12, middle + 5, 'c0 × H/2 × W/2', fill=PALE)


def draw_blocks(sheet: Sheet) -> None:
    """Draw one column per kind of block; each branch is residual."""
    sheet.heading('LowFormer block: residual branches')
    kinds = {}
    for name, arch in LowFormer.arch_settings.items():
        kinds.setdefault(arch['block'], []).append(name)
    gap = 14
    width = (WIDTH - 2 * MARGIN - gap * (len(kinds) - 1)) / len(kinds)
    top, bottom = sheet.y + 8, 0
    for column, (branches, names) in enumerate(kinds.items()):
        sheet.y = top
        x = MARGIN + column * (width + gap)
        sheet.write(x, sheet.y + 14, ', '.join(names), fill=PALE)
        sheet.y += 22
        for branch in branches:
            lines = tuple(TITLES[branch].split(', '))
            sheet.box(x, width, lines,
                      CONV if branch == 'local' else ATTENTION)
            sheet.y += 8
        bottom = max(bottom, sheet.y)
    sheet.y = bottom + 12
    limit = ARCH_DEFAULTS['depthwise_from_channels']
    for line in ('Local convolution: a residual FusedMBConv;',
                 f'from {limit} channels on a residual MBConv'):
        sheet.write(MARGIN, sheet.y, line, fill=PALE)
        sheet.y += LINE


def draw_lowtention(sheet: Sheet) -> None:
    sheet.heading('Lowtention')
    for index, line in enumerate(LOWTENTION):
        if index:
            sheet.down()
        sheet.box(MARGIN, WIDTH - 2 * MARGIN, (line, ), ATTENTION)


def draw_table(sheet: Sheet) -> None:
    sheet.heading('Variants')
    columns = (MARGIN, MARGIN + 46, MARGIN + 210, MARGIN + 340)
    header = ('', 'channels c0 … c4', 'blocks n0 … n4', 'expansion')
    rows = [header]
    for name, arch in LowFormer.arch_settings.items():
        rows.append((name, ', '.join(map(str, arch['widths'])),
                     ', '.join(map(str, arch['depths'])),
                     f'{arch["downsample_expand_ratio"]} at stride 2'))
    for index, row in enumerate(rows):
        sheet.y += LINE
        for x, text in zip(columns, row):
            sheet.write(x, sheet.y, text, fill=INK if index else PALE,
                        font_weight='bold' if x == MARGIN else 'normal')


def draw_architecture() -> str:
    sheet = Sheet('LowFormer')
    draw_network(sheet)
    draw_blocks(sheet)
    draw_lowtention(sheet)
    draw_table(sheet)
    return sheet.text()


class Bar(NamedTuple):
    name: str
    value: float
    highlighted: bool
    note: str = ''


def draw_bars(title: str, unit: str, bars: list[Bar],
              note_header: str = '') -> str:
    """Draw one bar a row, the longest on top, and its note at the right."""
    name_width, bar_width, note_at = 150, 205, WIDTH - MARGIN
    bars = sorted(bars, key=lambda bar: -bar.value)
    sheet = Sheet(title)
    sheet.y += LINE
    sheet.write(name_width, sheet.y, unit, fill=PALE)
    sheet.write(note_at, sheet.y, note_header, fill=PALE, text_anchor='end')
    for name, value, highlighted, note in bars:
        sheet.y += LINE
        width = round(value * bar_width / bars[0].value, 1)
        sheet.write(name_width - 8, sheet.y, name, text_anchor='end',
                    font_size=12,
                    font_weight='bold' if highlighted else 'normal')
        sheet.add('rect', x=name_width, y=sheet.y - 12, height=LINE - 5,
                  width=width, fill=BAR if highlighted else OTHER_BAR)
        sheet.write(name_width + width + 6, sheet.y, f'{value:.1f}',
                    font_size=12)
        sheet.write(note_at, sheet.y, note, font_size=12, fill=PALE,
                    text_anchor='end')
    sheet.y += 8
    return sheet.text()


def draw_speed() -> str:
    """Draw images per second of backbones; LowFormer's are colored."""
    record = json.loads((DOCS / 'benchmark' / 'cpu_peers.json').read_text())
    height, width = record['settings']['shape']
    # timm's own LowFormers are the same networks.
    bars = [Bar(row['name'].removeprefix('timm:').split('_patch4')[0],
                row['images_per_second'], row['family'] == 'LowFormer',
                f'{row["macs"] / 1e9:.1f}')
            for row in record['rows'] if row['images_per_second']
            and row['family'] != 'timm lowformer']
    return draw_bars(f'Images per second of backbones at {width}×{height}',
                     'images/s', bars, 'GMACs')


def draw_block_rates() -> str:
    """Draw the rates of the blocks that docs/beyond_macs.md compares."""
    record = json.loads(
        (DOCS / 'study' / 'layers_224_1thread.json').read_text())
    cell = next(cell for cell in record['cells'] if cell['key'] == BLOCK_CELL)
    bars = [Bar(row['block_type'], row['gmacs_per_second'],
                row['block_type'] in LOWFORMER_BLOCKS)
            for row in cell['rows'] if row['block_type'] in COMPARED_BLOCKS]
    return draw_bars('Billions of MACs per second of blocks of equal work',
                     'GMAC/s', bars)


DRAWINGS = {'architecture.svg': draw_architecture, 'speed.svg': draw_speed,
            'block_rates.svg': draw_block_rates}

if __name__ == '__main__':
    for name, draw in DRAWINGS.items():
        (DOCS / name).write_text(draw(), encoding='utf-8')
