"""Custom, checked and generated data sets."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '.arguments': 'TILES add_commands',
    '.checks.coco': 'CocoFindings find_in_coco',
    '.checks.coco_annotations': 'parse_coco parts_of read_coco',
    '.checks.coco_fix': 'fix_coco',
    '.commands.convert': 'convert describe merge show_findings',
    '.commands.inspect': 'annotated_in inspect',
    '.config_writer': 'Settings write_config',
    '.formats':
        'BEYOND ImageFolder ReadErrors annotated_images as_coco '
        'check_annotations read_annotations',
    '.formats.image_folder': 'find_image_folder',
    '.inspection.near_duplicates': 'similar_groups',
    '.paths': 'CLASSES_FILE check_distinct',
    '.polygon_masks': 'write_masks',
    '.splitting':
        'group_by missing_classes source_of split_content split_images',
    '.tile_writer': 'JOURNAL LOCK open_journal write_tiles',
    '.tiling': 'TileSettings'})
