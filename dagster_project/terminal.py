"""What the command line shows: lines, tables, and a progress bar on a terminal (plain lines elsewhere)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_WIDE = None if sys.stdout.isatty() else 200  # a pipe has no width of its own; lines must not be folded there
console = Console(highlight=False, soft_wrap=True, width=_WIDE)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """A line, at once (also into a pipe)."""
    console.print(text)
    sys.stdout.flush()


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Columns that line up; numbers to the right."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    body = [[_cell(value) for value in row] for row in rows]
    for position, header in enumerate(headers):
        numeric = bool(body) and all(_numeric(row[position]) for row in body)
        grid.add_column(header, justify="right" if numeric else "left", no_wrap=True)
    for row in body:
        grid.add_row(*row)
    console.print(grid)
    sys.stdout.flush()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _numeric(text: str) -> bool:
    """A number, possibly with a unit behind it (`12.50 USD`, `98.1 %`)."""
    return text == "–" or text.split(" ", 1)[0].replace(",", "").replace(".", "").replace("-", "").isdigit()


class Bars:
    """Progress of long work: bars on a terminal, else a line per finished object. Fits `stripe_api.sync.Progress`."""

    def __init__(self) -> None:
        self._live = console.is_terminal
        self._bars = Progress(
            TextColumn("  {task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Bars:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bars.stop()

    def start(self, name: str, total: int | None) -> None:
        self._counts.setdefault(name, 0)
        if self._live and name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)

    def advance(self, name: str, n: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + n
        if self._live and name in self._tasks:
            self._bars.advance(self._tasks[name], n)

    def done(self, name: str, message: str) -> None:
        if self._live and name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))
        if message:
            say(f"  {name:<34} {message}")
