"""Custom, checked and generated data sets."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '.arguments': 'PREVIEW TILES add_commands',
    '.checks.check_datasets': 'datasets_in',
    '.checks.coco': 'check_trainable',
    '.checks.coco_annotations': 'parse_coco parts_of read_coco',
    '.config_writer': 'Settings resizing_note write_config',
    '.formats':
        'BEYOND ImageFolder annotated_images as_coco check_annotations '
        'read_annotations',
    '.inspection':
        'Findings class_lines hidden_note inspect_boxes inspect_folders '
        'inspect_masks write_preview',
    '.paths': 'CLASSES_FILE check_distinct',
    '.polygon_masks': 'write_masks',
    '.splitting': 'missing_classes split_content split_images',
    '.tile_writer': 'JOURNAL LOCK open_journal write_tiles',
    '.tiling': 'TileSettings'})
