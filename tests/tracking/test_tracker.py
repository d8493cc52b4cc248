"""The tracker's network and losses, and tracking of an object."""
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import box_convert

from mmlowformer import LowFormer, deploy
from mmlowformer.errors import UserError
from mmlowformer.tracking import decoding, losses, tracker
from mmlowformer.tracking.crop_region import Region, clip

TINY = dict(widths=(8, 16, 32, 64, 64), depths=(0, 1, 1, 2, 0), variant='b0')
LIGHT = dict(type='mmlowformer.TrackerHead', depths=(1, 2),
             depthwise_from_channels=0)
# Without its norm, as in e3 and the authors' code.
WITHOUT_MLP = dict(variant='b15', block=('lowtention', 'local'))


def make_tracker(arch=TINY, **arguments):
    return MODELS.build(dict(
        type='mmlowformer.LowFormerTracker',
        backbone=dict(type='mmlowformer.LowFormer', arch=arch), **arguments))


def tiny(**arguments):
    return make_tracker(search_size=64, template_size=32, head=LIGHT,
                        **arguments)


@pytest.mark.parametrize(('arch', 'millions', 'macs'), [
    ('b15', 18.93, 4224), (WITHOUT_MLP, 17.70, 3863), ('e2', 16.78, 5170)])
def test_golden_numbers(arch, millions, macs):
    """MACs of a frame, without the template's."""
    with torch.device('meta'):
        model = make_tracker(arch).eval()
        template = model.encode(torch.empty(1, 3, 112, 112))
        with FlopCounterMode(display=False) as counter:
            model.search(torch.empty(1, 3, 224, 224), template)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == \
        millions
    assert round(counter.get_total_flops() / 2e6) == macs


@pytest.mark.parametrize('arch', LowFormer.arch_settings)
def test_any_variant(arch):
    with torch.device('meta'):
        model = make_tracker(arch)
        maps = model(torch.empty(2, 3, 224, 224))
    assert [tuple(part.shape) for part in maps] == [
        (2, 1, 14, 14), (2, 2, 14, 14), (2, 2, 14, 14)]


def test_light_head():
    with torch.device('meta'):
        model = make_tracker('b15', head=LIGHT)
    count = {name: sum(p.numel() for p in part.parameters())
             for name, part in model.named_children()}
    assert count['head'] <= sum(count.values()) / 4


@pytest.mark.parametrize(('search', 'template'), [(64, 32), (80, 32),
                                                  (96, 64)])
def test_other_ratios(search, template):
    """The template is repeated, or padded, to the width of the canvas."""
    model = make_tracker(search_size=search, template_size=template,
                         head=LIGHT).eval()
    score, _, _ = model.search(
        torch.randn(1, 3, search, search),
        model.encode(torch.randn(1, 3, template, template)))
    assert score.shape[2:] == (search // 16, search // 16)


def test_deployed_outputs():
    model = tiny().train()
    images = torch.randn(2, 3, 64, 64)
    for _ in range(3):  # Statistics that are not those of a new BatchNorm.
        model(images)
    model.eval()
    deployed = deploy(model, measure=False)
    with torch.no_grad():
        for found, expected in zip(deployed(images), model(images)):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d)
                   for module in deployed.backbone.modules())


def test_loads_weights_of_a_backbone(tmp_path):
    torch.manual_seed(1)
    backbone = LowFormer(TINY)
    torch.save(backbone.state_dict(), tmp_path / 'weights.pth')
    model = make_tracker(head=LIGHT)
    model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    model.init_weights()
    for name, value in model.backbone.state_dict().items():
        assert value.equal(backbone.state_dict()[name])


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(search_size=100), 'search_size has to be a multiple of 16'),
    (dict(template_size=240), 'has to be at most search_size'),
    (dict(box_cell='best'), 'box_cell has to be predicted or true'),
    (dict(head=dict(type='mmlowformer.TrackerHead', depths=(2, ))),
     'two numbers of blocks'),
    (dict(head=dict(type='mmlowformer.TrackerHead', block=('mlp', ))),
     'block has to hold some of'),
])
def test_refused_arguments(arguments, message):
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        make_tracker(**arguments)


def test_refuses_other_stages():
    with torch.device('meta'), pytest.raises(ValueError,
                                             match='out_indices=\\(2, \\)'):
        MODELS.build(dict(
            type='mmlowformer.LowFormerTracker', backbone=dict(
                type='mmlowformer.LowFormer', arch='b0', out_indices=(3, ))))


def sample(*box):
    return BaseDataElement(gt_box=torch.tensor(box))


@pytest.mark.parametrize('box_cell', tracker.BOX_CELLS)
def test_step_reaches_every_parameter(box_cell):
    model = tiny(box_cell=box_cell)
    data = dict(inputs={
        name: [torch.randint(0, 255, (3, size, size)).byte()
               for _ in range(2)] for name, size in
        (('template', 32), ('search', 64))},
        data_samples=[sample(0.2, 0.3, 0.5, 0.6), sample(0.5, 0.5, 1.2, 1.1)])
    found = model(**model.data_preprocessor(data, True), mode='loss')
    assert set(found) == {'loss_giou', 'loss_l1', 'loss_focal'}
    sum(found.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_losses_in_bfloat16():
    """Where a score of almost 1 would be 1, and its loss infinite."""
    model = tiny().train()
    with torch.no_grad():
        model.head.score[-1].bias.fill_(50.)
    with torch.autocast('cpu', torch.bfloat16):
        found = model(
            dict(search=torch.rand(2, 3, 64, 64),
                 template=torch.rand(2, 3, 32, 32)), mode='loss',
            data_samples=[sample(0.2, 0.3, 0.5, 0.6)] * 2)
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    assert all(loss.isfinite() for loss in found.values())


def test_box_of_a_position():
    """By hand: column 3 and row 1 of 4 x 4."""
    maps = (torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4),
            torch.full((1, 2, 4, 4), 0.25))
    maps[0][0, 0, 1, 3] = 1
    maps[1][0, :, 1, 3] = torch.tensor([0.5, -0.5])
    found = decoding.boxes_at(decoding.peak_positions(maps[0]), maps)
    torch.testing.assert_close(found, torch.tensor(
        [[3.5 / 4, 0.5 / 4, 0.25, 0.25]]))
    torch.testing.assert_close(box_convert(
        found, 'cxcywh', 'xyxy'), torch.tensor(
        [[0.75, 0., 1., 0.25]]))


def test_window():
    window = decoding.hann_window(14)
    line = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, 15) / 15))
    np.testing.assert_allclose(window, np.outer(line, line), rtol=1e-6)


def drawn(box, size):
    """CornerNet's map, cell by cell."""
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) * size, (y2 - y1) * size
    total, area = width + height, width * height
    radius = int(max(0, min(
        (b + np.sqrt(b**2 - 4 * a * c)) / 2 for a, b, c in (
            (1, total, area * 0.3 / 1.7), (4, 2 * total, 0.3 * area),
            (2.8, -1.4 * total, -0.3 * area)))))
    sigma = (2 * radius + 1) / 6
    column, row = (int(np.clip(np.round((low + high) / 2 * size), 0,
                               size - 1)) for low, high in
                   ((x1, x2), (y1, y2)))
    found = np.zeros((size, size))
    for y in range(max(0, row - radius), min(size, row + radius + 1)):
        for x in range(max(0, column - radius),
                       min(size, column + radius + 1)):
            found[y, x] = np.exp(-((x - column)**2 + (y - row)**2)
                                 / (2 * sigma**2))
    return found


def test_heat_maps():
    boxes = [(0.3, 0.4, 0.55, 0.65), (0.05, 0.1, 0.95, 0.8),
             (0.9, 0.9, 1.2, 1.3), (0.4, 0.4, 0.41, 0.41)]
    found = losses.heat_maps(torch.tensor(boxes), 14)[:, 0]
    for box, part in zip(boxes, found):
        np.testing.assert_allclose(part, drawn(box, 14), atol=1e-6)
    assert (found.amax((1, 2)) == 1).all()


def test_focal_loss():
    targets = torch.tensor([1., 0.5, 0.05, 0.])
    scores = torch.tensor([0.8, 0.6, 0.3, 0.1])
    expected = -(np.log(0.8) * 0.2**2 + np.log(0.6) * 0.4**2
                 + np.log(0.7) * 0.3**2 * 0.95**4
                 + np.log(0.9) * 0.1**2) / 2
    assert losses.focal_loss(scores, targets).item() == pytest.approx(
        expected, rel=1e-5)


def test_only_the_chosen_position_learns_its_box():
    model = tiny()
    maps = [part.requires_grad_() for part in (
        torch.rand(1, 1, 4, 4), torch.randn(1, 2, 4, 4),
        torch.rand(1, 2, 4, 4))]
    found = model.loss(tuple(maps), [sample(0.2, 0.2, 0.6, 0.6)])
    (found['loss_giou'] + found['loss_l1']).backward()
    cell = maps[0].flatten().argmax()
    for part in maps[1:]:
        changed = part.grad.abs().sum((0, 1)).flatten().nonzero().flatten()
        assert changed.tolist() == [cell]


def test_region():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:30, 40:60] = 255
    region = Region.around((40, 20, 20, 10), 2., 58)
    assert region == (36, 10, 29, 58)
    patch = region.cut(image)
    left, top, right, bottom = (round(58 * value) for value in
                                region.relative((40, 20, 20, 10)))
    assert patch[top + 2:bottom - 2, left + 2:right - 2].min() == 255
    patch[top - 1:bottom + 1, left - 1:right + 1] = 0
    assert patch.max() == 0
    x1, y1, x2, y2 = region.relative((40, 20, 20, 10))
    assert region.absolute(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)) \
        == pytest.approx([40, 20, 20, 10])


def test_region_beyond_the_image_is_black():
    region = Region.around((-20, -20, 30, 30), 2., 64)
    patch = region.cut(np.full((40, 40, 3), 200, np.uint8))
    assert patch[:16].max() == 0
    assert patch[-8:, -8:].min() == 200


@pytest.mark.parametrize(('box', 'expected'), [
    ((-5, -5, 20, 20), [0, 0, 15, 15]),
    ((95, 95, 50, 50), [90, 90, 10, 10]),
    ((-50, 20, 30, 30), [0, 20, 10, 30]),
    ((20, 20, 0.01, 0.01), [20, 20, 10, 10]),
    ((-9, -9, 999, 999), [0, 0, 100, 100]),
])
def test_a_margin_stays_in_the_image(box, expected):
    assert clip(box, 100, 100, 10) == pytest.approx(expected)


def test_clip_to_an_image_below_the_margin():
    assert clip((3, 3, 4, 4), 6, 8, 10) == [0, 0, 8, 6]


@pytest.fixture(scope='module')
def follower():
    model = tiny().eval()
    frame = np.random.default_rng(0).integers(
        0, 255, (48, 64, 3)).astype(np.uint8)
    return model, frame


def test_template_is_computed_once(follower):
    model, frame = follower
    following = model.start(frame, (20, 10, 16, 12))
    calls = []
    handle = model.backbone.stem.register_forward_hook(
        lambda module, inputs, output: calls.append(tuple(inputs[0].shape)))
    for _ in range(3):
        box, score = following(frame)
    handle.remove()
    assert calls == [(1, 3, 64, 64)] * 3
    assert np.isfinite(box).all()
    assert 0 < score < 1


def test_two_videos_do_not_disturb_each_other(follower):
    model, frame = follower
    alone = [model.start(frame, (20, 10, 16, 12))(frame)[0]]
    first = model.start(frame, (20, 10, 16, 12))
    model.start(frame[::-1].copy(), (5, 5, 30, 30))(frame)
    assert [first(frame)[0]] == alone


def test_frames_of_changing_size(follower):
    model, frame = follower
    following = model.start(frame, (20, 10, 16, 12))
    for image in (frame, frame[:24, :20].copy(), np.tile(frame, (3, 3, 1))):
        x, y, width, height = following(image)[0]
        assert x >= 0 <= y
        assert x + width <= image.shape[1] + 1e-6
        assert y + height <= image.shape[0] + 1e-6


def test_nan_leaves_the_object_where_it_was(follower):
    model, frame = follower
    following = model.start(frame, (20, 10, 16, 12))
    following._template = following._template * float('nan')
    assert following(frame)[0] == [20, 10, 16, 12]


@pytest.mark.parametrize(('box', 'message'), [
    ((5, 5, 0, 9), 'has no area'), ((5, 5, 9, -1), 'has no area'),
    ((80, 5, 9, 9), 'lies outside of the image, which is 64x48'),
    ((5, float('nan'), 9, 9), 'has to be four numbers'),
    ((5, 5, 9), 'has to be four numbers'),
])
def test_refused_first_boxes(follower, box, message):
    model, frame = follower
    with pytest.raises(UserError, match=message):
        model.start(frame, box)
