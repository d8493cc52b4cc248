"""The same work with the plain library alone: a program for each case.

``python libraries.py NAME ARGUMENT...``; libraries are imported where they
are used, because their size is measured, too.
"""
import json
import os
import sys


def check_paths(file: str) -> None:
    """Look for each file of a list."""
    with open(file, encoding='utf-8') as lines:
        for line in lines:
            if not os.path.isfile(line.rstrip('\n')):
                raise FileNotFoundError(line)


def decode(*paths: str) -> None:
    """Decode images, or those in folders, with OpenCV."""
    import cv2
    for path in paths:
        for file in (os.scandir(path) if os.path.isdir(path) else [path]):
            if cv2.imread(os.fspath(file)) is None:
                raise OSError(f'{os.fspath(file)} cannot be read')


def read_json(file: str) -> None:
    """Parse a file."""
    with open(file, encoding='utf-8') as text:
        json.load(text)


def list_folders(folder: str) -> None:
    """List class folders with torchvision."""
    from torchvision.datasets import ImageFolder
    ImageFolder(folder)


def track(frames: str, objects: str) -> None:
    """Track with MMDetection's ByteTrack, without images."""
    from mmdet.models.trackers import ByteTracker
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules

    from mmlowformer.benchmark.scale.networks import box_grid
    register_all_modules()
    tracker = ByteTracker(
        motion=dict(type='KalmanFilter'), init_track_thr=0.4,
        obj_score_thrs=dict(high=0.3, low=0.1), num_frames_retain=30)
    for number in range(int(frames)):
        sample = DetDataSample(metainfo=dict(frame_id=number))
        sample.pred_instances = box_grid(int(objects))
        tracker.track(data_sample=sample)


def crop(folder: str, out: str, size: str, step: str) -> None:
    """Cut the images of a folder with Pillow."""
    from PIL import Image
    os.makedirs(out)
    for entry in os.scandir(folder):
        with Image.open(entry.path) as image:
            for top in starts(image.height, int(size), int(step)):
                for left in starts(image.width, int(size), int(step)):
                    image.crop((left, top, left + int(size),
                                top + int(size))).save(os.path.join(
                                    out, f'{top}_{left}_{entry.name}'),
                                    quality=95)


def starts(length: int, size: int, step: int) -> list[int]:
    """Positions of tiles, the last one at the end."""
    return [*range(0, length - size, step), length - size]


if __name__ == '__main__':
    globals()[sys.argv[1]](*sys.argv[2:])
