"""Trackers of long videos keep a few frames, and the same identities."""
import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmlowformer import get_config
from mmlowformer.engine.runner import QuietRunner
from mmlowformer.tracking.predict_mot import (
    MultiObjectTracker,
    tracker_settings,
)
from mmlowformer.tracking.track_memory import limit_history

RETAINED = 8
# SORT's default number of averaged embeddings.
MOST_KEPT = 10
REID = dict(num_samples=4, img_scale=(8, 4), img_norm_cfg=None,
            match_score_thr=0.5, motion_weight=0.02)
SETTINGS = dict(
    byte=dict(tracker_settings(0.5), type='mmdet.ByteTracker'),
    agnostic=tracker_settings(0.5),
    ocsort=get_config('ocsort_lowformer_b1_mot17').model.tracker,
    sort=dict(type='mmdet.SORTTracker', obj_score_thr=0.5, reid=None,
              motion=dict(type='mmdet.KalmanFilter', center_only=False)),
    deepsort=dict(type='mmdet.SORTTracker', obj_score_thr=0.5, reid=REID,
                  motion=dict(type='mmdet.KalmanFilter', center_only=False)),
    strongsort=dict(type='mmdet.StrongSORTTracker', obj_score_thr=0.5,
                    reid=REID, momentums=dict(embeds=0.1),
                    motion=dict(type='mmdet.KalmanFilter', center_only=False,
                                use_nsa=True)),
    qdtrack=dict(type='mmdet.QuasiDenseTracker'),
    masktrack=dict(type='mmdet.MaskTrackRCNNTracker'))


class Appearance:
    """The model around a tracker: embeddings from the mean color."""

    with_cmc = False

    def reid(self, crops, mode):
        return crops.mean((2, 3)) + 0.1

    @property
    def track_head(self):
        def embed(feats, boxes):
            return boxes[0] / 100

        return SimpleNamespace(
            predict=lambda first, second: (
                embed(first, second) if isinstance(second, list) else
                torch.cat([torch.full((len(first), 1), -3.),
                           -torch.cdist(first, second)], 1)),
            extract_roi_feats=lambda feats, boxes: (
                embed(feats, boxes), None))


def build(name):
    init_default_scope('mmdet')
    tracker = MODELS.build(dict(SETTINGS[name]))
    tracker.num_frames_retain = RETAINED
    return tracker


def frames(count, seed=0):
    """Boxes that wander, hide for a while or for good, and overlap."""
    random = np.random.default_rng(seed)
    centers = random.uniform(20, 180, (6, 2))
    speeds = random.uniform(-4, 4, (6, 2))
    hidden = np.zeros(6, int)
    for _ in range(count):
        speeds[(centers < 10) | (centers > 190)] *= -1
        centers += speeds
        hidden = np.maximum(hidden - 1, 0)
        # Some are found again, others are lost for longer than the window.
        hidden[random.uniform(size=6) < 0.05] = random.choice(
            [1, 3, RETAINED - 1, RETAINED + 5])
        seen = hidden == 0
        scores = random.choice([0.3, 0.8, 0.95], 6, p=[0.05, 0.15, 0.8])
        yield (np.concatenate([centers - 9, centers + 9], 1)[seen],
               scores[seen], np.arange(6)[seen] % 2)


def follow(tracker, video):
    """Identities, and the longest list of a track, in each frame."""
    found, longest = [], []
    for number, (boxes, scores, labels) in enumerate(video):
        sample = DetDataSample(metainfo=dict(
            frame_id=number, img_shape=(200, 200), scale_factor=(1., 1.)))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes).float(), labels=torch.tensor(labels),
            scores=torch.tensor(scores).float(),
            masks=torch.ones(len(boxes), 2, 2))
        result = tracker.track(
            model=Appearance(), img=torch.ones(1, 3, 200, 200), feats=[],
            data_sample=sample)
        found.append((result.instances_id.tolist(), result.bboxes.tolist()))
        longest.append(max((len(value) for track in tracker.tracks.values()
                            for value in track.values()
                            if isinstance(value, list)), default=0))
    return found, longest


def again(found):
    """Identities that were lost for some frames."""
    seen = [set(ids) for ids, _ in found]
    return {identity for before, now, after in zip(seen, seen[1:], seen[2:])
            for identity in before & after - now}


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('name', SETTINGS)
def test_same_identities_in_constant_memory(name, seed):
    video = list(frames(150, seed))
    library, limited = build(name), build(name)
    limit_history(limited)
    expected, grown = follow(library, video)
    found, longest = follow(limited, video)
    assert found == expected
    # SORT alone never finds an object again.
    assert again(found) or name == 'sort'
    # Similar objects take over the identities of lost ones elsewhere.
    if name not in ('qdtrack', 'masktrack'):
        assert len({identity for ids, _ in found for identity in ids}) > 6
    assert max(longest) <= MOST_KEPT
    if name != 'qdtrack':  # It keeps the last box only.
        assert max(grown) > 1.5 * MOST_KEPT


def test_lists_do_not_grow_in_predictions():
    tracker = MultiObjectTracker(tracker_settings(0.5))._tracker
    still = [(np.array([[5., 5, 25, 25]]), np.ones(1), np.zeros(1, int))]
    _, longest = follow(tracker, still * 60)
    assert max(longest) == longest[10] == tracker.num_tentatives


def test_tests_forget_too(monkeypatch):
    tracker = build('byte')
    monkeypatch.setattr(Runner, 'build_model', lambda runner, model: model)
    model = SimpleNamespace(tracker=tracker)
    assert QuietRunner.build_model(object.__new__(QuietRunner), model) is model
    _, longest = follow(tracker, frames(40))
    assert max(longest) == tracker.num_tentatives
    # A copy of the model has a copy of the tracker.
    other = copy.deepcopy(tracker)
    follow(other, frames(5))
    assert other.pop_invalid_tracks.args[0] is other


def test_trackers_of_others_are_left_alone():
    class Patient(type(build('byte'))):
        """It may read all frames."""

    tracker = Patient(motion=dict(type='KalmanFilter'))
    limit_history(tracker)
    assert max(follow(tracker, frames(40))[1]) > 10
