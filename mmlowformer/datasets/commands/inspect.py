"""``tools/data.py inspect``."""
import argparse
import os
from collections.abc import Callable

from mmengine.config import Config

from ...config.loading import find_config, read_config
from ...errors import AnnotationErrors, UserError
from ...utils.files import check_new, unused, write_json
from ...utils.terminal import counting_bar, show, show_line
from ...utils.text import counted
from ..arguments import PREVIEW
from ..checks.check_datasets import datasets_in
from ..checks.coco import Use, find_in_coco, min_size_of, reads_masks
from ..checks.coco_annotations import read_coco
from ..formats import (
    AnnotatedImage,
    ImageFolder,
    annotated_images,
    check_annotations,
)
from ..inspection.advice import (
    Advice,
    DataSet,
    advise_boxes,
    advise_folders,
    advise_masks,
)
from ..inspection.anchor_fit import smallest_fitting
from ..inspection.boxes import inspect_boxes
from ..inspection.folders import inspect_folders
from ..inspection.masks import inspect_masks
from ..inspection.parts import (
    beside_coco,
    beside_folders,
    beside_masks,
    record_of,
)
from ..inspection.report import Inspection, class_lines, write_preview
from ..inspection.settings import advised_size
from ..paths import CLASSES_FILE
from ..splitting import source_of
from .convert import Next, show_findings

# Its anchors are compared.
DEFAULT_CONFIG = 'retinanet_lowformer_b0_coco'


def inspect(args: argparse.Namespace, images_of: Callable[[], ImageFolder]
            ) -> Next | None:
    """Print what data are, and return what comes next; None after errors."""
    check_new(*filter(None, (args.preview, args.json)))
    preview = args.preview or str(unused(PREVIEW))
    inspected, advise = _look_at(args, images_of)
    _print(inspected)
    if inspected.panels:
        write_preview(inspected, preview)
        shown = counted(len(inspected.panels), 'picture')
        show_line('Preview', f'{shown} in {preview}')
    found = inspected.errors
    refused = bool(found.findings('error'))
    advice = advise() if inspected.panels and not refused else []
    if args.json:
        write_json(args.json, dict(
            source=args.source, statistics=dict(inspected.lines),
            classes=inspected.counts,
            findings=[vars(item) for item in found.findings()],
            advice=[item.as_json() for item in advice]))
    if not refused:
        show('No errors')
    show_findings(found)
    if advice:
        show('Advice (size, batch size and epochs are what config chooses)')
    for item in advice:
        show_line(item.topic.replace('_', ' ').capitalize(), item.text)
    return None if refused else [(item.title, *item.command)
                                 for item in advice if item.command]


def _print(inspected: Inspection) -> None:
    for label, text in inspected.lines:
        show_line(label, text)
    show('Classes')
    for text in class_lines(inspected.counts):
        show(f'  {text}')


def _look_at(args: argparse.Namespace, images_of: Callable[[], ImageFolder]
             ) -> tuple[Inspection, Callable[[], list[Advice]]]:
    """What is in the data, and a function that gives advice."""
    if os.path.isfile(args.source):
        return _look_at_boxes(args, images_of())
    if not os.path.isdir(args.source):
        raise UserError(f'{args.source} does not exist')
    with counting_bar('Images', None) as step:
        if os.path.exists(os.path.join(args.source, CLASSES_FILE)):
            images = images_of()
            inspected = inspect_masks(args.source, images, step)
            return inspected, lambda: advise_masks(
                DataSet('masks', args.source, inspected.counts, images, (),
                        beside_masks(images)), inspected.pixels)
        images = ImageFolder(args.source)
        inspected = inspect_folders(images, step)
        return inspected, lambda: advise_folders(
            DataSet('folders', args.source, inspected.counts, images, (),
                    beside_folders(images)))


def _look_at_boxes(args: argparse.Namespace, images: ImageFolder
                   ) -> tuple[Inspection, Callable[[], list[Advice]]]:
    cfg = args.config and read_config(find_config(args.config))
    content = read_coco(args.source)
    found = find_in_coco(content, args.source, images.folder, use_in(cfg))
    annotated = annotated_in(content, args.source, images)
    anchors = cfg or config_at(annotated)
    with counting_bar('Preview', None) as step:
        inspected = inspect_boxes(annotated, content['categories'], images,
                                  found, anchors, step)

    def advise() -> list[Advice]:
        records = beside_coco(args.source, annotated, images)
        return advise_boxes(
            DataSet('boxes', args.source, inspected.counts, images,
                    ('--images', args.images) if args.images else (),
                    {part: [record['file_name'] for record in items]
                     for part, items in records.items()},
                    _scenes_of(annotated)),
            annotated, records, anchors)

    return inspected, advise


def _scenes_of(annotated: list[AnnotatedImage]) -> list[str]:
    """The image of which each image is a tile; nothing if none are tiles."""
    scenes = [source_of(record_of(image)) for image in annotated]
    return scenes if len(set(scenes)) < len(scenes) else []


def use_in(cfg: Config | None) -> Use:
    """What a config would use annotations for."""
    loader = cfg and cfg.get('train_dataloader')
    if not loader:
        return Use()
    dataset = next(datasets_in(loader))
    return Use(min_size=min_size_of(dataset), masks=reads_masks(dataset))


def config_at(annotated: list[AnnotatedImage]) -> Config:
    """A config whose images are as large as is advised."""
    cfg = read_config(find_config(DEFAULT_CONFIG))
    size = advised_size(annotated, smallest_fitting(cfg))
    cfg.test_pipeline = [dict(type='Resize', scale=(size, size))]
    return cfg


def annotated_in(content: dict, source: str, images: ImageFolder
                 ) -> list[AnnotatedImage]:
    """The images that can be read; content loses the annotations."""
    ignored = AnnotationErrors()
    return check_annotations(
        annotated_images(content, source, images, ignored),
        content['categories'], ignored)[0]
