"""Masks of labels, and their run lengths, without copies of large ones."""
from collections.abc import Iterator

import numpy as np

from ..utils.imports import need

# Pixels of a block, which is all that is copied at a time.
BLOCK = 2**22
# COCO's run lengths have 32 bits.
MAX_RLE_PIXELS = 2**32 - 1


def label_dtype(classes: int) -> type[np.unsignedinteger]:
    """The smallest type of the labels of so many classes."""
    return np.uint8 if classes <= 256 else np.uint16


def count_labels(mask: np.ndarray) -> np.ndarray:
    """Pixels of each label, from 0 to the highest one."""
    counts = np.zeros(int(mask.max(initial=0)) + 1, np.int64)
    for rows in _blocks(mask):
        counts += np.bincount(rows.ravel(), minlength=len(counts))
    return counts


def encode_rle(mask: np.ndarray) -> dict:
    """Encode a mask in COCO's compressed format."""
    coco = need('pycocotools.mask', 'pycocotools')
    return _plain(coco.encode(np.asfortranarray(mask, np.uint8)))


def encode_labels(mask: np.ndarray) -> dict[int, dict]:
    """Encode the pixels of each label like :func:`encode_rle`, in one pass."""
    coco = need('pycocotools.mask', 'pycocotools')
    starts, labels = _runs_by_column(mask)
    ends = np.append(starts[1:], np.array(mask.size, starts.dtype))
    codes = {}
    for label in np.flatnonzero(np.bincount(labels)).tolist():
        runs = np.flatnonzero(labels == label)
        edges = np.stack([starts[runs], ends[runs]], 1).ravel()
        counts = np.diff(edges, prepend=edges.dtype.type(0),
                         append=edges.dtype.type(mask.size))
        # pycocotools omits an empty run at the end.
        counts = counts[:len(counts) - (counts[-1] == 0)]
        codes[label] = _plain(coco.frPyObjects(
            dict(size=mask.shape, counts=counts), *mask.shape))
    return codes


def _runs_by_column(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of a label start in COCO's order, and their labels."""
    starts, labels, offset = [], [], 0
    last: int | None = None
    for columns in _blocks(mask.T):
        pixels = columns.ravel()
        changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        if pixels.size and pixels[0] != last:
            changes = np.insert(changes, 0, 0)
        starts.append((changes + offset).astype(np.uint32))
        labels.append(pixels[changes])
        offset += pixels.size
        last = pixels[-1] if pixels.size else last
    return np.concatenate(starts), np.concatenate(labels)


def _blocks(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Views of neighboring rows."""
    rows = max(1, BLOCK // max(1, mask.shape[1]))
    for top in range(0, len(mask), rows):
        yield mask[top:top + rows]


def _plain(code: dict) -> dict:
    return dict(size=list(map(int, code['size'])),
                counts=code['counts'].decode())
