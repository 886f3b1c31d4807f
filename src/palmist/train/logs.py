"""What a run tells while it trains: a JSON line per entry, TensorBoard if wanted, a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from palmist.checkpoint import write_text

LOG_FILE = "log.jsonl"


class RunLog:
    """Writes RUN/log.jsonl, RUN/tensorboard and the progress bar; in processes other than the first it does nothing.

    Entries: {"step", "split" ("train" or "validation"), "loss", "parts" {name: value}}, and for "train" also
    "learning_rate" and "windows_per_second".
    Steps count from 1. On resuming, entries after the resumed step are removed, so that no step is there twice.
    """

    def __init__(self, run: Path, start: int, steps: int, tensorboard: bool, active: bool) -> None:
        self.active = active
        self._writer: Any = None
        self._bar: Progress | None = None
        if not active:
            return
        file = run / LOG_FILE
        keep = [line for line in _whole_lines(file) if json.loads(line)["step"] <= start]
        write_text(file, "".join(line + "\n" for line in keep))
        self._file = file.open("a", encoding="utf-8")
        if tensorboard:
            self._writer = _tensorboard_writer(run / "tensorboard", start)
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._row = self._bar.add_task("training", total=steps, completed=start, news="")
        self._bar.start()

    def entry(self, step: int, split: str, loss: float, parts: Mapping[str, float], **facts: float) -> None:
        """One log entry."""
        if not self.active:
            return
        record = {"step": step, "split": split, "loss": loss, "parts": dict(parts), **facts}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in {"loss": loss, **parts, **facts}.items():
                self._writer.add_scalar(f"{split}/{name}", value, step)
        assert self._bar is not None
        speed = f"  {facts['windows_per_second']:.0f} windows/s" if "windows_per_second" in facts else ""
        text = f"{split} loss {loss:.4g} ({', '.join(f'{name} {value:.3g}' for name, value in parts.items())}){speed}"
        if split == "train":
            self._bar.update(self._row, news=text)
        else:
            self._console.print(f"step {step}: {text}", highlight=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """Move the progress bar."""
        if self._bar is not None:
            self._bar.update(self._row, completed=step)

    def say(self, text: str) -> None:
        """One line for the user, on stderr."""
        if self.active:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """Close the files and leave the terminal as it was."""
        if not self.active:
            return
        assert self._bar is not None
        self._bar.stop()
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def _whole_lines(file: Path) -> list[str]:
    """The lines that are whole JSON; a killed run may leave half a line at the end."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    whole = []
    for line in lines:
        try:
            json.loads(line)
        except ValueError:
            continue
        whole.append(line)
    return whole


def _tensorboard_writer(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("TensorBoard is not installed (pip install 'palmist[train]'); logging to log.jsonl only", file=sys.stderr)
        return None
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)
