"""What the authors claim, set beside measurements."""
import pytest

from mmlowformer.benchmark import paper_claims as claims
from mmlowformer.benchmark.models import find_models

WAYS = (claims.PAPER, claims.DEPLOYED)


def record_of(models, rate):
    """A measurement in which a model is as fast as ``rate`` says."""
    return dict(
        settings=dict(shape=(64, 64)),
        rows=[dict(name=name, failure=None,
                   images_per_second=rate(*name.split('@')))
              for name in models])


def test_every_model_is_known():
    for models in claims.parts(WAYS).values():
        assert [spec.name for spec in find_models(models)] == models
        for model in models:
            name, way = model.split('@')
            reparameterized = way == claims.REPARAMETERIZED
            assert way in (*WAYS, claims.REPARAMETERIZED)
            assert name.startswith('timm:') or not reparameterized
            assert not name.startswith('timm:') or way != claims.PAPER


def test_what_is_measured():
    models = {part: len(names) for part, names in claims.parts(WAYS).items()}
    assert models == {
        ('throughput', (224, 224)): 12, ('latency', (224, 224)): 14,
        ('throughput', (512, 512)): 4}


def test_ratios():
    def rate(model, way):
        fast = model.startswith('lowformer')
        if way == claims.DEPLOYED:
            return 12 if fast else 20
        return 10 if fast else 5

    results = claims.evaluate_claims({
        part: record_of(models, rate)
        for part, models in claims.parts(WAYS).items()})
    assert len(results) == len(claims.CLAIMS)
    for result, claim in zip(results, claims.CLAIMS):
        assert (result['ours'], result['claimed']) == (claim.ours, claim.ratio)
        paper, fastest = ((2, 12 / 20) if claim.mode == 'throughput' else
                          (0.5, 20 / 12))
        assert result['paper'] == paper
        assert result['fastest'] == pytest.approx(fastest)
        assert result['ways'] == [claims.DEPLOYED, claims.DEPLOYED]
    assert claims.table_rows(results)[6] == [
        'b2 / fat_b0', 'throughput 64', 'GPU', '1.93', '2.00', '0.60']


def test_a_model_that_failed():
    part = ('throughput', (512, 512))
    record = record_of(claims.parts(WAYS)[part], lambda model, way: 4.)
    for row in record['rows']:
        if row['name'].endswith(f'@{claims.PAPER}'):
            row['failure'] = 'why'
    result, = claims.evaluate_claims({part: record})
    assert result['paper'] is None
    assert result['fastest'] == 1
    assert claims.table_rows([result])[0][-2:] == ['failed', '1.00']
