"""The objects of one account in one run: what is due of each becomes requests, and pages become landed files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from dagster_project.errors import (
    StripeAnswerError,
    StripeAuthError,
    StripeError,
    StripePermissionError,
    StripeUnreachable,
)
from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.stripe_api.client import StripeClient
from dagster_project.stripe_api.due import Due, kept, may_appear
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.loading import Loader
from dagster_project.stripe_api.owed import Owed
from dagster_project.stripe_api.report import Progress, State
from dagster_project.stripe_api.sink import Sink, digest


@dataclass
class Objects:
    """`dues` are what is to be read, `sinks` where it goes, `states` how it went.

    `anchor` is Stripe's clock when the run began. `moves` False is for a range, which moves no cursor; `first` for an
    account that was never read: its events are read beside everything else. `led` are rows whose lists of other objects
    have been read.
    """

    client: StripeClient
    landing: Landing
    loader: Loader
    key: tuple[str, bool]
    progress: Progress | None
    anchor: int
    moves: bool
    first: bool
    led: set[str] = field(default_factory=set)
    dues: dict[str, Due] = field(default_factory=dict)
    sinks: dict[str, Sink] = field(default_factory=dict)
    states: dict[str, tuple[State, str]] = field(default_factory=dict)
    _held: bool = False  # nothing but events is loaded ahead: versions that they tell cost less when they are first
    _shown: dict[str, int] = field(default_factory=dict)  # rows per object that the progress has been told of

    def went_well(self, name: str) -> bool:
        """Whether nothing is wrong with an object so far."""
        return self.states.get(name, ("ok", ""))[0] == "ok"

    async def read(self, one: Due, itself: bytes | None = None) -> str:
        """Read what is due; the note that comes back says what was unusual. `itself` is the account as it was read."""
        row, sink = one.row, self.sink(one.row)
        if itself is not None:
            self.one(row, itself, "/v1/account", self.client.clock, one.known)
            try:
                return await self._owed(one, sink)
            except (StripeError, BaseExceptionGroup) as problem:
                # Only platforms have connected accounts; others may be refused the list.
                if not isinstance(reading.first_of(problem), StripeAnswerError | StripePermissionError):
                    raise
                one.owed = sink.owed = Owed()
                sink.flush()
                return "Connected accounts cannot be listed with this key."
        return await self._owed(one, sink)

    async def _owed(self, one: Due, sink: Sink) -> str:
        """Lists, and what no list shows; then the rest, which lists might have shown."""
        row, owed = one.row, one.owed
        if owed.ranges and one.cursor.get("plain"):
            owed.ranges, owed.after = [], ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listed(one, sink))
                group.create_task(reading.by_id(self.client, sink, one.single))
                group.create_task(reading.by_filter(self.client, sink, sorted(set(one.filtered.values()))))
            owed.update()
            now = int(self.client.clock.timestamp())
            rest = [id for id in owed.ids if id not in sink.nested_of]
            await reading.by_id(self.client, sink, rest, unknown=lambda id: may_appear(one, id, now))
            await sink.settle()
        finally:
            await sink.abandon()
            for other in list(self.sinks.values()):
                if other.row.parent == row.name or other.row.name in (row.leads_to or ()):
                    other.flush()
            sink.flush()
        return "no `created` filter here; read as one list" if one.cursor.get("plain") else ""

    async def _listed(self, one: Due, sink: Sink) -> None:
        owed = one.owed
        if owed.ranges:
            source = "sweep" if one.swept else "list"
            if await reading.by_window(self.client, sink, owed.ranges, source, left=owed.follow):
                one.cursor["plain"] = True
        elif owed.after is not None:
            await reading.by_chain(self.client, sink, after=owed.after, reached=owed.reach)
            owed.after = None

    async def _nested(self, row: StripeObject, child: StripeObject, parent: str, url: str) -> None:
        """A list that a row of `row` embeds or leads to."""
        found = await reading.nested(self.client, child, url)
        of = self.sink(row)
        more = {"asked": parent} if row.leads_to else {}
        self.sink(child).complete_list(parent, found, when_landed=lambda: of.list_landed(parent), **more)

    def sink(self, row: StripeObject) -> Sink:
        if row.name not in self.sinks:
            one = self.dues.get(row.name)
            sink = Sink(
                self.landing, row, *self.key,
                known=one.known if one else {},
                owed=one.owed if one else Owed(),
                cursor=lambda: kept(one) if one and self.moves else None,
                nest=lambda child, parent, url: self._nested(row, child, parent, url),
                led=self.led if row.leads_to else frozenset(),
                on_rows=lambda rows: self._show(row.name, rows),
            )  # fmt: skip
            # Events count as seen once they are loaded, so that what they announce must be known by then.
            if row.name != "events" or self.first:
                sink.on_landed = lambda: self._ahead(sink)
            self.sinks[row.name] = sink
        return self.sinks[row.name]

    def _ahead(self, sink: Sink) -> None:
        if sink.row.name == "events" or not self._held:
            self.loader.ahead(sink, last=sink.row.name in self.states)

    async def events_first(self, task: Coroutine[Any, Any, str]) -> None:
        """Read the events, of which every file is loaded at once, while other objects are read and not loaded yet."""
        self._held = True
        await self.guarded("events", task)
        self._held = False
        self.loader.ahead(self.sink(CATALOGUE["events"]), last=True)
        for sink in self.sinks.values():
            self._ahead(sink)

    def one(self, row: StripeObject, line: bytes, path: str, asked_at: datetime, known: Mapping[str, str]) -> None:
        """Land a single object unless it is as the warehouse has it. `stripe.balance` has its name for an id."""
        one = msgspec.json.decode(line).get("id") or row.name
        if known.get(one) != digest(line):
            self.sink(row).add([line], asked_at, {"path": path, "rows": 1}, "read")
        else:
            self.sink(row).unchanged.add(one)

    async def guarded(self, name: str, task: Coroutine[Any, Any, str]) -> None:
        """Run the reading of one object; its failure is its state, except what concerns the whole account."""
        began = time.monotonic()
        if self.progress:
            self.progress.start(name, None)
        try:
            note = await task
            self.states.setdefault(name, ("ok", note))
        except BaseExceptionGroup as group:
            self.failed(name, reading.first_of(group))
        except Exception as error:
            self.failed(name, error)
        self.loader.of(name).seconds += time.monotonic() - began
        # What has been read to its end is loaded while other objects are read; events are with what they announce.
        if name != "events" and name in self.sinks and self.states[name][0] == "ok":
            self._ahead(self.sinks[name])
        if self.progress:
            state, message = self.states[name]
            self.progress.done(name, "" if state == "ok" else message)

    def failed(self, name: str, error: BaseException) -> None:
        """What was landed stays and is loaded; what was not read is owed."""
        if isinstance(error, StripeAuthError | StripeUnreachable) or not isinstance(error, StripeError):
            raise error
        self.states[name] = ("not_permitted" if isinstance(error, StripePermissionError) else "failed", error.message)

    def _show(self, name: str, rows: int) -> None:
        self._shown[name] = self._shown.get(name, 0) + rows
        if self.progress and rows:
            one = self.dues.get(name)
            share = one.owed.share_left(self.anchor) if one else None
            left = None if share is None or share == 1 else round(self._shown[name] * share / (1 - share))
            self.progress.advance(name, rows, left)
