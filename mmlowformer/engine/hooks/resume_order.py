"""Skip the images that a resumed training has seen, without loading them."""
from collections.abc import Iterator
from itertools import chain, count, islice, repeat
from typing import Any

from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader, Sampler

from ...registry import HOOKS
from ...utils.console import say
from . import SwitchableHook
from .progress_bar import by_iteration


@HOOKS.register_module()
class ResumeOrderHook(SwitchableHook):
    """Resumes an iteration-based training with the next images, at once.

    By itself MMEngine loads and augments all images that were seen, and, if
    the config has no seed, shuffles by another one than before. Data loaders
    that are built without a config are left to MMEngine.

    Args:
        enabled (bool): Whether to do so. Defaults to True.
    """

    # Before hooks that look at the data loader.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Replace the data loader by one that starts later."""
        if not (by_iteration(runner) and runner.iter
                and isinstance(runner._train_dataloader, dict)):
            return
        say(f'Skipping the images of {runner.iter} iterations, without '
            'loading them.')
        loop = runner.train_loop
        loop.dataloader = _resumed_loader(runner)
        # MMEngine takes and drops a batch for each iteration that is done.
        loop.dataloader_iterator = chain(repeat(None, runner.iter),
                                         loop.dataloader)


def _resumed_loader(runner: Runner) -> DataLoader:
    """A data loader that starts with the next iteration."""
    loader: Any = runner.train_dataloader
    config = dict(runner._train_dataloader, dataset=_Same(loader.dataset),
                  num_batch_per_epoch=None)
    # The samplers in use have given indices to workers already.
    fresh = _build(runner, config).batch_sampler
    # The checkpoint holds no seed that all ranks share.
    if runner._randomness_cfg.get('diff_rank_seed'):
        fresh.sampler.seed = loader.batch_sampler.sampler.seed
    for name in ('batch_size', 'drop_last'):
        config.pop(name, None)
    return _build(runner, dict(
        config, sampler=None,
        batch_sampler=_Same(RemainingBatches(fresh, runner.iter))))


def _build(runner: Runner, config: dict) -> Any:
    return runner.build_dataloader(
        config, seed=runner.seed,
        diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))


class _Same:
    """Stays the same object when MMEngine copies a config."""

    def __init__(self, value: object):
        self.value = value

    def __deepcopy__(self, memo: dict) -> object:
        return self.value


class RemainingBatches(Sampler):
    """Indices of all batches after the first ones, without end.

    Args:
        batch_sampler (BatchSampler): Gives the batches of an epoch, or all.
        done (int): Batches that are left out.
    """

    def __init__(self, batch_sampler: BatchSampler, done: int):
        self.batch_sampler = batch_sampler
        self.sampler = batch_sampler.sampler
        self.done = done

    def __iter__(self) -> Iterator[list[int]]:
        return islice(self._all(), self.done, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def _all(self) -> Iterator[list[int]]:
        """Epoch after epoch, as MMEngine restarts a data loader."""
        for epoch in count():
            if epoch and hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(epoch)
            yield from self.batch_sampler
