"""Reading one account (or connected account) into the warehouse.

Events come first and are loaded with what they announce, so that nothing slips in between; then every object by what is
due of it; then what the loaded rows show; the balance last, so that it fits the balance transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import duckdb
import msgspec

from dagster_project.errors import (
    StripeAnswerError,
)
from dagster_project.settings import Settings
from dagster_project.stripe_api import feed, reading
from dagster_project.stripe_api.allocation import record
from dagster_project.stripe_api.catalog import CATALOGUE, EVENT_RETENTION_DAYS, StripeObject
from dagster_project.stripe_api.client import connect
from dagster_project.stripe_api.due import Due, appeared, due, kept, overlap, prepared, whole
from dagster_project.stripe_api.governor import SharedPace, endpoint_of
from dagster_project.stripe_api.identity import identify
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.stripe_api.loading import Loader, Part
from dagster_project.stripe_api.objects import Objects
from dagster_project.stripe_api.owed import FOREVER, Owed, Range
from dagster_project.stripe_api.report import ObjectReport, Progress, SyncReport
from dagster_project.stripe_api.scheduling import Reading
from dagster_project.stripe_api.sink import digest
from dagster_project.stripe_api.standing import (
    asked,
    events_since,
    fingerprints,
    known_ids,
    named,
    parents_to_ask,
    rows_by_rule,
    unseen,
)
from dagster_project.warehouse.state import (
    Cursor,
    cursors_of,
    forget_gaps,
    record_account,
    record_gap,
    record_object_state,
    write_cursor,
)

T = TypeVar("T")
Announced = tuple[str | None, bytes]  # whose event it is, where that is known, and its body

# Files of events, the cursor of events that holds once they are loaded, and those of objects with what they owe then.
Heard = tuple[list[Batch], dict[tuple[str, bool], Cursor], list[tuple[str, tuple[str, bool], Cursor]]]

_DAY = 86_400
_BALANCE_READINGS = 3
# A list that is also asked for each row of another one has the most requests: these two are read longest.
_LONGEST = frozenset(one for row in CATALOGUE.values() for target in row.leads_to or () for one in (row.name, target))
_SAFETY = 1  # days before Stripe forgets events, so that the oldest can still be read


class AccountReader:
    """One account in one run. `waiting` are event files that an interrupted run landed, `announced` are events that
    webhooks brought: both count like events that are polled now. `taken` are the accounts and modes that are read in
    this run: nobody is read twice."""

    def __init__(
        self, settings: Settings, landing: Landing, loader: Loader, which: Reading, report: SyncReport,
        progress: Progress | None, *, waiting: Sequence[Batch] = (), announced: Sequence[Announced] = (),
        taken: set[tuple[str, bool]] | None = None, several: bool = False,
    ) -> None:  # fmt: skip
        self.settings, self.landing, self.loader = settings, landing, loader
        self.account, self.connected, self.label = which.account, which.connected, which.label
        self.taken, self.several = set() if taken is None else taken, several
        self.report, self.progress, self.waiting, self.announced = report, progress, waiting, announced
        self.marks: feed.Dirty = {}
        self.heard: Heard | None = None
        self.busy: frozenset[str] = frozenset()  # objects that are being read, and so not loaded to their end
        self.gap: int | None = None  # until when the changes before a gap in the feed are known
        self.governor = SharedPace(which.governor)
        self.identified = False

    async def run(self, names: Sequence[str], *, full: bool, created: tuple[int, int] | None) -> None:
        """Read and load `names`; `full` forgets what is known, `created` limits it to a range and moves no cursor.

        Raises StripeAuthError and StripeUnreachable, which concern the whole account; WarehouseError, LandingError.
        """
        async with connect(self.settings, self.account, self.governor, connected=self.connected) as client:
            self.client = client
            try:
                await self._run(names, full=full, created=created)
            except BaseExceptionGroup as group:
                raise reading.first_of(group) from group
            finally:
                if self.identified:
                    await self.loader.ask(self._record_requests)

    async def _run(self, names: Sequence[str], *, full: bool, created: tuple[int, int] | None) -> None:
        self.identity = await identify(self.client, self.account, self.connected)
        if self.key in self.taken:
            mode = "live" if self.identity.livemode else "test"
            raise StripeAnswerError(
                f"{self.identity.account_id} ({mode}) is read through another key already.",
                "Take one of them out of LEDGERLINE_ACCOUNTS.",
            )
        self.taken.add(self.key)
        self.identified = True
        self.governor.in_mode(self.identity.livemode)
        self.report.accounts.append(self.identity.account_id)
        self.moves, self.anchor = created is None, self.now
        self.cursors = await self.loader.ask(lambda con: cursors_of(con, CATALOGUE, *self.key))
        self.marks = self.cursors.get("events", {}).get("marks", {})
        self.objects = Objects(
            self.client, self.landing, self.loader, self.key, self.progress, self.anchor, self.moves,
            first=not self.cursors,
        )  # fmt: skip
        if self.identity.balance_error:
            self.objects.failed("balance", self.identity.balance_error)
        known = {} if full else self._without_gaps(self.cursors)
        if self.gap is not None:
            since = self.gap
            await self.loader.ask(lambda con: record_gap(con, self.key, since, self.now))
        everything = set(names) >= set(CATALOGUE)
        if "events" in names and not self.objects.first:
            known = await self._events(known, everything=everything)
        listed = [
            CATALOGUE[name] for name in names if CATALOGUE[name].strategy in ("window", "chain") and name != "events"
        ]
        await self.loader.ask(lambda con: self._prepare(con, listed, known, created))
        async with asyncio.TaskGroup() as group:
            if self.heard:  # the first in the warehouse's queue
                group.create_task(self.loader.load("events", *self.heard))
            if known:
                group.create_task(self._lists(listed))
            else:
                group.create_task(self._everything(names, listed, everything=everything))
        if "balance" in names and "balance" not in self.objects.states:
            await self.objects.guarded("balance", self._balance(follow="balance_transactions" in names))
        await self._shown_by_rows(names if known else [name for name in names if name in _LONGEST])
        await self._load(lambda con: self._finish(con, names))
        for name in self.objects.sinks if self.progress else ():
            if self.progress and CATALOGUE[name].strategy == "children":
                self.progress.done(name, "")

    async def _lists(self, rows: Iterable[StripeObject]) -> None:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                itself = self.identity.account if row.name == "accounts" else None
                group.create_task(
                    self.objects.guarded(row.name, self.objects.read(self.objects.dues[row.name], itself))
                )

    async def _everything(self, names: Sequence[str], rows: Sequence[StripeObject], *, everything: bool) -> None:
        """All lists from their start. What takes longest goes on while others, and what they show, are read."""
        self.busy = _LONGEST
        for name in ("events", *_LONGEST):
            self.governor.first.add(endpoint_of(CATALOGUE[name].path or ""))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lists(row for row in rows if row.name in _LONGEST))
            async with asyncio.TaskGroup() as others:
                if "events" in names and self.objects.first:
                    others.create_task(self._first_events(everything=everything))
                others.create_task(self._lists(row for row in rows if row.name not in _LONGEST))
            await self._announced()
            await self._shown_by_rows([name for name in names if name not in _LONGEST])
        self.busy = frozenset()

    @property
    def key(self) -> tuple[str, bool]:
        return self.identity.account_id, self.identity.livemode

    @property
    def now(self) -> int:
        """Stripe's clock, in Unix seconds."""
        return int(self.client.clock.timestamp())

    @property
    def _start(self) -> int:
        return self.settings.start or max(0, self.identity.created - _DAY)

    def _without_gaps(self, cursors: dict[str, Cursor]) -> dict[str, Cursor]:
        """Where the change feed cannot tell what happened, objects count as never read."""
        followed = cursors.get("events")
        if followed is None:
            return _only_without_events(cursors)
        days = EVENT_RETENTION_DAYS - _SAFETY
        if self.now - followed["until"] > days * _DAY:
            self.report.problems.append(
                f"account {self.label}: the last reading is more than {days} days ago, longer than "
                "Stripe keeps events. Everything is read again."
            )
            self.gap = int(followed["until"])
            return {}
        return cursors

    # ---- events ----------------------------------------------------------------------------------------------
    async def _events(self, known: dict[str, Cursor], *, everything: bool) -> dict[str, Cursor]:
        """Land what is new; the cursors that hold then. What it announces is owed, and `heard` is to be loaded with it
        before anything that is read because of it."""
        cursor = known.get("events")
        low = cursor["until"] - feed.OVERLAP if cursor else self.anchor - EVENT_RETENTION_DAYS * _DAY
        news = await self._news(low)
        await self.objects.guarded("events", self._poll(news, low))
        failed = not self.objects.went_well("events")
        self.marks = news.marks
        if news.touched:
            await self.loader.ask(lambda con: self._touch(con, news))
        for name in news.marks.keys() & self.cursors.keys():
            owed = Owed.read(self.cursors[name].get("owed"))
            owed.ids.update(news.marks[name])
            self.cursors[name] = {**self.cursors[name], "owed": owed.kept()}
        for name in news.appeared & self.cursors.keys():
            self.cursors[name] = appeared(CATALOGUE[name], self.cursors[name])
        told = (news.marks.keys() | news.appeared) & self.cursors.keys()
        moved = [(name, self.key, self.cursors[name]) for name in sorted(told)]
        # A run for some objects follows no change of the others, so that it must not move the cursor of the events.
        until: dict[tuple[str, bool], Cursor] = {}
        if everything and not failed and self.moves:
            unread = {name: ids for name, ids in news.marks.items() if name not in self.cursors}
            until = {self.key: _followed(self.anchor, unread)}
        batches, news.sink.batches = news.sink.batches, []
        self.heard = batches, until, moved
        if failed and self.cursors:
            return _only_without_events({name: self.cursors[name] for name in known})
        return {name: self.cursors[name] for name in known}

    async def _news(self, low: int) -> feed.News:
        """What listens to events from `low` on, and was told already of those that an interrupted run landed."""
        row = CATALOGUE["events"]
        sink = self.objects.sink(row)
        self._asks_for("events", [(low, FOREVER)])
        seen = await self.loader.ask(lambda con: events_since(con, self.key, low))
        began = min((cursor["listed"] for cursor in self.cursors.values() if "listed" in cursor), default=self.anchor)
        followed = "events" in self.cursors
        news = feed.News(sink, seen, began - overlap(row), first=not followed, marks=self.marks)
        sink.batches += [batch for batch in self.waiting if (batch.account_id, batch.livemode) == self.key]
        for batch in sink.batches:
            news.mark(batch.lines())
        return news

    async def _first_events(self, *, everything: bool) -> None:
        """The events of an account that was never read, while its other objects are."""
        low = self.anchor - EVENT_RETENTION_DAYS * _DAY
        news = await self._news(low)
        await self.objects.events_first(self._poll(news, low))
        if everything and self.objects.went_well("events") and self.moves:
            await self.loader.load("events", [], {self.key: _followed(self.anchor, self.marks)}, [])

    async def _announced(self) -> None:
        """Read what events announced while lists were read, and no list showed."""

        def look(con: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
            ids = {name: self.marks[name].keys() for name in self.marks.keys() & self.objects.dues.keys() - self.busy}
            return {name: ids[name] - known_ids(con, CATALOGUE[name], self.key, ids[name]) for name in ids}

        if not (self.objects.first and self.marks and self.moves):
            return
        late = []
        for name, ids in (await self._load(look)).items():
            one = self.objects.dues[name]
            one.owed.ids |= {id: self.marks[name][id] for id in ids}
            one.missing |= ids
            if ids and self.objects.went_well(name):
                late.append(CATALOGUE[name])
        await self._lists(late)

    def _touch(self, con: duckdb.DuckDBPyConnection, news: feed.News) -> None:
        """Rows that may have changed because of what events tell of other objects."""
        for name, touched in news.touched.items():
            row = CATALOGUE[name]
            if row.open_sql:
                found = rows_by_rule(con, row, self.key, row.open_sql, self.anchor, touched=touched)
                news.marks.setdefault(name, {}).update(found)

    async def _poll(self, news: feed.News, low: int) -> str:
        mine: set[str | None] = {self.connected} if self.connected else {self.account.name, self.identity.account_id}
        if not self.connected and len(self.settings.accounts()) == 1:
            mine.add(None)
        bodies = [body for account, body in self.announced if account in mine]
        news.brought(bodies, self.identity.livemode, self.client.clock)
        try:
            return await reading.by_window(self.client, news, [(low, FOREVER)], "event")
        finally:
            news.sink.flush()

    # ---- objects ---------------------------------------------------------------------------------------------
    def _prepare(
        self, con: duckdb.DuckDBPyConnection, listed: Iterable[StripeObject], known: Mapping[str, Cursor],
        created: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        self.balance = fingerprints(con, CATALOGUE["balance"], self.key, None, ())
        now = self.identity.balance
        # Whatever changes the balance is a balance transaction, most of which have no event near them.
        moved = now is None or self.balance.get("balance") != digest(now)
        for row in listed:
            cursor = known.get(row.name)
            if created is not None and row.strategy == "window":  # lists without the filter are read whole
                one = Due(row, {}, Owed([(created[0], created[1] - 1)]))
            elif cursor is None or "high" not in cursor:
                before = self.cursors.get(row.name)
                one = whole(row, self.anchor, self._start, Owed.read(before.get("owed")) if before else None)
                one.owed.ids |= self.marks.get(row.name, {}) if self.moves else {}
            else:
                one = due(
                    row, cursor, self.anchor, self._start, moved=moved and row.name == "balance_transactions"
                )  # fmt: skip
            self.objects.dues[row.name] = prepared(con, one, self.key, self.anchor)
            self._asks_for(row.name, one.owed.ranges)
        # Which balance transactions a payout settled: https://docs.stripe.com/payouts/reconciliation
        self.objects.led = asked(con, "balance_transactions", self.key)
        moves = self.objects.dues.get("balance_transactions")
        self.quiet = not moved and moves is not None and not moves.owed.kept()

    def _asks_for(self, name: str, ranges: Iterable[Range]) -> None:
        """Note in the report which `created` are listed."""
        row = self.loader.of(name)
        for low, high in ranges:
            first, last = (datetime.fromtimestamp(min(end, self.anchor), UTC) for end in (low, high))
            row.read_from = min(row.read_from or first, first)
            row.read_until = max(row.read_until or last, last)

    async def _balance(self, *, follow: bool) -> str:
        """Read last, and again with the newest balance transactions until nothing moves in between."""
        row, moves = CATALOGUE["balance"], CATALOGUE["balance_transactions"]
        last = self.identity.balance
        if self.quiet and last is not None:  # it is as it was when the balance transactions were read
            self.objects.one(row, last, "/v1/balance", self.client.clock, self.balance)
            return ""
        for reading_number in range(_BALANCE_READINGS):
            asked_at = self.client.clock
            now = msgspec.json.format((await self.client.get("/v1/balance")).body, indent=-1)
            if now == last or reading_number == _BALANCE_READINGS - 1:
                break
            last = now
            if follow and self.objects.went_well(moves.name):
                await reading.by_window(
                    self.client, self.objects.sink(moves), [(self.anchor - overlap(moves), FOREVER)]
                )
                self.objects.sink(moves).flush()
        self.objects.one(row, now, "/v1/balance", asked_at, self.balance)
        self.objects.sink(row).flush()
        return ""

    # ---- what the loaded rows show ---------------------------------------------------------------------------
    async def _shown_by_rows(self, names: Sequence[str]) -> None:
        """Children of parents that show that they have some, rows that a list lacked, and rows that none shows."""
        wanted, gone, missing = await self._load(lambda con: self._look(con, names))

        async def done(what: Coroutine[Any, Any, None]) -> str:
            await what
            return ""

        async def absent(name: str, ids: list[str]) -> str:
            sink = self.objects.sink(CATALOGUE[name])
            await reading.by_id(self.client, sink, ids)
            await sink.settle()
            sink.flush()
            self.objects.dues[name].cursor.pop("whole", None)
            return ""

        async def name_alone(name: str, ids: list[str]) -> str:
            sink = self.objects.sink(CATALOGUE[name])
            await reading.by_id(self.client, sink, ids)
            await sink.settle()
            for id in ids:
                sink.add([], self.client.clock, {"path": f"{sink.row.path}/{id}", "rows": 0, "asked": id}, "read")
            sink.flush()
            self.objects.dues[name].cursor["named"] = self.anchor
            return ""

        async with asyncio.TaskGroup() as group:
            for name, ids in missing.items():
                group.create_task(self.objects.guarded(name, name_alone(name, ids)))
            for name, parents in wanted.items():
                sink = self.objects.sink(CATALOGUE[name])
                group.create_task(self.objects.guarded(name, done(reading.of_parents(self.client, sink, parents))))
            for name, ids in gone.items():
                group.create_task(self.objects.guarded(name, absent(name, ids)))

    def _look(
        self, con: duckdb.DuckDBPyConnection, names: Sequence[str]
    ) -> tuple[dict[str, list[tuple[str, str, dict[str, Any]]]], dict[str, list[str]], dict[str, list[str]]]:
        self._record_account(con)  # `parents_sql` may ask until when the account is known
        wanted, gone = {}, {}
        for row in (CATALOGUE[name] for name in names):
            if row.strategy == "per_parent" and row.parents_sql:
                if parents := parents_to_ask(con, row, self.key, self.now):
                    wanted[row.name] = parents
                else:
                    self.objects.states.setdefault(row.name, ("ok", ""))
            one = self.objects.dues.get(row.name)
            if one and "whole" in one.cursor and self.objects.went_well(row.name):
                ids = []
                if row.tombstone and row.retrieve and self.moves:
                    unchanged = self.objects.sink(row).unchanged
                    ids = unseen(con, row, self.key, unchanged, one.cursor["listed"], self._start)
                gone[row.name] = ids
        return wanted, gone, self._named(con, names) if self.moves else {}

    def _named(self, con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, list[str]]:
        """Rows that other rows name and no list shows. Once a day the time from which on they are looked for moves."""
        found = {}
        for row in (CATALOGUE[name] for name in names if CATALOGUE[name].named_sql):
            cursor = self.objects.dues[row.name].cursor
            since = cursor.get("named", 0)
            if not self.objects.went_well(row.name):
                continue
            if ids := named(con, row, self.key, since):
                found[row.name] = ids
            elif self.anchor - since > _DAY:
                cursor["named"] = self.anchor
        return found

    # ---- loading ---------------------------------------------------------------------------------------------
    async def _load(self, then: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Everything landed since the last call, with the cursors of what is read to its end; then something more."""
        return await self.loader.finish(self.key, list(self._landed()), then)

    def _landed(self) -> Iterator[Part]:
        for name in (name for name in CATALOGUE if name not in self.busy):
            sink, one = self.objects.sinks.get(name), self.objects.dues.get(name)
            batches = sink.batches if sink else []
            if sink:
                sink.batches = []
            cursor = kept(one) if one and self.moves else None
            unread = one is not None and name not in self.cursors and not batches and not self.objects.went_well(name)
            if batches or (cursor is not None and cursor != self.cursors.get(name)):
                yield name, batches, {self.key: cursor} if cursor is not None and not unread else {}

    def _record_account(self, con: duckdb.DuckDBPyConnection) -> None:
        who = self.identity
        made = datetime.fromtimestamp(who.created, UTC) if who.created else None
        until = datetime.fromtimestamp(self.now, UTC)
        record_account(con, *self.key, who.name, who.country, who.currency, made, until)

    def _record_requests(self, con: duckdb.DuckDBPyConnection) -> None:
        through = self.account.name if self.connected else None
        record(con, self.key, self.client.clock, self.governor, through)

    def _forget_marks(self, con: duckdb.DuckDBPyConnection) -> None:
        """What events announced of an object is owed by the object itself once it has a cursor."""
        cursors = cursors_of(con, CATALOGUE, *self.key)
        followed = cursors.get("events", {})
        if marks := followed.get("marks"):
            unread = {name: ids for name, ids in marks.items() if name not in cursors}
            write_cursor(con, "events", *self.key, _followed(followed["until"], unread))

    def _finish(self, con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
        if self.moves:
            read = [
                name for name, one in self.objects.dues.items() if self.objects.went_well(name) and not one.owed.kept()
            ]
            forget_gaps(con, self.key, read)
        self._forget_marks(con)
        moment = datetime.fromtimestamp(self.now, UTC)
        self._record_account(con)
        record_object_state(
            con,
            [(*self.key, name, *self.objects.states[name], moment) for name in names if name in self.objects.states],
        )
        for name, (state, message) in self.objects.states.items():
            row = self.report.objects.setdefault(name, ObjectReport(name))
            if state in ("not_permitted", "failed"):
                # Of several accounts, what failed weighs more than what is not permitted.
                if row.state != "failed":
                    row.state = state
                told = f"{self.label}: {message}" if self.several else message
                row.message = f"{row.message}; {told}" if row.message else told
                self.report.problems.append(f"{name} ({self.label}): {message}")
            elif message and row.state in ("ok", "unchanged"):
                row.state, row.message = "ok", message
        earliest = self.report.synced_until
        self.report.synced_until = moment if earliest.year == 1970 else min(earliest, moment)


def _followed(until: int, marks: feed.Dirty) -> Cursor:
    """The cursor of events, with what they announced of objects that have no cursor yet."""
    return {"until": until, "marks": marks} if marks else {"until": until}


def _only_without_events(cursors: dict[str, Cursor]) -> dict[str, Cursor]:
    """Without the change feed, only objects that never had events are known to be as they were."""
    return {name: cursor for name, cursor in cursors.items() if not CATALOGUE[name].events}
