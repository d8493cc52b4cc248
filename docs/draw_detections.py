r"""Draw docs/detections.jpg with the checkpoint of ``make demo``.

Usage: python docs/draw_detections.py work_dirs/demo/epoch_5.pth \
    data/shapes/coco/val2017/00000[0-2].jpg
"""
import sys
from pathlib import Path

from PIL import Image

from mmlowformer import Predictor

checkpoint, *images = sys.argv[1:]
predictor = Predictor(checkpoint, score_thr=0.5)
panels = [predictor(image).draw() for image in images]
sheet = Image.new('RGB', (sum(panel.width for panel in panels),
                          max(panel.height for panel in panels)), 'white')
left = 0
for panel in panels:
    sheet.paste(panel, (left, 0))
    left += panel.width
sheet.save(Path(__file__).with_name('detections.jpg'), quality=85)
