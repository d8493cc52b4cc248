"""Checking that an ONNX file refers to no other files."""
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError

# For each protobuf message, the fields with messages that may hold tensors.
FIELDS: dict[str, dict[int, str]] = dict(
    model={7: 'graph', 20: 'training', 25: 'function'},
    training={1: 'graph', 2: 'graph'},
    function={7: 'node', 11: 'attribute'},
    graph={1: 'node', 5: 'tensor', 15: 'sparse'},
    node={5: 'attribute'},
    attribute={5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph',
               22: 'sparse', 23: 'sparse'},
    sparse={1: 'tensor', 2: 'tensor'},
    tensor={})
# Fields of a tensor: external_data and data_location.
EXTERNAL = (13, 14)


def check_onnx(file: Path) -> None:
    """Refuse a file with tensors in other files."""
    waiting = [('model', memoryview(file.read_bytes()))]
    try:
        while waiting:
            kind, message = waiting.pop()
            for number, value in _fields(message):
                if kind == 'tensor' and number in EXTERNAL and value != 0:
                    raise UserError(f'{file} has tensors in other files, '
                                    'which is not allowed: export again')
                inner = FIELDS[kind].get(number)
                if inner and isinstance(value, memoryview):
                    waiting.append((inner, value))
    except (IndexError, ValueError) as error:
        raise UserError(f'{file} is damaged or not an ONNX file: export again'
                        ) from error


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f'wire type {kind}')
        if place + length > len(message):
            raise ValueError('truncated')
        yield number, message[place:place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError('a number without an end')
