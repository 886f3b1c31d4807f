"""Memory that a process has freed is there for its next allocation, where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from palmist.train.memory import keep_freed_memory

PROGRAM = """
import resource, sys
import numpy as np
from palmist.train.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2**24)  # 128 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(way: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_kept_memory_is_not_asked_for_again() -> None:
    given_back, kept = page_faults("give back"), page_faults("keep")
    assert given_back > 4 * 32  # every page again: 128 MiB, in pages of 4 KiB to 2 MiB
    assert kept < given_back / 4


def test_a_c_library_without_such_a_switch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
