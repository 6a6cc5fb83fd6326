"""Two small tasks without text, trained through the contract alone."""

import pytest
import torch
from torch import nn

from tasks.toy import DenoisingTask, RegressionTask


@pytest.mark.parametrize("make", [RegressionTask, DenoisingTask])
def test_a_task_without_text_trains_through_the_task_interface(make):
    task = make()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    before = sum(o.score for o in task.score(model, None, "test"))
    for _, batch in zip(range(100), task.batches(seed=0)):
        loss_sum, count = task.loss(model, batch)
        (loss_sum / count).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert sum(o.score for o in task.score(model, None, "test")) < before / 4


def test_a_task_may_give_several_draws_per_example():
    outcomes = DenoisingTask(3).score(nn.Identity(), None, "test")
    assert [(o.example_id, o.draw) for o in outcomes] == [(i, d) for i in "012" for d in (0, 1)]
