"""How a training process ends when several trained together."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing import util
from typing import Any

import torch

_kept: list[Any] = []


def leave_together(trained: Any) -> None:
    """Close the process group, or prepare to leave without closing it; nothing happens in a run of one process.

    Taking down PyTorch's gloo group can hang for ever: the network's destructor waits, with the interpreter's lock held,
    for a communication thread that waits for the same lock. Not taking it down aborts the process at its end. A
    spawned process has nothing more to do when the run is over, so it keeps `trained` alive, lets `multiprocessing`
    finish its own work, and leaves without destructors. Elsewhere the communication threads get time to come to rest.
    """
    if not torch.distributed.is_initialized():
        return
    if torch.distributed.get_backend() == "gloo":
        if multiprocessing.parent_process() is not None:
            _kept.append(trained)
            util.Finalize(None, _leave_without_destructors, exitpriority=-1000)  # after all others
            return
        time.sleep(1.0)
    torch.distributed.destroy_process_group()


def _leave_without_destructors() -> None:
    util._flush_std_streams()  # type: ignore[attr-defined]
    os._exit(0)
