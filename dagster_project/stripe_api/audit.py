"""The warehouse compared with Stripe, object by object, by what Stripe answers now; what differs can be repaired.

Stripe is listed again, and every row must be in the warehouse with the same content, in its payload and in its columns.
Each reading is entered in the ledger of proofs. Rows that an event announces which was not loaded yet are on their way
and no difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import duckdb

from dagster_project.errors import StripeAnswerError, StripeError, StripePermissionError, UsageError
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api import feed, proof, reading
from dagster_project.stripe_api.allocation import record
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject, get
from dagster_project.stripe_api.client import connect
from dagster_project.stripe_api.comparing import Collector
from dagster_project.stripe_api.differing import Finding, judge
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.identity import identify
from dagster_project.stripe_api.landing import Landing
from dagster_project.stripe_api.repair import repair
from dagster_project.stripe_api.report import Progress
from dagster_project.stripe_api.rereading import prepare, reread
from dagster_project.stripe_api.scheduling import everyone
from dagster_project.stripe_api.standing import parents_to_ask
from dagster_project.warehouse import days
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure
from dagster_project.warehouse.state import read_cursors

BUDGET = 500  # requests of a sample
_AT_ONCE = 4  # objects; as many endpoints as Stripe's limits let work side by side
_SMALL = 5_000  # rows; of objects with fewer the warehouse is asked at one go
_FRUGAL = "set memory_limit = '300MB'; set threads = 1; set preserve_insertion_order = false"
_ENTER = 30.0  # seconds between entries in the ledger
_DAY = 86_400
_T = TypeVar("_T")


@dataclass
class Difference:
    """`what` says in words how the warehouse and Stripe differ on one object; `repaired` that they no longer do."""

    object: str
    account_id: str
    id: str
    what: str
    repaired: bool = False


@dataclass
class AuditReport:
    """`compared` counts the rows that Stripe showed, children included; `days` are those with rows, `proven` those of
    them that a second reading has proven, by now; `open` tells it by object."""

    differences: list[Difference] = field(default_factory=list)
    compared: int = 0
    requests: int = 0
    days: int = 0
    proven: int = 0
    open: dict[str, int] = field(default_factory=dict)

    @property
    def remaining(self) -> list[Difference]:
        """Differences that were not repaired."""
        return [one for one in self.differences if not one.repaired]


def audit(
    settings: Settings,
    warehouse: Warehouse,
    *,
    full: bool,
    objects: Sequence[str] | None = None,
    mend: bool = False,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> AuditReport:
    """Compare everything (`full`), or the days whose proof is oldest, as many as `budget` requests per account reach.

    `mend` reads what differs again, loads it and compares it again.

    Raises UsageError for an unknown object or a warehouse that was never filled, StripeError when Stripe cannot be
    read. An object that cannot be read is a difference, unless the last refresh has reported it already.
    """
    names = [get(name).name for name in objects] if objects else list(CATALOGUE)
    if not warehouse.build.exists():
        raise UsageError("There is no warehouse to compare.", "Run `ledgerline backfill`.")
    report = AuditReport()
    with warehouse.connect(wait=60) as con:
        con.execute(_FRUGAL)
        ensure(con)
        days.update(con)
    for account in settings.accounts():
        for connected in asyncio.run(everyone(settings, account)):
            one = _AccountAudit(settings, warehouse, account, connected, report, progress)
            asyncio.run(one.run(names, budget=None if full else budget, mend=mend))
    return report


class _AccountAudit:
    def __init__(
        self, settings: Settings, warehouse: Warehouse, account: Account, connected: str | None, report: AuditReport,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.settings, self.warehouse, self.account, self.connected = settings, warehouse, account, connected
        self.report, self.progress = report, progress
        self.desk = asyncio.Lock()  # the warehouse is opened once at a time
        self.entries: list[proof.Entry] = []
        self.entered = time.monotonic()

    async def run(self, names: Sequence[str], *, budget: int | None, mend: bool) -> None:
        governor = Governor.of(self.settings, self.account)
        async with connect(self.settings, self.account, governor, connected=self.connected) as client:
            self.client = client
            identity = await identify(client, self.account, self.connected)
            governor.in_mode(identity.livemode)
            self.key = (identity.account_id, identity.livemode)
            try:
                units = await self.ask(lambda con: self._units(con, names, budget))
                found = await self._compare(units, set(names))
                if found:
                    found = await self._still(found)
                self._report(found, set())
                if found and mend:
                    await self._mend(found, set(names))
            except BaseExceptionGroup as group:
                raise reading.first_of(group) from group
            finally:
                await self.ask(self._record_requests, write=True)
        self.report.requests += sum(governor.requests.values())
        share = await self.ask(lambda con: proof.share(con, self.key))
        self.report.days += share.days
        self.report.proven += share.proven
        for name, (every, proven) in share.by_object.items():
            if every > proven:
                self.report.open[name] = self.report.open.get(name, 0) + every - proven

    async def ask(self, what: Callable[[duckdb.DuckDBPyConnection], _T], *, write: bool = False) -> _T:
        """Do something with the open warehouse, in a thread; with little memory unless it writes."""

        def answer() -> _T:
            with self.warehouse.connect(read_only=not write, wait=60) as con:
                if not write:  # loading takes more
                    con.execute(_FRUGAL)
                return what(con)

        async with self.desk:
            return await asyncio.to_thread(answer)

    def _record_requests(self, con: duckdb.DuckDBPyConnection) -> None:
        through = self.account.name if self.connected else None
        record(con, self.key, self.client.clock, self.client.governor, through, poll=False)

    # ---- what to read ----------------------------------------------------------------------------------------
    def _units(self, con: duckdb.DuckDBPyConnection, names: Sequence[str], budget: int | None) -> list[proof.Unit]:
        found = con.execute(
            "select epoch(synced_until)::bigint from sync.accounts where account_id = ? and livemode = ?", [*self.key]
        ).fetchone()
        if found is None:
            raise UsageError(
                f"Account {self.account.name!r} ({self.key[0]}) is not in the warehouse.", "Run `ledgerline backfill`."
            )
        self.until, since = int(found[0]), self.settings.start or 0
        if budget is None:
            return proof.everything(names, since, self.until)
        asked = {
            row.name: len(parents_to_ask(con, row, self.key, self.until + 1)) + 1
            for row in CATALOGUE.values()
            if row.strategy == "per_parent" and row.name in names
        }
        return proof.sample(con, names, self.key, since, self.until, budget, asked)

    # ---- reading and comparing -------------------------------------------------------------------------------
    async def _compare(self, units: Sequence[proof.Unit], names: set[str]) -> list[Finding]:
        """Read the units, a few side by side, and enter what they show in the ledger."""
        found: list[Finding] = []
        sizes = await self.ask(_sizes)
        small = [unit for unit in units if sizes.get(unit.row.name, 0) <= _SMALL]
        ready = await self.ask(lambda con: {unit.row.name: prepare(con, unit, self.key) for unit in small})
        waiting = iter(sorted(units, key=lambda unit: -sizes.get(unit.row.name, 0)))

        async def work() -> None:
            for unit in waiting:
                collector = ready.pop(unit.row.name, None)
                if collector is None:
                    collector = await self.ask(partial(prepare, unit=unit, key=self.key))
                found.extend(await self._unit(unit, collector, names))
                if time.monotonic() - self.entered > _ENTER:
                    await self._enter()

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
        await self._enter()
        return found

    async def _enter(self) -> None:
        """Write the ledger: one short transaction for all that was compared since the last time."""
        entries, self.entries, self.entered = self.entries, [], time.monotonic()

        def enter(con: duckdb.DuckDBPyConnection) -> None:
            con.execute(_FRUGAL)
            proof.write(con, self.key, entries)

        if entries:
            await self.ask(enter, write=True)

    async def _unit(self, unit: proof.Unit, collector: Collector, names: set[str]) -> list[Finding]:
        row = unit.row
        asked_at = self.client.clock
        if self.progress:
            self.progress.start(row.name, None)
        collector.on_rows = lambda rows: self._advance(row.name, rows)
        try:
            await reread(self.client, unit, collector, self.key, self.ask)
            found = await judge(self.client, collector, self.key, self.ask)
        except (StripeError, BaseExceptionGroup) as problem:
            error = reading.first_of(problem)
            if not isinstance(error, StripePermissionError | StripeAnswerError):
                raise error from problem
            if self.progress:
                self.progress.done(row.name, "cannot be read")
            if row.name == "accounts" or await self.ask(lambda con: self._known_unreadable(con, row)):
                return []
            return [Finding(row, row.name, "", "unreadable", f"Stripe does not let it be read: {error.message}")]
        compared = [one for one in collector.compared.values() if one.row.name in names]
        differing: dict[str, set[int]] = {}
        for one in found:
            differing.setdefault(one.row.name, set()).add(one.day)
        self.entries += proof.entries(compared, differing, asked_at)
        rows = sum(sum(one.rows.values()) for one in compared)
        self.report.compared += rows
        if self.progress:
            self.progress.done(row.name, f"{rows:,} compared, {len(found):,} differences")
        return [one for one in found if one.row.name in names]

    def _advance(self, name: str, rows: int) -> None:
        if self.progress:
            self.progress.advance(name, rows)

    def _known_unreadable(self, con: duckdb.DuckDBPyConnection, row: StripeObject) -> bool:
        """Whether the last refresh already said that this object cannot be read."""
        return bool(
            con.execute(
                "select 1 from sync.object_state where account_id = ? and livemode = ? and object = ? "
                "and state not in ('ok', 'unchanged')",
                [*self.key, row.name],
            ).fetchone()
        )

    async def _still(self, found: list[Finding]) -> list[Finding]:
        """Without rows that events announce which were not loaded yet: the next refresh reads those."""
        cursor = await self.ask(lambda con: read_cursors(con, "events").get(self.key))
        if cursor is None:
            return found
        since = int(cursor["until"]) - feed.OVERLAP
        lines: list[bytes] = []
        try:
            async for page in reading.pages(self.client, CATALOGUE["events"], "/v1/events", {"created[gte]": since}):
                lines += page.lines
        except StripePermissionError:
            return found
        events = [feed.read(line) for line in lines]
        ids = [event.id for event in events]
        loaded = await self.ask(
            lambda con: {
                row[0]
                for row in con.execute(
                    "select id from stripe.events where account_id = ? and livemode = ? "
                    "and id in (select unnest(?::varchar[]))",
                    [*self.key, ids],
                ).fetchall()
            }
        )
        announced = feed.dirty(event for event in events if event.id not in loaded)
        new = {event.id for event in events} - loaded
        return [
            one
            for one in found
            if one.id not in announced.get(one.row.name, ())
            and one.parent not in announced.get(one.via, ())
            and not (one.row.name == "events" and one.id in new)
        ]

    # ---- repairing -------------------------------------------------------------------------------------------
    async def _mend(self, found: list[Finding], names: set[str]) -> None:
        """Read again, load, and list the same days once more: only that proves them."""
        landing = Landing(self.settings.data_dir / "landing")
        await repair(self.client, landing, self.key, found, self.ask)
        by_list: dict[str, set[int]] = {}
        for one in found:
            if one.kind != "unreadable":
                by_list.setdefault(one.via, set()).add(one.day)
        units = []
        for name, moments in by_list.items():
            row = CATALOGUE[name]
            ranges = None
            if row.strategy == "window" and min(moments) >= 0:
                ranges = [(day * _DAY, min(day * _DAY + _DAY - 1, self.until)) for day in sorted(moments)]
            elif row.strategy == "window":
                ranges = [(self.settings.start or 0, self.until)]
            units.append(proof.Unit(row, ranges))
        before = self.report.compared
        left = await self._compare(units, names)
        if left:
            left = await self._still(left)
        self.report.compared = before
        self._report(left, {(one.row.name, one.id) for one in found})

    def _report(self, found: list[Finding], before: set[tuple[str, str]]) -> None:
        """First what was found; after a repair (`before` has what was wrong then) what is left of it."""
        left = {(one.row.name, one.id) for one in found}
        if before:
            for known in self.report.differences:
                if known.account_id == self.key[0] and (known.object, known.id) in before - left and known.id:
                    known.repaired = True
        self.report.differences += [
            Difference(one.row.name, self.key[0], one.id, one.what)
            for one in found
            if (one.row.name, one.id) not in before
        ]


def _sizes(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows by the list that shows them."""
    return dict(con.execute("select via, sum(rows)::bigint from sync.days group by via").fetchall())


__all__ = ["AuditReport", "Difference", "audit"]
