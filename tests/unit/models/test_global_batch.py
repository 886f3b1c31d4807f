from __future__ import annotations

import torch

from palmist.models.global_batch import Share, masked_mean, sharing


def test_masked_mean_ignores_what_is_unknown() -> None:
    values = torch.tensor([[1.0, float("nan")], [3.0, 5.0]], requires_grad=True)
    mean = masked_mean(values, torch.tensor([[True, False], [True, False]]))
    mean.backward()
    assert mean.item() == 2.0
    assert values.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_masked_mean_of_nothing_is_zero_and_of_rows_broadcasts() -> None:
    assert masked_mean(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).item() == 0
    values = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    assert masked_mean(values, torch.tensor([[True], [False]])).item() == 1.5


def test_masked_mean_in_half_precision_does_not_overflow() -> None:
    values = torch.full((300_000,), 2.0, dtype=torch.float16)
    assert masked_mean(values, torch.ones(300_000, dtype=torch.bool)).item() == 2.0


def test_the_average_over_shares_is_the_mean_of_the_whole() -> None:
    torch.manual_seed(0)
    values = torch.randn(6, 4, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([4, 4, 3, 1, 0, 0]).unsqueeze(1)
    whole = values[mask].mean()
    count = mask.sum().double()
    shares = []
    for rank in range(2):
        with sharing(Share(rank, 2, sum_over_processes=lambda own: count)):
            shares.append(masked_mean(values[rank * 3 : rank * 3 + 3], mask[rank * 3 : rank * 3 + 3]))
    torch.testing.assert_close(torch.stack(shares).mean(), whole)
    naive = torch.stack([values[:3][mask[:3]].mean(), values[3:][mask[3:]].mean()]).mean()
    assert abs(naive - whole) > 1e-2  # what the function is for
    assert masked_mean(values, mask) == whole  # outside `sharing` again one of one
