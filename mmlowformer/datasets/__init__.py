"""Custom, checked and generated data sets."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '.arguments': 'PREVIEW TILES add_commands',
    '.checks.check_datasets': 'datasets_in',
    '.checks.coco': 'CocoFindings Use find_in_coco min_size_of reads_masks',
    '.checks.coco_annotations': 'parse_coco parts_of read_coco',
    '.checks.coco_fix': 'fix_coco',
    '.commands.convert': 'convert describe merge show_findings',
    '.config_writer': 'Settings write_config',
    '.formats':
        'BEYOND ImageFolder ReadErrors annotated_images as_coco '
        'check_annotations read_annotations',
    '.formats.image_folder': 'find_image_folder',
    '.inspection':
        'Inspection class_lines hidden_note inspect_boxes inspect_folders '
        'inspect_masks write_preview',
    '.paths': 'CLASSES_FILE check_distinct',
    '.polygon_masks': 'write_masks',
    '.splitting': 'missing_classes split_content split_images',
    '.tile_writer': 'JOURNAL LOCK open_journal write_tiles',
    '.tiling': 'TileSettings'})
