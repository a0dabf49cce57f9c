"""What a user sees while weights are fetched: rich's bar, or plain lines on stderr where the ears are without rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nebula_tune.words import printable

if TYPE_CHECKING:
    from rich.console import Console


def usual_console() -> Console | None:
    """Rich's, on stderr; None where there is no rich."""
    try:
        from nebula_tune.terminal import plain_console
    except ModuleNotFoundError:
        return None
    return plain_console(stderr=True)


def tell(console: Console | None, text: str) -> None:
    """A line for the user: on the console, or on stderr where there is none."""
    if console is None:
        print(printable(text), file=sys.stderr, flush=True)
        return
    from nebula_tune.terminal import say

    say(console, text)


@contextmanager
def waiting(console: Console | None, text: str) -> Iterator[None]:
    """Says what is waited for while inside."""
    if console is None:
        tell(console, text)
        yield
        return
    with console.status(text):
        yield


@contextmanager
def bar(console: Console | None, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of so many bytes (None: nobody knows), called ``label``; it is told how many are done."""
    if console is None:
        tell(console, f"fetching {label}")
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from nebula_tune.terminal import plain_text

    columns = (
        plain_text("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
