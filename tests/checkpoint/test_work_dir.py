"""A work dir stands for its best checkpoint."""
import os

import pytest
import torch

from mmlowformer.checkpoint.download import local_checkpoint
from mmlowformer.errors import UserError


@pytest.mark.parametrize(('names', 'chosen'), [
    (('epoch_1.pth', 'epoch_2.pth'), 'epoch_2.pth'),
    (('best_acc_epoch_1.pth', 'epoch_2.pth'), 'best_acc_epoch_1.pth'),
    (('best_a_iter_9.pth', 'best_b_iter_4.pth'), 'best_b_iter_4.pth')])
def test_the_best_or_the_newest(names, chosen, tmp_path):
    for time, name in enumerate(names):
        torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / name)
        os.utime(tmp_path / name, (time, time))
    assert local_checkpoint(str(tmp_path)) == str(tmp_path / chosen)


def test_a_folder_without_any(tmp_path):
    with pytest.raises(UserError, match='holds neither a checkpoint'):
        local_checkpoint(str(tmp_path))
