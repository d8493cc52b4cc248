"""Predict boxes, masks and labels of images and videos."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '..runtime.results': 'Classification Detections Result Segmentation',
    '..utils.files': 'LineFile',
    '.arguments': 'add_model_arguments add_trust_argument build_predictor '
                  'check_json_file check_shard_options run_settings',
    '.file_names': 'copy_name distinct_names picture_name short_names '
                   'video_names',
    '.inputs': 'Inputs collect_inputs',
    '.labels.arguments': 'add_label_arguments check_label_inputs '
                         'check_label_options',
    '.labels.writing': 'save_labels',
    '.predictor': 'Predictor StreamItem',
    '.results': 'RetrievalResult',
    '.results_folder': 'RUN ResultsFolder Shard claim_folder merge_folders',
    '.trained_model': 'load_model',
    '.video': 'VideoReader truncation',
    '.writer': 'CocoIdMapper UnwritableError Writer',
}, Neighbours='RetrievalResult')
