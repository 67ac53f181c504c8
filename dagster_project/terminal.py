"""What the command line shows: lines and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_WIDE = None if sys.stdout.isatty() else 200  # a pipe has no width of its own; lines must not be folded there
console = Console(highlight=False, soft_wrap=True, markup=False, width=_WIDE)  # `[bench]` is text, no markup
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


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
