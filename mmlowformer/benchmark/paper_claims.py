"""Compare the authors' claims about LowFormer's speed with measurements.

Sources: LowFormer, https://arxiv.org/abs/2409.03460, and Beyond MACs,
https://arxiv.org/abs/2603.26551.
"""
from collections.abc import Iterable
from dataclasses import dataclass

# As the authors measured (with timm's models reparameterized), and faster.
PAPER = 'torchscript'
REPARAMETERIZED = f'deploy,{PAPER}'
DEPLOYED = 'deploy,channels_last'
COMPILED = f'{DEPLOYED},compile'

HEADER = ['claim', 'of', 'on a', 'claimed', 'TorchScript', 'fastest ways']


@dataclass(frozen=True)
class Claim:
    """One variant against one peer, as ``find_models`` names them."""

    ours: str
    peer: str
    mode: str
    # Ours over the peer's.
    ratio: float
    # Of the authors.
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
    """The models to measure, by mode and shape of images."""
    ways = list(ways)
    models: dict[tuple[str, tuple[int, int]], list[str]] = {}
    for claim in CLAIMS:
        part = models.setdefault((claim.mode, claim.shape), [])
        part += [f'{model}@{_paper(model) if way == PAPER else way}'
                 for model in (claim.ours, claim.peer) for way in ways]
    return {key: list(dict.fromkeys(part)) for key, part in models.items()}


def _paper(model: str) -> str:
    return REPARAMETERIZED if model.startswith('timm:') else PAPER


def evaluate_claims(
        records: dict[tuple[str, tuple[int, int]], dict]) -> list[dict]:
    """Compare the claims with measurements."""
    return [_evaluate(claim, records[claim.mode, claim.shape])
            for claim in CLAIMS if (claim.mode, claim.shape) in records]


def _evaluate(claim: Claim, record: dict) -> dict:
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
    """Seconds for an image, by the options of the model."""
    return {row['name'].partition('@')[2]: 1 / row['images_per_second']
            for row in record['rows'] if not row['failure']
            and row['name'].partition('@')[0] == model}


def _ratio(claim: Claim, ours: float | None,
           peer: float | None) -> float | None:
    if ours is None or peer is None:
        return None
    return peer / ours if claim.mode == 'throughput' else ours / peer


def table_rows(results: list[dict]) -> list[list[str]]:
    """One row for each claim, with the columns of :data:`HEADER`."""
    return [[f'{_short(result["ours"])} / {_short(result["peer"])}',
             f'{result["mode"]} {result["shape"][0]}', result['device'],
             f'{result["claimed"]:.2f}', _number(result['paper']),
             _number(result['fastest'])] for result in results]


def _short(model: str) -> str:
    return model.split(':')[-1].removeprefix('lowformer_')


def _number(ratio: float | None) -> str:
    return 'failed' if ratio is None else f'{ratio:.2f}'
