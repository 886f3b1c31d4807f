"""One loss, however many processes share the batch.

In training each process holds an equal share of the global batch's rows, and gradients are averaged over the processes.
Two things would then depend on the number of processes, and a model's `loss` avoids them with the functions here:

- A *masked mean* divides by the number of known entries. The mean of the shares' masked means is not the masked mean of
  the whole batch when the shares know different numbers of entries. `masked_mean` divides by the count of the *whole*
  batch (one small all-reduce) and multiplies by the number of processes, so that the average over the processes, of
  the values and of the gradients, is exactly the masked mean of the whole batch. It works for any number of loss
  parts, each with its own mask. A plain mean over the rows needs nothing, since the shares are equal.
- *Noise* drawn for a share differs from noise drawn for the whole batch. The loop therefore puts `rows` = (first row,
  rows of the whole batch) into a shared batch: the loss draws for the whole batch, from a generator that is seeded
  alike in all processes, and keeps its own rows. A single decision for the whole batch (skip the tokens or not) may be
  drawn as it is: it is the same everywhere.

- A *contrastive* loss compares every row with every other one. `gather_rows` gives all rows of the global batch in every
  process, with a gradient that makes the average over the processes that of the whole batch.

Outside the training loop there is one process and this is the ordinary masked mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The rows of the global batch that this process holds: `rank` of `processes` equal parts.

    all_rows: concatenates the processes' rows; its backward pass sums the gradients of all processes.
    """

    rank: int = 0
    processes: int = 1
    sum_over_processes: Callable[[Tensor], Tensor] = lambda tensor: tensor
    all_rows: Callable[[Tensor], Tensor] = lambda tensor: tensor


_current = Share()


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Inside, `masked_mean` knows that the batch at hand is only a share of the global one."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before


def rows_of_share(count: int) -> slice:
    """The rows of a global batch of `count` rows that this process trains on; outside the training loop all."""
    rows = count // _current.processes
    return slice(_current.rank * rows, _current.rank * rows + rows) if _current.processes > 1 else slice(0, count)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True, over the global batch.

    Args:
        values: any shape.
        mask: bool or 0/1 weights, broadcastable to `values`. Values outside the mask may be anything, even NaN.

    Returns:
        Scalar; 0 if nothing is known anywhere.

    Example:
        >>> masked_mean(torch.tensor([1.0, 3.0, 50.0]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()  # a half-precision sum overflows, or stops counting
    weight = mask.to(values.dtype).expand_as(values)
    total = torch.where(weight > 0, values * weight, torch.zeros_like(values)).sum()
    with torch.no_grad():
        count = _current.sum_over_processes(weight.sum())
    return total * (_current.processes / count.clamp(min=1e-12).to(values.dtype))


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (b, ...) of all processes, (B, ...), in the order of the global batch.

    Every process then computes the same loss from them. The backward pass sums what all processes send back, so that the
    average over the processes is the gradient of that one loss.
    """
    return _current.all_rows(rows)
