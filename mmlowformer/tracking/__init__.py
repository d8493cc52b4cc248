"""Track one object (SOT), or all objects (MOT), through a video."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '.tracker': 'LowFormerTracker SOTState',
    '.predict_sot': 'BOXES Frames SOTResult detect_box draw_box open_frames '
                    'parse_box require_tracker track_object',
    '.predict_mot': 'MOTResult MultiObjectTracker TRACKS TrackSummary '
                    'track_objects'})
