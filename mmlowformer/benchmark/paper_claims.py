"""What the authors say about LowFormer's speed, beside what is measured here.

Sources: LowFormer, https://arxiv.org/abs/2409.03460, and Beyond MACs,
https://arxiv.org/abs/2603.26551.
"""
from collections.abc import Iterable
from dataclasses import dataclass

# As the authors measured, timm's models reparameterized as these are meant to
# be; and the ways known to be faster.
PAPER = 'torchscript'
REPARAMETERIZED = f'deploy,{PAPER}'
DEPLOYED = 'deploy,channels_last'
COMPILED = f'{DEPLOYED},compile'

HEADER = ['claim', 'of', 'on a', 'claimed', 'TorchScript', 'fastest ways']


@dataclass(frozen=True)
class Claim:
    """One variant against one peer.

    Attributes:
        ours (str): The variant, as ``find_models`` knows it.
        peer (str): What it is compared with, likewise.
        mode (str): ``'throughput'``, of images, or ``'latency'``, of one.
        ratio (float): Ours over the peer's.
        device (str): Where the authors saw it.
        shape (tuple[int, int]): Height and width of the images.
    """

    ours: str
    peer: str
    mode: str
    ratio: float
    device: str
    shape: tuple[int, int] = (224, 224)


CLAIMS = (
    Claim('lowformer_b0', 'timm:mobileone_s2', 'throughput', 2., 'GPU'),
    Claim('lowformer_b0', 'timm:mobileone_s2', 'latency', 0.85, 'GPU'),
    Claim('lowformer_b1', 'timm:fastvit_sa12', 'throughput', 3., 'GPU'),
    Claim('lowformer_b1', 'timm:fastvit_sa12', 'latency', 0.7, 'GPU'),
    Claim('lowformer_b1', 'timm:mobileone_s4', 'latency', 0.68, 'mobile GPU'),
    Claim('lowformer_b1', 'timm:mobileone_s4', 'latency', 0.41, 'ARM CPU'),
    Claim('lowformer_b2', 'peer:fat_b0', 'throughput', 1.93, 'GPU',
          (512, 512)),
    # "Nearly".
    Claim('lowformer_b3', 'peer:fat_b3', 'throughput', 3., 'GPU'),
    Claim('lowformer_b3', 'peer:fat_b3', 'latency', 0.45, 'GPU'),
)


def parts(ways: Iterable[str]) -> dict[tuple[str, tuple[int, int]], list[str]]:
    """The measurements that the claims take."""
    ways = list(ways)
    models: dict[tuple[str, tuple[int, int]], list[str]] = {}
    for claim in CLAIMS:
        part = models.setdefault((claim.mode, claim.shape), [])
        part += [f'{model}@{_paper(model) if way == PAPER else way}'
                 for model in (claim.ours, claim.peer) for way in ways]
    return {key: list(dict.fromkeys(part)) for key, part in models.items()}


def _paper(model: str) -> str:
    return REPARAMETERIZED if model.startswith('timm:') else PAPER


def judge(records: dict[tuple[str, tuple[int, int]], dict]) -> list[dict]:
    """Set the claims beside what was measured."""
    return [_judge(claim, records[claim.mode, claim.shape])
            for claim in CLAIMS if (claim.mode, claim.shape) in records]


def _judge(claim: Claim, record: dict) -> dict:
    ours, peer = (_seconds(model, record) for model in
                  (claim.ours, claim.peer))
    fastest = [min(times, key=times.__getitem__, default=None)
               for times in (ours, peer)]
    return dict(
        ours=claim.ours, peer=claim.peer, mode=claim.mode,
        device=claim.device, shape=record['settings']['shape'],
        claimed=claim.ratio,
        paper=_ratio(claim, ours.get(PAPER), peer.get(_paper(claim.peer))),
        fastest=_ratio(claim, min(ours.values(), default=None),
                       min(peer.values(), default=None)),
        ways=fastest)


def _seconds(model: str, record: dict) -> dict[str, float]:
    """Time for an image, by the way to compute it."""
    return {row['name'].partition('@')[2]: 1 / row['images_per_second']
            for row in record['rows'] if not row['failure']
            and row['name'].partition('@')[0] == model}


def _ratio(claim: Claim, ours: float | None,
           peer: float | None) -> float | None:
    if ours is None or peer is None:
        return None
    return peer / ours if claim.mode == 'throughput' else ours / peer


def table_rows(results: list[dict]) -> list[list[str]]:
    """The claims as text, one a line; columns as in :data:`HEADER`."""
    return [[f'{_short(result["ours"])} / {_short(result["peer"])}',
             f'{result["mode"]} {result["shape"][0]}', result['device'],
             f'{result["claimed"]:.2f}', _number(result['paper']),
             _number(result['fastest'])] for result in results]


def _short(model: str) -> str:
    return model.split(':')[-1].removeprefix('lowformer_')


def _number(ratio: float | None) -> str:
    return 'failed' if ratio is None else f'{ratio:.2f}'
