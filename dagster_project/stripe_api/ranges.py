"""Reading `created` ranges with several workers: an idle worker takes half of a busy one's remaining range.

Ranges are cut where the data is, not by the calendar. Both ends of a range are inclusive and ranges do not overlap, so
objects that share a second are never cut apart; inside a range a cursor walks newest first. What is left of all ranges
is known at any time, so that a walk can be resumed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster_project.errors import StripeAnswerError
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.client import Page, StripeClient
from dagster_project.stripe_api.owed import FOREVER, Range, merged

WORKERS = 6
_WORTH = 200  # rows; fewer left are not worth another request in parallel
_RESTARTS = 3  # of a range whose cursor died because the row that it named was deleted


@dataclass
class _Part:
    """`reached` is how far down the walk has come; what lies between `low` and it is left."""

    low: int
    reached: int
    top: int
    rows: int = 0
    done: bool = False

    @property
    def rows_left(self) -> float:
        """An estimate from the density seen so far."""
        return 0.0 if self.done else self.rows / max(1, self.top - self.reached) * (self.reached - self.low)


async def _at_once() -> None:
    return


@dataclass
class Walk:
    """The reading of some ranges of one list. `take` gets every page, in any order; `room` is awaited before each."""

    client: StripeClient
    row: StripeObject
    path: str
    params: Mapping[str, Any]
    ranges: Iterable[Range]
    take: Callable[[Page], None]
    room: Callable[[], Awaitable[None]] = _at_once
    pages: int = 0
    _parts: list[_Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = [_Part(low, high, high) for low, high in merged(self.ranges)]  # the newest is taken first
        self._news = asyncio.Event()

    def left(self) -> list[Range]:
        """Ranges that hold every row that `take` has not been given."""
        parts = [part for part in (*self._waiting, *self._parts) if not part.done]
        return merged((part.low, part.reached) for part in parts)

    async def run(self, workers: int = WORKERS) -> None:
        """Read everything.

        Raises what the client raises, in an exception group; `left` then says what is missing. StripeAnswerError for a
        list that goes round in circles.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            part = self._waiting.pop() if self._waiting else self._steal()
            if part is not None:
                self._parts.append(part)
                await self._walk(part)
                self._parts.remove(part)
                self._tell()
            elif self._parts:
                await self._news.wait()
            else:
                return

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _steal(self) -> _Part | None:
        victim = max(self._parts, key=lambda part: part.rows_left, default=None)
        if victim is None or victim.rows_left < _WORTH:
            return None
        middle = (victim.low + victim.reached) // 2
        stolen = _Part(victim.low, middle, middle)
        victim.low = middle + 1
        return stolen

    async def _walk(self, part: _Part) -> None:
        after: str | None = None
        followed: set[str] = set()
        top, restarts = part.top, Counter[int]()
        while True:
            await self.room()
            until = top if top < FOREVER else None
            asked = {**self.params, "created[gte]": part.low, "created[lte]": until, "starting_after": after}
            page = None
            try:
                page = await self.client.page(self.row, self.path, asked)
            except StripeAnswerError as error:
                if after is None or error.status != 400 or restarts[part.reached] == _RESTARTS:
                    raise
            if after is not None and (page is None or not page.lines):
                if restarts[part.reached] == _RESTARTS:
                    raise StripeAnswerError(
                        f"{self.row.name} created until {part.reached}: {self.path} promises more after {after} and "
                        "sends nothing.",
                        "Run again; nothing was skipped.",
                    )
                # The row that the cursor names is gone, or more was promised after it and nothing came: read its
                # second again by time, without a cursor.
                restarts[part.reached] += 1
                after, top = None, part.reached
                followed.clear()
                continue
            assert page is not None
            self.pages += 1
            last = page.heads[-1] if page.heads else None
            times = [made for head in page.heads if (made := getattr(head, self.row.created_field, None)) is not None]
            if part.top == FOREVER and times:
                part.top = max(times)
            oldest = min(times, default=None)
            part.rows += len(page.lines)
            part.done = not page.has_more or last is None or (oldest is not None and oldest < part.low)
            if oldest is not None:
                part.reached = min(part.reached, max(oldest, part.low))
            if page.lines:
                self.take(page)
            self._tell()
            if part.done or last is None:
                return
            if last.id in followed:
                raise StripeAnswerError(
                    f"{self.row.name} created in [{part.low}, {until or 'now'}]: {self.path} goes round in circles "
                    f"after {last.id}.",
                    "Run again; nothing was skipped.", request_id=str(page.request.get("request_id") or ""),
                )  # fmt: skip
            after = last.id
            followed.add(last.id)
