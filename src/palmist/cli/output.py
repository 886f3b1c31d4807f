"""What the command line prints: tables on stdout, everything else on stderr, JSON files, exit codes.

Exit codes: 0 done, 2 the user's input is wrong (one sentence on stderr), 1 our fault, 130 stopped by the user.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from palmist.errors import InputError
from palmist.files.whole_file import write_whole

if TYPE_CHECKING:
    from palmist.evaluation.benchmark_record import BenchmarkRecord

P = ParamSpec("P")
R = TypeVar("R")

#: Errors of the operating system that come from what the user asked for: a path, a full disk.
_USER_ERRNO = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EROFS,
    errno.ENAMETOOLONG, errno.EINVAL,
}  # fmt: skip


def console(json_target: str | None = None) -> Console:
    """Where tables go: stdout, or stderr while stdout is taken by `--json -`."""
    return Console(stderr=json_target == "-", highlight=False)


def log_console() -> Console:
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """A remark on stderr."""
    log_console().print(escape(message), soft_wrap=True)


def fail(message: str, code: int) -> typer.Exit:
    """Print an error sentence on stderr and return the exit to raise."""
    log_console().print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)
    return typer.Exit(code)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a command raises into one sentence on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except InputError as error:
            raise fail(str(error), 2) from error
        except KeyboardInterrupt as error:
            raise fail(str(error) or "stopped", 130) from error
        except BrokenPipeError:  # the reader of our output, such as head, has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _USER_ERRNO and error.filename:
                sentence = f"{error.filename}: {(error.strerror or 'cannot be used').lower()}; give another path"
                raise fail(sentence, 2) from error
            if type(error).__module__.startswith(("typer", "click")):
                raise  # a usage error, which typer prints with the usage
            if os.environ.get("PALMIST_DEBUG") == "1":
                traceback.print_exc()
            hint = "" if os.environ.get("PALMIST_DEBUG") == "1" else "; run it again with PALMIST_DEBUG=1 to see where"
            raise fail(f"this is a fault of Palmist ({type(error).__name__}: {error}){hint}", 1) from error

    return run


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Our own warnings (a cut store) as one line; those of other packages only for debugging."""
    if category is UserWarning or os.environ.get("PALMIST_DEBUG") == "1":
        log_console().print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)


def write_json(target: str | None, value: Any) -> None:
    """Write `--json FILE` ("-": stdout). Strict JSON: no NaN."""
    if target is None:
        return
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=None if _is_large(value) else 2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def _is_large(value: Any) -> bool:
    """Readings hold thousands of coordinates, one per line would be unreadable anyway."""
    entries = value if isinstance(value, list) else value.get("readings", ()) if isinstance(value, dict) else ()
    return any(isinstance(entry, dict) and "observed" in entry for entry in entries)


def table(title: str | None, *columns: tuple[str, str]) -> Table:
    """An empty table; columns are (heading, "left" | "right")."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_edge=False,
        pad_edge=False,
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    for heading, side in columns:
        made.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    return made


def records_table(records: Sequence[BenchmarkRecord]) -> Table:
    """Benchmark records: name, value with interval, unit, n."""
    made = table(None, ("measured", "left"), ("value", "right"), ("95 % interval", "right"), ("unit", "left"), ("n", "right"))
    for record in records:
        interval = "" if record.interval is None else f"{record.interval[0]:.4g} … {record.interval[1]:.4g}"
        made.add_row(escape(record.name), f"{record.value:.4g}", interval, record.unit, str(record.n))
    return made


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr that goes away when it is done; yields a function to call after each item.

    Without a terminal (a log file) it shows nothing.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=log_console(), transient=True) as bar:
        task = bar.add_task(escape(what), total=total)

        def advance(name: str = "") -> None:
            bar.update(task, advance=1, description=escape(f"{what} {name}".rstrip()))

        yield advance


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on stderr while something of unknown length runs."""
    with log_console().status(escape(what)):
        yield
