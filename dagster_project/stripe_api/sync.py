"""One synchronisation: what changed at Stripe is landed and loaded, object by object.

The order that makes it safe: land, then load rows and cursors in one transaction; a file that was landed but not loaded
is loaded by the next run; a cursor moves only over what is durable. The event feed is read before anything else, so that
nothing slips in between. The warehouse is closed while Stripe is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import duckdb
import msgspec

from dagster_project.errors import (
    LedgerlineError,
    StripeAnswerError,
    StripeAuthError,
    StripeError,
    StripePermissionError,
    StripeUnreachable,
    UsageError,
)
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api import feed, reading
from dagster_project.stripe_api.catalog import API_VERSION, CATALOGUE, EVENT_RETENTION_DAYS, StripeObject, get
from dagster_project.stripe_api.client import StripeClient
from dagster_project.stripe_api.governor import Governor
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.stripe_api.reading import Sink
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import LoadResult, load
from dagster_project.warehouse.schema import ensure
from dagster_project.warehouse.state import (
    Cursor,
    load_version,
    loaded_files,
    read_cursors,
    record_account,
    record_object_state,
)

State = Literal["ok", "not_permitted", "failed", "unchanged"]
_OVERLAP = {"balance_transactions": 3600}  # rows may appear late with an older `created`; minutes for the others
_DEFAULT_OVERLAP = 600
_RELIST_PARENTS = 24 * 3600
_DAY = 86_400


class Progress(Protocol):
    def start(self, name: str, total: int | None) -> None: ...
    def advance(self, name: str, n: int) -> None: ...
    def done(self, name: str, message: str) -> None: ...


@dataclass
class ObjectReport:
    """What one object's reading did; rows over all accounts. `message` says what is wrong or unusual."""

    name: str
    state: State = "unchanged"
    received: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    total: int = 0
    requests: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass
class SyncReport:
    """`changed`: whether the warehouse differs from before; `synced_until`: by Stripe's clock, the earliest account."""

    objects: dict[str, ObjectReport]
    load_version: int = 0
    changed: bool = False
    synced_until: datetime = field(default_factory=lambda: datetime.fromtimestamp(0, UTC))
    requests: int = 0
    accounts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Identity:
    account_id: str
    livemode: bool
    line: bytes | None  # the account object, where the API has it
    name: str
    country: str | None
    currency: str | None
    created: int


@dataclass
class _Known:
    """What the warehouse knows of one account before Stripe is asked."""

    cursors: dict[str, Cursor]
    event_ids: set[str]
    open_rows: dict[str, tuple[list[str], int, int]]  # ids, earliest created, rows created since then


def sync(
    settings: Settings,
    warehouse: Warehouse,
    *,
    objects: Sequence[str] | None = None,
    mode: Literal["incremental", "full"] = "incremental",
    created: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    """Read from every account what changed (or everything) and load it.

    `objects` limits it to some, which are then read in full; `created` to a range of Unix seconds. One account's failure,
    or one object's missing permission, is reported and does not stop the rest.

    Raises StripeAuthError or StripeUnreachable when no account could be read, UsageError for an unknown object.
    """
    names = _with_parents([get(name).name for name in objects]) if objects else list(CATALOGUE)
    report = SyncReport({name: ObjectReport(name) for name in names})
    landing = Landing(settings.data_dir / "landing")
    full = mode == "full" or objects is not None
    with warehouse.connect() as con:
        ensure(con)
        before = load_version(con)
        _load_leftovers(con, landing, report, progress)
    failures: list[StripeError] = []
    accounts = settings.accounts()
    for account in accounts:
        for connected in (None, *account.connected):
            reader = _AccountReader(settings, warehouse, landing, account, connected, report, progress)
            try:
                reader.run(names, full=full, created=created)
            except (StripeAuthError, StripeUnreachable) as error:
                failures.append(error)
                report.problems.append(f"account {account.name}: {error}")
    if failures and len(failures) == sum(1 + len(account.connected) for account in accounts):
        raise failures[0]
    with warehouse.connect() as con:
        report.load_version = load_version(con)
    report.changed = report.load_version != before
    return report


def _with_parents(names: list[str]) -> list[str]:
    """Children come with their parents, so those are read too."""
    wanted = set(names)
    for name in names:
        row = CATALOGUE[name]
        while row.strategy == "children":
            parent = row.parent or next(iter(row.embedded_in or {}), None)
            if parent is None:
                break
            wanted.add(parent)
            row = CATALOGUE[parent]
    return [name for name in CATALOGUE if name in wanted]


def _load_leftovers(
    con: duckdb.DuckDBPyConnection, landing: Landing, report: SyncReport, progress: Progress | None
) -> None:
    """Files that a run landed and did not live to load. Cursors do not move, so what they cover is read again."""
    waiting: dict[str, list[Batch]] = {}
    for batch in landing.batches(known=loaded_files(con)):
        waiting.setdefault(batch.object, []).append(batch)
    for name in ("events", *(n for n in CATALOGUE if n != "events")):
        if waiting.get(name):
            result = load(con, name, waiting[name])
            _count(report.objects.setdefault(name, ObjectReport(name)), result)
            if progress:
                progress.done(name, f"{result.received:,} rows that an interrupted run had landed")


class _AccountReader:
    """Reads one account (or connected account) into the warehouse."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse, landing: Landing, account: Account, connected: str | None,
        report: SyncReport, progress: Progress | None,
    ) -> None:  # fmt: skip
        self.settings, self.warehouse, self.landing = settings, warehouse, landing
        self.account, self.connected = account, connected
        self.report, self.progress = report, progress
        self.sinks: dict[str, Sink] = {}
        self.states: dict[str, tuple[State, str]] = {}
        self.cursors: dict[str, Cursor] = {}
        self.governor = Governor(paced=not settings.uses_simulator)

    def run(self, names: Sequence[str], *, full: bool, created: tuple[int, int] | None) -> None:
        self.identity = asyncio.run(self._with_client(self._identify))
        who = (self.identity.account_id, self.identity.livemode)
        if not self.identity.livemode:
            self.governor = Governor(livemode=False, paced=self.governor.paced)
        self.report.accounts.append(who[0])
        with self.warehouse.connect() as con:
            known = self._known(con, names)
        if full:
            known = _Known({}, set(), {})
        elif "events" in known.cursors and self.now - known.cursors["events"]["until"] > (EVENT_RETENTION_DAYS - 1) * _DAY:
            self.report.problems.append(
                f"account {who[0]}: the last reading is more than {EVENT_RETENTION_DAYS - 1} days ago, longer than Stripe "
                "keeps events. Everything is read again."
            )
            known = _Known({}, set(), {})
        asyncio.run(self._with_client(lambda client: self._first_phase(client, names, known, created)))
        self._load(names)
        with self.warehouse.connect() as con:
            parents = self._parents(con, names, known)
            payouts = self._payouts(con) if "payouts" in names and "balance_transactions" in names else []
        if parents or payouts:
            asyncio.run(self._with_client(lambda client: self._second_phase(client, parents, payouts)))
            self._load([*parents, "balance_transactions"])
        self._finish(names)

    async def _with_client(self, what: Callable[[StripeClient], Coroutine[Any, Any, Any]]) -> Any:
        base = self.account.api_base or self.settings.api_base
        async with StripeClient(self.account, base, self.governor, connected=self.connected) as client:
            if hasattr(self, "clock"):
                client.clock, client._told = self.clock, True
            try:
                result = await what(client)
            except BaseExceptionGroup as group:
                raise reading.first_of(group) from group
            self.clock = client.clock
            return result

    @property
    def now(self) -> int:
        return int(self.clock.timestamp())

    # ---- who it is -----------------------------------------------------------------------------------------
    async def _identify(self, client: StripeClient) -> _Identity:
        """The account's id and mode; from LEDGERLINE_ACCOUNTS where the API cannot tell them."""
        account, fields, line = self.account, {}, None
        try:
            answer = await client.get("/v1/account")
            line = msgspec.json.format(answer.body, indent=-1)
            fields = msgspec.json.decode(line)
        except (StripePermissionError, StripeAnswerError) as error:
            if account.account_id is None:
                raise StripeUnreachable(
                    f"Account {account.name!r}: {error.message}", "Give account_id and livemode in LEDGERLINE_ACCOUNTS."
                ) from error
            self._state("accounts", "failed", error)
        livemode = account.livemode
        try:
            balance = msgspec.json.decode((await client.get("/v1/balance")).body)
            livemode = bool(balance.get("livemode", livemode or False))
        except (StripePermissionError, StripeAnswerError) as error:
            self._state("balance", "not_permitted" if isinstance(error, StripePermissionError) else "failed", error)
        account_id = fields.get("id") or account.account_id
        if not isinstance(account_id, str):
            raise StripeUnreachable(f"{self.settings.api_base} answers, but not as Stripe does.", "Check STRIPE_API_BASE.")
        profile = fields.get("business_profile") or {}
        return _Identity(
            account_id=account_id, livemode=bool(livemode), line=line, name=profile.get("name") or account.name,
            country=fields.get("country"), currency=fields.get("default_currency"), created=int(fields.get("created") or 0),
        )  # fmt: skip

    # ---- what the warehouse knows --------------------------------------------------------------------------
    def _known(self, con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> _Known:
        who = (self.identity.account_id, self.identity.livemode)
        cursors = {name: found[who] for name in names if who in (found := read_cursors(con, name))}
        known = _Known(cursors, set(), {})
        if "events" in cursors:
            since = cursors["events"]["until"] - feed.OVERLAP
            rows = con.execute(
                "select id from stripe.events where account_id = ? and livemode = ? and created >= to_timestamp(?)",
                [*who, since],
            )
            known.event_ids = {row[0] for row in rows.fetchall()}
        for name in names:
            row = CATALOGUE[name]
            if row.open_sql and name in cursors:
                found = con.execute(
                    f"select list(id), coalesce(epoch(min({row.created_field})), 0)::bigint from stripe.{name} "
                    f"where account_id = ? and livemode = ? and _deleted_at is null and ({row.open_sql})",
                    [*who],
                ).fetchone()
                if found and found[0]:
                    since = con.execute(
                        f"select count(*) from stripe.{name} where account_id = ? and livemode = ? "
                        f"and {row.created_field} >= to_timestamp(?)",
                        [*who, found[1]],
                    ).fetchone()
                    known.open_rows[name] = (found[0], int(found[1]), int(since[0]) if since else 0)
        return known

    # ---- reading -------------------------------------------------------------------------------------------
    async def _first_phase(
        self, client: StripeClient, names: Sequence[str], known: _Known, created: tuple[int, int] | None
    ) -> None:
        anchor = self.now
        dirty: feed.Dirty = {}
        if "events" in names:
            dirty = await self._events(client, known, anchor)
        tasks = {
            name: self._object(client, CATALOGUE[name], known, dirty.get(name, {}), created, anchor)
            for name in names
            if CATALOGUE[name].strategy in ("window", "chain") and name != "events"
        }
        async with asyncio.TaskGroup() as group:
            for name, task in tasks.items():
                group.create_task(self._guarded(name, task))
        if "balance" in names and "balance" not in self.states:
            await self._guarded("balance", self._balance(client, anchor))

    async def _guarded(self, name: str, task: Coroutine[Any, Any, str]) -> None:
        """Run the reading of one object; what goes wrong with it is its state, except what concerns the whole account."""
        began = time.monotonic()
        row = self.report.objects.setdefault(name, ObjectReport(name))
        try:
            note = await task
            self.states.setdefault(name, ("ok", note))
        except BaseExceptionGroup as group:
            self._fail(name, reading.first_of(group))
        except Exception as error:
            self._fail(name, error)
        row.seconds += time.monotonic() - began
        if self.progress and name in self.sinks and self.sinks[name].batches:
            rows = sum(batch.rows for batch in self.sinks[name].batches)
            self.progress.done(name, f"{rows:,} read")

    def _fail(self, name: str, error: BaseException) -> None:
        if isinstance(error, StripeAuthError | StripeUnreachable) or not isinstance(error, StripeError):
            raise error
        self._state(name, "not_permitted" if isinstance(error, StripePermissionError) else "failed", error)
        self.sinks.pop(name, None)

    def _state(self, name: str, state: State, error: LedgerlineError) -> None:
        self.states[name] = (state, error.message)

    async def _events(self, client: StripeClient, known: _Known, anchor: int) -> feed.Dirty:
        row = CATALOGUE["events"]
        cursor = known.cursors.get("events")
        low = cursor["until"] - feed.OVERLAP if cursor else anchor - EVENT_RETENTION_DAYS * _DAY
        sink = self._sink(row)
        marked: feed.Dirty = {}

        async def read() -> str:
            nonlocal marked
            found: list[bytes] = []
            note = await reading.by_window(client, _Tee(sink, found), low, anchor, "event")  # type: ignore[arg-type]
            if cursor:
                fresh = [e for e in map(feed.read, found) if e.created >= low and e.id not in known.event_ids]
                marked = feed.dirty(fresh)
                if not fresh:
                    sink.batches.clear()
            self.cursors["events"] = {"until": anchor}
            return note

        await self._guarded("events", read())
        return marked

    async def _object(
        self, client: StripeClient, row: StripeObject, known: _Known, dirty: Mapping[str, int | None],
        created: tuple[int, int] | None, anchor: int,
    ) -> str:  # fmt: skip
        sink = self._sink(row)
        cursor = known.cursors.get(row.name)
        due = cursor is not None and row.relist_hours is not None and anchor - cursor["listed"] >= row.relist_hours * 3600
        if row.name == "accounts" and self.identity.line and (cursor is None or due or dirty):
            sink.add([self.identity.line], self.clock, {"path": "/v1/account", "rows": 1}, "list")
            sink.flush("list")
        note = ""
        if row.strategy == "chain":
            if cursor is None or due:
                await reading.by_chain(client, sink)
                self.cursors[row.name] = {"listed": anchor}
            elif dirty:
                await reading.by_id(client, sink, dirty)
            return note
        start = self.settings.start or max(0, self.identity.created - _DAY)
        if created is not None:
            await reading.by_window(client, sink, *created)
        elif cursor is None or due:
            note = await reading.by_window(client, sink, start, anchor)
            self.cursors[row.name] = {"high": anchor, "listed": anchor, "plain": bool(note)}
        else:
            note = await self._incremental(client, row, sink, cursor, dirty, known.open_rows.get(row.name), anchor)
        await reading.nested(client, sink)
        return note

    async def _incremental(
        self, client: StripeClient, row: StripeObject, sink: Sink, cursor: Cursor, dirty: Mapping[str, int | None],
        open_rows: tuple[list[str], int, int] | None, anchor: int,
    ) -> str:  # fmt: skip
        """New rows by listing since the last time, changed ones by whichever way costs fewer requests."""
        low = cursor["high"] - _OVERLAP.get(row.name, _DEFAULT_OVERLAP)
        again = set(dirty)
        listing = row.silent or not row.events or any((moment or 0) >= low for moment in dirty.values())
        if open_rows:
            ids, earliest, since = open_rows
            if since // 100 + 1 <= len(ids):
                low, listing = min(low, earliest), True
            else:
                again |= set(ids)
        note = ""
        if cursor.get("plain") and (listing or again):
            await reading.by_chain(client, sink)
            note = "no `created` filter here; read as one list"
        elif listing:
            await reading.by_window(client, sink, low, anchor, "sweep" if open_rows else "list")
        if rest := again - sink.ids:
            await reading.by_id(client, sink, rest)
        if listing or dirty:
            self.cursors[row.name] = {**cursor, "high": anchor}
        return note

    async def _balance(self, client: StripeClient, anchor: int) -> str:
        """Read last, so that it is not older than the balance transactions that it must equal."""
        answer = await client.get("/v1/balance")
        sink = self._sink(CATALOGUE["balance"])
        sink.add([msgspec.json.format(answer.body, indent=-1)], self.clock, {"path": "/v1/balance", "rows": 1}, "read")
        sink.flush("read")
        self.cursors["balance"] = {"listed": anchor}
        return ""

    async def _second_phase(
        self, client: StripeClient, parents: dict[str, list[tuple[str, dict[str, Any]]]], payouts: list[str]
    ) -> None:
        async def of(row: StripeObject, wanted: list[tuple[str, dict[str, Any]]]) -> str:
            await reading.of_parents(client, self._sink(row), wanted)
            return ""

        async def batches() -> str:
            await reading.payout_batch(client, self._sink(CATALOGUE["balance_transactions"]), payouts)
            return ""

        async with asyncio.TaskGroup() as group:
            for name, wanted in parents.items():
                group.create_task(self._guarded(name, of(CATALOGUE[name], wanted)))
            if payouts:
                group.create_task(self._guarded("balance_transactions", batches()))

    def _sink(self, row: StripeObject) -> Sink:
        if row.name not in self.sinks:
            self.sinks[row.name] = Sink(
                self.landing, row, self.identity.account_id, self.identity.livemode, sibling=self._sink
            )
        return self.sinks[row.name]

    # ---- second phase: what the loaded parents show -----------------------------------------------------------
    def _parents(
        self, con: duckdb.DuckDBPyConnection, names: Sequence[str], known: _Known
    ) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Per object the parents to ask: new ones, changed ones, and all once a day."""
        self._record_account(con)
        wanted: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for name in names:
            row = CATALOGUE[name]
            if row.strategy != "per_parent" or not row.parents_sql:
                continue
            result = con.execute(row.parents_sql)
            columns = [column[0] for column in result.description or []]
            found = [dict(zip(columns, values, strict=True)) for values in result.fetchall()]
            cursor = known.cursors.get(name, {})
            seen = set(cursor.get("parents", ()))
            due = self.now - cursor.get("listed", 0) >= _RELIST_PARENTS
            moved = self.sinks[row.parent].ids if row.parent in self.sinks else set()
            keys, ask = [], []
            for parent in found:
                if (parent["account_id"], parent["livemode"]) != (self.identity.account_id, self.identity.livemode):
                    continue
                extra = {k: v for k, v in parent.items() if k not in ("account_id", "livemode", "id")}
                key = "|".join([parent["id"], *(str(v) for k, v in extra.items() if not k.endswith("_time"))])
                keys.append(key)
                if key not in seen or due or parent["id"] in moved or extra.get("customer") in moved:
                    ask.append((parent["id"], extra))
            self.cursors[name] = {"parents": keys, "listed": self.now if due else cursor.get("listed", self.now)}
            if ask:
                wanted[name] = ask
            else:
                self.states.setdefault(name, ("ok", ""))
        return wanted

    def _payouts(self, con: duckdb.DuckDBPyConnection) -> list[str]:
        """Automatic payouts whose batch Stripe has finished and that was not read yet."""
        rows = con.execute(
            """
            select p.id from stripe.payouts as p
            where p.account_id = ? and p.livemode = ? and p.automatic and p.reconciliation_status = 'completed'
                and not exists (select 1 from sync.payout_transactions as t
                    where t.account_id = p.account_id and t.livemode = p.livemode and t.payout = p.id)
            """,
            [self.identity.account_id, self.identity.livemode],
        )
        return [row[0] for row in rows.fetchall()]

    # ---- loading -------------------------------------------------------------------------------------------
    def _load(self, names: Sequence[str]) -> None:
        who = (self.identity.account_id, self.identity.livemode)
        ordered = [*(n for n in ("events",) if n in names), *(n for n in names if n != "events")]
        with self.warehouse.connect() as con:
            for name in dict.fromkeys(ordered):
                sink = self.sinks.pop(name, None)
                batches = sink.batches if sink else []
                cursor = self.cursors.pop(name, None)
                if sink:
                    self.sinks[name] = Sink(self.landing, sink.row, sink.account_id, sink.livemode, ids=sink.ids, sibling=self._sink)
                if not batches and cursor is None:
                    continue
                if self.progress and batches:
                    self.progress.start(f"load {name}", sum(batch.rows for batch in batches))
                result = load(con, name, batches, {who: cursor} if cursor is not None else {})
                _count(self.report.objects.setdefault(name, ObjectReport(name)), result)
                for child, number in result.children.items():
                    _child(self.report.objects.setdefault(child, ObjectReport(child)), con, child, number)
                if self.progress and batches:
                    self.progress.done(f"load {name}", "")

    def _record_account(self, con: duckdb.DuckDBPyConnection) -> None:
        who = self.identity
        created = datetime.fromtimestamp(who.created, UTC) if who.created else None
        record_account(
            con, who.account_id, who.livemode, who.name, who.country, who.currency, created, datetime.fromtimestamp(self.now, UTC)
        )  # fmt: skip

    def _finish(self, names: Sequence[str]) -> None:
        who = (self.identity.account_id, self.identity.livemode)
        moment = datetime.fromtimestamp(self.now, UTC)
        with self.warehouse.connect() as con:
            self._record_account(con)
            record_object_state(
                con, [(*who, name, *self.states[name], moment) for name in names if name in self.states]
            )
        for name, (state, message) in self.states.items():
            row = self.report.objects.setdefault(name, ObjectReport(name))
            if state in ("not_permitted", "failed"):
                row.state, row.message = state, message
                self.report.problems.append(f"{name} ({self.account.name}): {message}")
            elif row.state == "unchanged" and (row.received or message):
                row.state, row.message = "ok", message
        for endpoint, number in self.governor.requests.items():
            self.report.requests += number
            for name, row in self.report.objects.items():
                if CATALOGUE[name].path == f"/v1{endpoint}":
                    row.requests += number
        earliest = self.report.synced_until
        self.report.synced_until = moment if earliest.year == 1970 else min(earliest, moment)


class _Tee:
    """A sink that also keeps the lines, for the change feed."""

    def __init__(self, sink: Sink, lines: list[bytes]) -> None:
        self._sink, self._lines, self.row = sink, lines, sink.row

    def take(self, page: Any, source: str) -> None:
        self._lines += page.lines
        self._sink.take(page, source)

    def flush(self, source: str) -> None:
        self._sink.flush(source)


def _count(row: ObjectReport, result: LoadResult) -> None:
    row.received += result.received
    row.inserted += result.inserted
    row.changed += result.changed
    row.deleted += result.deleted
    row.total = result.total
    if result.changes or result.received:
        row.state = "ok"


def _child(row: ObjectReport, con: duckdb.DuckDBPyConnection, name: str, number: int) -> None:
    row.received += number
    row.changed += number
    row.state = "ok"
    found = con.execute(f"select count(*) from stripe.{name}").fetchone()
    row.total = int(found[0]) if found else 0


__all__ = ["API_VERSION", "ObjectReport", "Progress", "SyncReport", "UsageError", "sync"]
