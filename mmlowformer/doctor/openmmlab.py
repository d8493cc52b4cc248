"""Checks of the libraries that a backbone is used in."""
from collections.abc import Callable, Iterator

from . import fixes
from .facts import Facts
from .results import Result, broken, missing, ok, skipped

HOSTS = ('mmdet', 'mmseg', 'mmpretrain')
PARTS = ('models', 'datasets', 'evaluation')


def check_host(host: str) -> Callable[[Facts], Iterator[Result]]:
    """A check of one library: its import, its look-up, bases of its own."""

    def check(facts: Facts) -> Iterator[Result]:
        if host not in facts.steps:
            return
        cause = facts.first_failed('torch', 'mmengine', 'mmcv')
        failed = facts.first_failed(
            host, *(f'{host}.{part}' for part in PARTS))
        if facts.absent(host):
            yield missing(host, facts.error(host),
                          fixes.install(host, facts))
        elif cause:
            yield skipped(host, cause)
        elif failed is None:
            yield _look_up(host, facts)
        elif not facts.works('mmcv._ext') and _is_about_mmcv(facts, failed):
            yield skipped(host, 'mmcv._ext')
        else:
            yield broken(host, f'importing {failed} fails',
                         facts.error(failed),
                         _remedy(host, facts, failed))

    return check


def check_any_host(facts: Facts) -> Iterator[Result]:
    """The tools need one of the libraries, whichever it is."""
    is_said_which = facts.tasks & {
        'detection', 'segmentation', 'classification'}
    works = any(facts.works(f'{host} look-up') for host in HOSTS)
    if not (is_said_which or works):
        yield missing('a library', 'the config is for mmdet, which is not '
                      'installed', fixes.install('mmdet', facts),
                      'none of mmdet, mmseg, mmpretrain works')


def _is_about_mmcv(facts: Facts, failed: str) -> bool:
    outcome = facts.steps[failed]
    return outcome.crash or 'mmcv' in outcome.error or any(
        module.startswith('mmcv') for module in outcome.where)


def _remedy(host: str, facts: Facts, failed: str) -> str:
    error, where = facts.error(failed), facts.steps[failed].where
    if 'MMCV==' in error:
        return fixes.build_mmcv(facts)
    if 'MMEngine==' in error:
        return fixes.reinstall('mmengine', facts)
    if any('.multimodal' in module for module in where):
        return fixes.TRANSFORMERS
    if "'ftfy'" in error or "'regex'" in error:
        return fixes.MMSEG_NEEDS
    return fixes.install_missing(error) or fixes.reinstall(host, facts)


def _look_up(host: str, facts: Facts) -> Result:
    error = facts.error(f'{host} look-up')
    if not error:
        return _base_config(host, facts)
    if not facts.works('mmlowformer'):
        return skipped(host, 'mmlowformer')
    return broken(host, 'does not find mmlowformer.LowFormer', error,
                  fixes.reinstall('mmengine', facts))


def _base_config(host: str, facts: Facts) -> Result:
    """Configs of this project have no bases elsewhere; a user's may have."""
    text = f'{facts.value(host)}, finds mmlowformer.LowFormer'
    error = facts.error(f'{host} base')
    # Without pkg_resources all fail; check_setuptools says so.
    if not error or 'pkg_resources' in error:
        return ok(host, text)
    return ok(host, f"{text}; _base_ = '{host}::...' fails", error,
              fixes.show_configs(host))
