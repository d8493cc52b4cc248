"""The memory of MMDetection's trackers in long videos."""
from functools import partial

from mmdet.models.trackers.base_tracker import BaseTracker

# Trackers of others may look further back.
KNOWN = ('mmdet', 'mmlowformer')


def limit_history(tracker: BaseTracker) -> None:
    """Let a tracker forget the frames of a track that it never reads again.

    MMDetection's trackers append each box, score and embedding of a track to
    lists, of which they read the last few. Identities do not change.
    """
    if type(tracker).__module__.partition('.')[0] in KNOWN:
        # BaseTracker calls it after each frame.
        tracker.pop_invalid_tracks = partial(_pop_invalid_tracks, tracker)


def _pop_invalid_tracks(tracker: BaseTracker, frame_id: int) -> None:
    type(tracker).pop_invalid_tracks(tracker, frame_id)
    frames = _frames_read(tracker)
    for track in tracker.tracks.values():
        for key, history in track.items():
            if isinstance(history, list):
                # OC-SORT's observations are None while an object is lost.
                del history[:-(_observations_read(tracker) if key == 'obs'
                               else frames)]


def _frames_read(tracker: BaseTracker) -> int:
    """Frames that confirm a track, or whose embeddings are averaged."""
    reid = getattr(tracker, 'reid', None) or {}
    return max(1, getattr(tracker, 'num_tentatives', 1),
               reid.get('num_samples') or 1)


def _observations_read(tracker: BaseTracker) -> int:
    """Up to the last box of a lost object, and OC-SORT's earlier box."""
    return 1 + max(tracker.num_frames_retain, tracker.vel_delta_t)
