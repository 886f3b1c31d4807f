"""Ctrl-C in a training run: finish the step, write a checkpoint, stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2.0  # seconds; a terminal's Ctrl-C may reach a process twice: from the terminal and from the parent process


class TrainingInterrupted(KeyboardInterrupt):
    """The user stopped a run; a checkpoint has been written and the message says how to go on."""


class Interrupt:
    """Remembers that the user wants to stop; a second wish, two seconds later or more, stops at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._first = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.wanted and now - self._first > _PATIENCE:
            raise KeyboardInterrupt
        if not self.wanted:
            self.wanted, self._first = True, now
        for child in multiprocessing.active_children():  # training processes, if this one only waits for them
            if child.pid is not None:
                os.kill(child.pid, signal.SIGINT)


@contextmanager
def listening() -> Iterator[Interrupt]:
    """Inside, SIGINT and SIGTERM are remembered instead of stopping the process."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # Python delivers signals to the main thread only
        return
    before: dict[int, Any] = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
