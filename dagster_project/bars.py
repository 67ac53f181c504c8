"""Progress of long work on the command line: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dagster_project import terminal
from dagster_project.progress import Lines, Work, duration
from dagster_project.stripe_api.governor import Governor
from dagster_project.terminal import say, table

_LINES_EVERY = 10.0  # seconds
_SUMMED_UP = 12  # objects that are named when all is done
_COLUMNS = {"rows": 9, "of": 10, "rows/s": 6, "limit": 5, "left": 7}  # and how wide they are


class Bars:
    """Progress on a terminal: a line per object that is being read, and two about all of them, always in one place.

    Elsewhere (a pipe, a log, a terminal without cursor) a line now and then. Fits `stripe_api.report.Progress`.
    """

    def __init__(self) -> None:
        self._lines = Lines(lambda line: say(f"  {line}"), every=_LINES_EVERY)
        self._tally = self._lines.tally
        self._live: Live | None = None
        if terminal.console.is_terminal and not terminal.console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._draw, console=terminal.console, refresh_per_second=4, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip

    def __enter__(self) -> Bars:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._live:
            self._lines.__exit__()
            return
        self._live.stop()
        self._sum_up()

    def start(self, name: str, total: int | None) -> None:
        self._tally.start(name, total)

    def advance(self, name: str, n: int, left: int | None = None) -> None:
        if self._live:
            self._tally.advance(name, n, left)
        else:
            self._lines.advance(name, n, left)

    def done(self, name: str, message: str) -> None:
        if not self._live:
            self._lines.done(name, message)
        elif not self._tally.done(name).is_object and message:
            terminal.console.print(f"  {name:<34} {message}")

    def watch(self, governor: Governor) -> None:
        self._lines.watch(governor)

    def _draw(self) -> Group:
        """As wide as the terminal and no higher than half of it, so that nothing scrolls."""
        active = self._tally.active()
        most = max(3, terminal.console.height // 2 - 4)
        parts: list[RenderableType] = []
        if any(work.is_object for work in active):
            parts.append(_grid([work for work in active if work.is_object][:most], terminal.console.width))
            if (more := sum(work.is_object for work in active) - most) > 0:
                parts.append(Text(f"  … and {more} more", style="dim"))
        parts += [_other(work) for work in active if not work.is_object][:3]
        overall = self._tally.overall()
        if overall.objects:
            parts.append(Text(f"  {overall.rows_text()}", no_wrap=True, overflow="ellipsis"))
        if overall.requests:
            parts.append(Text(f"  {overall.requests_text()}", style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*(parts or [Text("  starting …", style="dim")]))

    def _sum_up(self) -> None:
        """What stays on the screen: the largest objects, and all together."""
        read = [work for work in self._tally.works.values() if work.is_object and work.rows]
        if not read:
            return
        read.sort(key=lambda work: -work.rows)
        table(
            ("read", "rows", "took", "rows/s", "requests", "429s"),
            [
                (
                    work.name,
                    work.rows,
                    duration(seconds := self._tally.seconds(work)),
                    round(work.rows / max(seconds, 0.001)),
                    (asked := self._tally.requests_of(work.name))[0],
                    asked[1].total(),
                )
                for work in read[:_SUMMED_UP]
            ],
        )
        if len(read) > _SUMMED_UP:
            rest = sum(work.rows for work in read[_SUMMED_UP:])
            say(f"and {len(read) - _SUMMED_UP} more with {rest:,} rows")
        overall = self._tally.overall(over=True)
        say(f"{overall.rows_text()} in {duration(overall.seconds)}")
        if overall.requests:
            say(overall.requests_text())


def _grid(works: Sequence[Work], width: int) -> Table:
    """One row per object: bar, rows so far, of how many, per second, share of its limit, time left."""
    grid = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False)
    room = width - 2 - sum(_COLUMNS.values()) - 2 * (len(_COLUMNS) + 2)
    name = min(35, max(16, room - 8))
    bar = min(40, room - name)
    grid.add_column("", width=1)
    grid.add_column("object", width=name, no_wrap=True, overflow="ellipsis")
    if bar >= 4:
        grid.add_column("", width=bar)
    for header, wide in _COLUMNS.items():
        grid.add_column(header, width=wide, justify="right", no_wrap=True)
    for work in works:
        cells: list[RenderableType] = ["", work.name]
        if bar >= 4:
            cells.append(ProgressBar(total=work.of or 1, completed=work.rows if work.of else 0, width=bar))
        cells += [
            f"{work.rows:,}",
            f"{'~' if work.estimated else ''}{work.how_many()}" if work.of else "",
            f"{work.rate:,.0f}",
            "" if work.share is None else f"{work.share * 100:.0f} %",
            "" if work.seconds_left is None else duration(work.seconds_left),
        ]
        grid.add_row(*cells)
    return grid


def _other(work: Work) -> Text:
    """Work that reads no object: loading, the models and their tests."""
    counted = f"{work.rows:,} of {work.of:,}" if work.of and work.rows else f"{work.of:,}" if work.of else ""
    return Text(f"  {work.name:<34} {counted}", no_wrap=True, overflow="ellipsis")
