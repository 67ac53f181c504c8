"""Reading a `created` range with several workers: an idle worker takes half of a busy one's remaining range.

Ranges are cut where the data is, not by the calendar. Both ends of a range are inclusive and ranges do not overlap, so
objects that share a second are never cut apart; inside a range a cursor walks newest first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.errors import StripeAnswerError
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.client import Page, StripeClient

WORKERS = 6
_WORTH = 200  # rows; fewer left are not worth another request in parallel


@dataclass
class _Range:
    """`reached` is how far down the walk has come; what lies between it and `low` is left."""

    low: int
    reached: int
    top: int
    rows: int = 0
    busy: bool = True

    @property
    def rows_left(self) -> float:
        """An estimate from the density seen so far."""
        return self.rows / max(1, self.top - self.reached) * (self.reached - self.low) if self.busy else 0.0


async def read_window(
    client: StripeClient,
    row: StripeObject,
    path: str,
    params: Mapping[str, Any],
    low: int,
    high: int,
    take: Callable[[Page], None],
    *,
    workers: int = WORKERS,
) -> None:
    """Call `take(page)` for every page of objects created in [low, high], in any order of pages.

    Raises what the client raises; then only some pages were taken, and the caller must not move a cursor.
    """
    ranges = [_Range(low, high, high)]
    more = asyncio.Event()  # set when the first page is there: only then is it known whether to share

    async def walk(part: _Range) -> None:
        after: str | None = None
        top = part.top
        while True:
            page = await client.page(
                row, path, {**params, "created[gte]": part.low, "created[lte]": top, "starting_after": after}
            )
            if not page.lines and after is not None:
                # More was promised after that row and nothing came: read its second again by time, without a cursor.
                after, top = None, part.reached
                continue
            if page.lines:
                take(page)
                part.rows += len(page.lines)
            last = page.heads[-1] if page.heads else None
            oldest = getattr(last, row.created_field, None)
            if not page.has_more or last is None or (oldest is not None and oldest < part.low):
                part.busy = False
                more.set()
                return
            if last.id is None or last.id == after:
                raise StripeAnswerError(f"{row.name}: {path} does not go on after {after}.", "Run again.")
            after = last.id
            part.reached = part.reached if oldest is None else min(part.reached, oldest)
            more.set()

    def steal() -> _Range | None:
        victim = max(ranges, key=lambda part: part.rows_left)
        if victim.rows_left < _WORTH:
            return None
        middle = (victim.low + victim.reached) // 2
        stolen = _Range(victim.low, middle, middle)
        victim.low = middle + 1
        ranges.append(stolen)
        return stolen

    async def work(part: _Range | None) -> None:
        while part is not None:
            await walk(part)
            part = steal()

    async def helper() -> None:
        await more.wait()
        await work(steal())

    async with asyncio.TaskGroup() as group:
        group.create_task(work(ranges[0]))
        for _ in range(workers - 1):
            group.create_task(helper())
