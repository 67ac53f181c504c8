"""The warehouse compared with Stripe, object by object, by what Stripe answers now.

Stripe is listed again and each object's content is fingerprinted; the warehouse's rows of the same range must have the
same ids and contents. What differs is read once more by its id, so that a list's default filters are no difference and
the report can name the fields. Run it right after a refresh: what changed at Stripe since then differs, too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from dagster_project.errors import StripeAnswerError, StripeError, StripePermissionError, UsageError
from dagster_project.settings import Account, Settings
from dagster_project.stripe_api import reading
from dagster_project.stripe_api.catalog import CATALOGUE, EVENT_RETENTION_DAYS, StripeObject, get
from dagster_project.stripe_api.client import Page, connect
from dagster_project.stripe_api.governor import Governor
from dagster_project.warehouse.connection import Warehouse

if TYPE_CHECKING:
    from dagster_project.stripe_api.sync import Progress

SAMPLE = 7 * 86_400  # seconds of `created` that a sample covers, counted back from the last refresh
SMALL = 500  # lists of up to so many rows are compared whole in a sample, too
EXPLAINED = 50  # differences per object whose fields are named

# Fields that change without the object changing: an event counts the deliveries that are still open.
VOLATILE: dict[str, tuple[str, ...]] = {"events": ("pending_webhooks",)}


@dataclass(frozen=True)
class Difference:
    """`what` says in words how the warehouse and Stripe differ on one object."""

    object: str
    account_id: str
    id: str
    what: str


@dataclass
class AuditReport:
    """`compared` counts the objects that Stripe was asked for, children included."""

    differences: list[Difference] = field(default_factory=list)
    compared: int = 0


@dataclass
class _Scope:
    """What of an object is compared: rows created in [`low`, `high`], or all (`low` None)."""

    row: StripeObject
    low: int | None
    high: int


class _Collector:
    """Takes pages as a sink does, and keeps only fingerprints by id."""

    def __init__(self, row: StripeObject) -> None:
        self.row = row
        self.found: dict[str, bytes] = {}
        self.children: dict[str, dict[str, bytes]] = {}

    def take(self, page: Page, source: str = "list") -> None:
        for line in page.lines:
            self.add(line)

    async def room(self) -> None:
        """There is always room: nothing is kept but fingerprints."""

    def add(self, line: bytes) -> None:
        body: dict[str, Any] = msgspec.json.decode(line)
        self.found[str(body.get("id") or self.row.name)] = fingerprint(self.row, body)
        for child in CATALOGUE.values():
            if child.parent == self.row.name and child.parent_field:
                nested = body.get(child.parent_field)
                if isinstance(nested, dict) and not nested.get("has_more"):
                    own = self.children.setdefault(child.name, {})
                    own.update({one["id"]: fingerprint(child, one) for one in nested.get("data", []) if one.get("id")})


def fingerprint(row: StripeObject, body: dict[str, Any]) -> bytes:
    """Of the content, whatever the order of keys and the spacing; fields that are volatile by nature left out."""
    kept = {name: value for name, value in body.items() if name not in VOLATILE.get(row.name, ())}
    return hashlib.blake2b(msgspec.json.encode(kept, order="sorted"), digest_size=16).digest()


def audit(
    settings: Settings,
    warehouse: Warehouse,
    *,
    full: bool,
    objects: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Compare everything (`full`), or the last days of every object and small lists whole.

    Raises UsageError for an unknown object or a warehouse that was never filled, StripeError when Stripe cannot be
    read. An object that cannot be read is a difference, unless the last refresh has reported it already.
    """
    names = [get(name).name for name in objects] if objects else list(CATALOGUE)
    if not warehouse.build.exists():
        raise UsageError("There is no warehouse to compare.", "Run `ledgerline backfill`.")
    report = AuditReport()
    for account in settings.accounts():
        for connected in (None, *account.connected):
            one = _AccountAudit(settings, warehouse, account, connected, report, progress)
            asyncio.run(one.run(names, full=full))
    return report


class _AccountAudit:
    def __init__(
        self, settings: Settings, warehouse: Warehouse, account: Account, connected: str | None, report: AuditReport,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.warehouse, self.account, self.report, self.progress = warehouse, account, report, progress
        governor = Governor.of(settings, account)
        self.client = connect(settings, account, governor, connected=connected)

    async def run(self, names: Sequence[str], *, full: bool) -> None:
        async with self.client:
            await self._identify()
            for name in names:
                row = CATALOGUE[name]
                if row.strategy == "children" and row.parent not in names:
                    await self._compare(CATALOGUE[row.parent] if row.parent else row, full, only=name)
                elif row.strategy in ("window", "chain", "singleton") or (row.strategy == "per_parent" and full):
                    await self._compare(row, full)

    async def _identify(self) -> None:
        try:
            own = msgspec.json.decode((await self.client.get("/v1/account")).body)
            self.account_id = str(own["id"])
        except StripeAnswerError:
            if self.account.account_id is None:
                raise
            self.account_id = self.account.account_id
        with self.warehouse.connect(read_only=True) as con:
            found = con.execute(
                "select livemode, epoch(synced_until)::bigint from sync.accounts where account_id = ?",
                [self.account_id],
            ).fetchone()
        if found is None:
            raise UsageError(
                f"Account {self.account.name!r} ({self.account_id}) is not in the warehouse.",
                "Run `ledgerline backfill`.",
            )
        self.key = (self.account_id, bool(found[0]))
        self.until = int(found[1])

    # ---- one object ------------------------------------------------------------------------------------------
    async def _compare(self, row: StripeObject, full: bool, *, only: str | None = None) -> None:
        """List `row` at Stripe, then compare it (or only its children `only`) with the warehouse."""
        shown = only or row.name
        if row.path is None:
            return
        if self.progress:
            self.progress.start(shown, None)
        collector = _Collector(row)
        try:
            scope = await self._read(row, collector, full)
        except (StripeError, BaseExceptionGroup) as problem:
            error = reading.first_of(problem)
            if not isinstance(error, StripePermissionError | StripeAnswerError):
                raise error from problem
            with self.warehouse.connect(read_only=True) as con:
                unread = self._known_unreadable(con, row.name)
            if not unread:
                self._differs(row, "", f"Stripe does not let it be read: {error.message}")
            return
        before = len(self.report.differences)
        with self.warehouse.connect(read_only=True) as con:
            pairs = {} if only else self._differing(con, scope, collector.found)
            children = {
                name: self._differing_children(con, CATALOGUE[name], found)
                for name, found in collector.children.items()
                if only in (None, name)
            }
        await self._explain(row, pairs)
        for name, differing in children.items():
            for one, what in differing.items():
                self._differs(CATALOGUE[name], one, what)
        compared = 0 if only else len(collector.found)
        compared += sum(len(found) for name, found in collector.children.items() if only in (None, name))
        self.report.compared += compared
        if self.progress:
            self.progress.advance(shown, compared)
            self.progress.done(shown, f"{compared:,} compared, {len(self.report.differences) - before:,} differences")

    async def _read(self, row: StripeObject, collector: _Collector, full: bool) -> _Scope:
        if row.name == "accounts":
            collector.add((await self.client.get("/v1/account")).body)
        if row.strategy == "singleton":
            collector.add((await self.client.get(row.path or "")).body)
            return _Scope(row, None, self.until)
        if row.strategy == "per_parent":
            return await self._read_parents(row, collector)
        if row.strategy == "chain":
            await reading.by_chain(self.client, collector)
            return _Scope(row, None, self.until)
        low = 0 if full else self.until - SAMPLE
        if row.name == "events":
            low = max(low, self.until - EVENT_RETENTION_DAYS * 86_400 + 3600)
        if not full and await self._is_small(row):
            low = 0
        await reading.by_window(self.client, collector, [(low, self.until)])
        return _Scope(row, low, self.until)

    async def _read_parents(self, row: StripeObject, collector: _Collector) -> _Scope:
        with self.warehouse.connect(read_only=True) as con:
            cursor = con.execute(
                f"select * from ({row.parents_sql}) where account_id = ? and livemode = ?", list(self.key)
            )
            columns = [column[0] for column in cursor.description or ()]
            parents = [dict(zip(columns, values, strict=True)) for values in cursor.fetchall()]
        for parent in parents:
            query = {name: value for name, value in parent.items() if name not in ("account_id", "livemode", "id")}
            if row.parent_param:
                query[row.parent_param] = parent["id"]
            path = (row.path or "").replace("{parent}", str(parent["id"]))
            async for page in reading.pages(self.client, row, path, query):
                collector.take(page)
        return _Scope(row, None, self.until)

    async def _is_small(self, row: StripeObject) -> bool:
        with self.warehouse.connect(read_only=True) as con:
            found = con.execute(f"select count(*) from stripe.{row.name}").fetchone()
        return bool(found and found[0] <= SMALL) and row.name != "events"

    # ---- comparing -------------------------------------------------------------------------------------------
    def _differing(self, con: duckdb.DuckDBPyConnection, scope: _Scope, found: dict[str, bytes]) -> dict[str, str]:
        """Ids that differ: missing in the warehouse, changed, or (listed no more) unlisted."""
        row = scope.row
        made = "true"
        if scope.low is not None:
            made = f'"{row.created_field}" between to_timestamp({scope.low}) and to_timestamp({scope.high})'
        differing = dict.fromkeys(found, "missing")
        for one, payload, deleted in _stream(
            con,
            f"select id, _payload::varchar, _deleted_at is not null from stripe.{row.name} "
            f"where account_id = ? and livemode = ? and ({made} or id in (select unnest(?::varchar[])))",
            [*self.key, list(found) if scope.low is not None else []],
        ):
            if one not in found:
                if not deleted:
                    differing[one] = "unlisted"
            elif deleted:
                differing[one] = "deleted"
            elif fingerprint(row, msgspec.json.decode(payload)) == found[one]:
                del differing[one]
            else:
                differing[one] = "changed"
        return differing

    def _differing_children(
        self, con: duckdb.DuckDBPyConnection, child: StripeObject, found: dict[str, bytes]
    ) -> dict[str, str]:
        differing = dict.fromkeys(found, "is missing in the warehouse")
        for one, payload in _stream(
            con,
            f"select id, _payload::varchar from stripe.{child.name} where account_id = ? and livemode = ? "
            "and _deleted_at is null and id in (select unnest(?::varchar[]))",
            [*self.key, list(found)],
        ):
            if fingerprint(child, msgspec.json.decode(payload)) == found[one]:
                del differing[one]
            else:
                differing[one] = "differs from what its parent shows at Stripe"
        return differing

    async def _explain(self, row: StripeObject, differing: dict[str, str]) -> None:
        """Read what differs once more: rows that a list only hides are no difference."""
        for number, (one, kind) in enumerate(differing.items()):
            if kind == "missing":
                self._differs(row, one, "is missing in the warehouse")
            elif kind == "deleted":
                self._differs(row, one, "is deleted in the warehouse and exists at Stripe")
            elif not row.retrieve or row.strategy not in ("window", "chain"):
                self._differs(row, one, "is not listed by Stripe" if kind == "unlisted" else "differs from Stripe")
            elif kind == "unlisted" or number < EXPLAINED:
                what = await self._reread(row, one)
                if what:
                    self._differs(row, one, what)
            else:
                self._differs(row, one, "differs from Stripe")

    async def _reread(self, row: StripeObject, one: str) -> str:
        line, _ = await self.client.one(row, f"{row.path}/{one}")
        body: dict[str, Any] = msgspec.json.decode(line) if line is not None else {"deleted": True}
        if body.get("deleted"):
            return "is gone at Stripe and not deleted in the warehouse"
        with self.warehouse.connect(read_only=True) as con:
            found = con.execute(
                f"select _payload::varchar from stripe.{row.name} where account_id = ? and livemode = ? and id = ?",
                [*self.key, one],
            ).fetchone()
        held: dict[str, Any] = msgspec.json.decode(found[0]) if found else {}
        volatile = VOLATILE.get(row.name, ())
        fields = [name for name in sorted({*held, *body}) if held.get(name) != body.get(name) and name not in volatile]
        return f"differs in {', '.join(fields)}" if fields else ""

    def _known_unreadable(self, con: duckdb.DuckDBPyConnection, name: str) -> bool:
        """Whether the last refresh already said that this object cannot be read."""
        return bool(
            con.execute(
                "select 1 from sync.object_state where account_id = ? and livemode = ? and object = ? "
                "and state not in ('ok', 'unchanged')",
                [*self.key, name],
            ).fetchone()
        )

    def _differs(self, row: StripeObject, one: str, what: str) -> None:
        self.report.differences.append(Difference(row.name, self.account_id, one, what))


def _stream(con: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> Iterable[tuple[Any, ...]]:
    cursor = con.execute(query, values)
    while rows := cursor.fetchmany(10_000):
        yield from rows


__all__ = ["AuditReport", "Difference", "audit"]
