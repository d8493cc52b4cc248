"""What can be wrong with COCO's images and annotations."""
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from ...errors import UserError, shown
from ..paths import leads_out

# Coordinates and lengths in pixels are below; others are no such.
LARGEST = 1e9


def refuse_faults(faults: Iterable[tuple[str, str]], path: str) -> None:
    """Name what is wrong with a file, if anything is."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for fault, example in faults:
        counts[fault] += 1
        examples.setdefault(fault, shown(example))
    if counts:
        found = '; '.join(f'{count} x {fault}, first: {examples[fault]}'
                          for fault, count in counts.items())
        raise UserError(f'{path} is broken: {found}. Mend the file, or leave '
                        'these out of it')


def faults_of(content: dict, *, masks: bool = True) -> Iterator[
        tuple[str, str]]:
    """Images and boxes that would change a training or a metric in silence."""
    yield from _image_faults(content)
    yield from _box_faults(content)
    if masks:
        yield from _segmentation_faults(content)


def _image_faults(content: dict) -> Iterator[tuple[str, str]]:
    seen, files = set(), set()
    for image in content['image_records']:
        name, identity = image['file_name'], image['id']
        if identity in seen:
            yield 'image id given to an image before', f'{identity} ({name})'
        seen.add(identity)
        file = posixpath.normpath(name.replace('\\', '/'))
        if file in files:
            yield 'image that is there under another id', (
                f'{name} (id {identity})')
        files.add(file)
        if leads_out(name):
            yield 'image whose name holds ..', name
        if not all(is_number(image.get(key)) and image[key] > 0
                   for key in ('width', 'height')):
            yield 'image without width and height', name


def _box_faults(content: dict) -> Iterator[tuple[str, str]]:
    images = {image['id'] for image in content['image_records']}
    categories = set(content['category_ids'])
    seen = set()
    for annotation in content['annotations']:
        identity = annotation.get('id')
        name = f'annotation {shown(identity, 40)}'
        if not _refers(annotation.get('image_id'), images):
            yield ('annotation of an image that is not in the file',
                   f'{name}, image {shown(annotation.get("image_id"), 40)}')
        if not _refers(annotation.get('category_id'), categories):
            yield ('category id that is not in the file', f'{name}, category '
                   f'{shown(annotation.get("category_id"), 40)}')
        if identity is not None and type(identity) not in (int, str):
            yield 'annotation whose id is no integer', name
        elif identity is not None and identity in seen:
            yield 'annotation id given to an annotation before', name
        else:
            seen.add(identity)
        if annotation.get('iscrowd') not in (None, 0, 1):
            yield 'iscrowd that is neither 0 nor 1', name
        box = annotation.get('bbox')
        if not _is_box(box):
            yield ('box that is not four numbers x, y, width and height',
                   f'{name}, {shown(box, 80)}')


def _refers(identity: object, known: Collection) -> bool:
    return type(identity) in (int, str) and identity in known


def is_number(value: object) -> bool:
    """Whether a value can be a coordinate, or a length in pixels."""
    # Comparing is also safe for integers that are too large for a float.
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and -LARGEST < value < LARGEST)


def _is_box(box: object) -> bool:
    return (isinstance(box, list) and len(box) == 4
            and all(map(is_number, box)) and min(box[2:]) >= 0)


def _segmentation_faults(content: dict) -> Iterator[tuple[str, str]]:
    sizes = {image['id']: [image.get('height'), image.get('width')]
             for image in content['image_records']}
    for annotation in content['annotations']:
        what = annotation.get('segmentation')
        identity = annotation.get('image_id')
        if what in (None, []) or not _refers(identity, sizes.keys()):
            continue
        fault = (_polygon_fault(what) if isinstance(what, list) else
                 _run_length_fault(what, sizes[identity]))
        if fault:
            yield (f'segmentation {fault}',
                   f'annotation {shown(annotation.get("id"), 40)}, '
                   f'{shown(what, 80)}')


def _polygon_fault(polygons: list) -> str | None:
    for polygon in polygons:
        if not isinstance(polygon, list):
            return 'that is no list of polygons, [[x1, y1, x2, y2, ...]]'
        if len(polygon) < 6 or len(polygon) % 2:
            return 'with a polygon that is not three points or more'
        if not all(map(is_number, polygon)):
            return 'with a polygon that is not of numbers'
    return None


def _run_length_fault(runs: object, size: list) -> str | None:
    if not isinstance(runs, dict):
        return 'that is neither polygons nor run lengths'
    if runs.get('size') != size:
        return "whose run lengths are not of the image's height and width"
    try:
        lengths = run_lengths(runs['counts'])
    except (KeyError, TypeError, ValueError):
        return 'whose run lengths cannot be read'
    if sum(lengths) != size[0] * size[1]:
        return 'whose run lengths are of another number of pixels'
    return None


def run_lengths(counts: list | str) -> list[int]:
    """Lengths of runs of pixels, column by column, outside and inside."""
    lengths = (_decompressed(counts) if isinstance(counts, str) else
               list(counts))
    if not all(type(length) is int and 0 <= length < LARGEST
               for length in lengths):
        raise ValueError('a run length is no length')
    return lengths


def _decompressed(text: str) -> list[int]:
    """Six bits a letter, the lowest first; from the third, differences."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text.encode('ascii'):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError('no letter of run lengths')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('the last run length is cut off')
    return lengths
