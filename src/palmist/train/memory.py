"""What the C library does with memory that a training step has freed.

A step allocates the same large tensors as the step before. glibc gives large blocks back to the system when they are freed, and
the next step pays for every page of them again: on a CPU that was a third of the time of a step of ST-GCN++ (`palmist benchmark
speed --only training`).
"""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

# <malloc.h> of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_AHEAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for its next allocations, below 2 GiB a block; whether the C library can be told so.

    The most that the process takes stays what it was; it no longer shrinks between steps. Other systems than Linux with glibc
    are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; on Windows there is no library without a name
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _AHEAD))
    told = [mallopt(which, value) == 1 for which, value in settings]
    return all(told)
