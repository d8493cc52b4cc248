"""Read the frames of videos, and write annotated copies."""
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError
from ..runtime.results import Result

# For cameras, and files without a frame rate.
FRAMES_PER_SECOND = 25.
# Suffix for which FFmpeg writes MP4 in fragments. It buffers 256 kB of a file,
# and nothing of a pipe.
FRAGMENTED = '.ismv'
# More players know the second format, which differs by name.
BRANDS = b'isml\0\0\2\0ismlpiff', b'iso5\0\0\2\0iso5mp41'


class VideoReader:
    """Reads the frames of a video, a stream or a camera."""

    def __init__(self, source: str):
        self.source, self.frames = source, 0
        if source != source.encode(errors='replace').decode():
            raise UserError(f'video {source} has a name with undecodable '
                            'bytes, which OpenCV cannot take: rename it')
        is_file = Path(source).is_file()
        if is_file and not Path(source).stat().st_size:
            raise UserError(f'video {source} is empty (0 bytes)')
        is_camera = source.isdigit() and not is_file
        self._capture = cv2.VideoCapture(int(source) if is_camera else source)
        if not self._capture.isOpened():
            raise UserError(
                f'{"camera" if is_camera else "video"} {source} cannot be '
                'opened: it does not exist, is damaged, or OpenCV cannot '
                'decode it')
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or FRAMES_PER_SECOND
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if is_file and count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames ``(h, w, 3)`` in BGR, resized to the first one."""
        size = None
        with contextlib.closing(self):
            while (found := self._capture.read())[0]:
                frame = found[1]
                size = size or frame.shape[1::-1]
                if frame.shape[1::-1] != size:
                    frame = cv2.resize(frame, size)
                self.frames += 1
                yield frame
        if not self.frames:
            raise UserError(f'video {self.source} contains no frame that can '
                            'be decoded')

    def close(self) -> None:
        """Release the file or the camera."""
        self._capture.release()


def truncation(source: str, frames: int, total: int | None) -> str | None:
    """Describe how a video ends before its header says so, if it does."""
    # Some formats estimate their number of frames, one too high.
    if total is None or frames >= total - 1:
        return None
    return f'{source} ends after {frames} of the {total} frames of its header'


class VideoWriter:
    """Writes pictures to an MP4 file, all in the size of the first.

    If the process is killed, the file can be played up to the last 12 frames,
    where the system has named pipes.
    """

    def __init__(self, file: Path, fps: float):
        self.file, self.fps = file, fps
        self.frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._copy: _Copy | None = None
        self._shown = self._size = (0, 0)

    def add(self, result: Result) -> None:
        """Draw and append a frame."""
        self.write(result.draw())

    def write(self, picture: Image.Image) -> None:
        """Append a frame."""
        if self._writer is None:
            # Encoders need even sides.
            self._shown = width, height = picture.size
            self._size = (width + width % 2, height + height % 2)
            self._writer = self._opened()
        frame = Image.new('RGB', self._size)
        frame.paste(picture if picture.size == self._shown else
                    picture.resize(self._shown))
        self._writer.write(np.asarray(frame)[..., ::-1])
        if self._copy:
            self._copy.check()
        self.frames += 1

    def _opened(self) -> cv2.VideoWriter:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if not hasattr(os, 'mkfifo'):  # Windows
            return self._encoder(self.file)
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder, f'copy{FRAGMENTED}')
            os.mkfifo(pipe)
            # The encoder waits for the reader of a pipe.
            end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            try:
                writer = self._encoder(pipe)
            except UserError:
                os.close(end)
                return self._encoder(self.file)
        self._copy = _Copy(end, self.file)
        return writer

    def _encoder(self, file: Path) -> cv2.VideoWriter:
        writer = cv2.VideoWriter(
            str(file), cv2.VideoWriter.fourcc(*'mp4v'), self.fps, self._size)
        if not writer.isOpened():
            raise UserError(f'video {self.file} cannot be written: this '
                            'OpenCV has no MPEG-4 encoder; add '
                            '--no-pictures')
        return writer

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
        if self._copy:
            self._copy.join()
            self._copy.check()


class _Copy(threading.Thread):
    """Copies a pipe to a file without delay."""

    def __init__(self, end: int, file: Path):
        super().__init__(daemon=True)
        self.end, self.file = end, file
        self.error: OSError | None = None
        os.set_blocking(end, True)
        self.start()

    def run(self) -> None:
        try:
            with open(self.file, 'wb') as file:
                data = os.read(self.end, 2 ** 16).replace(*BRANDS)
                while data:
                    file.write(data)
                    file.flush()
                    data = os.read(self.end, 2 ** 16)
        except OSError as error:
            self.error = error
        finally:
            os.close(self.end)

    def check(self) -> None:
        if self.error:
            raise self.error
