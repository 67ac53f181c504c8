"""What the warehouse holds of one account: asked before Stripe is, so that only differences are read and landed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.stripe_api.feed import OVERLAP as EVENT_OVERLAP
from dagster_project.stripe_api.reading import digest
from dagster_project.warehouse.state import Cursor, read_cursors

Key = tuple[str, bool]  # account id, livemode
# Rows may become listable late with an older `created` (https://github.com/singer-io/tap-stripe/pull/45 saw balance
# transactions do so).
_OVERLAPS = {"balance_transactions": 3600}
_OVERLAP = 600
# A list without `created` filter that is longer is landed as it is when it is read again, once a day.
_WORTH_COMPARING = 20_000
_OWN = "account_id = ? and livemode = ?"


def overlap(row: StripeObject) -> int:
    """Seconds before the last listing that the next one reads again."""
    return _OVERLAPS.get(row.name, _OVERLAP)


@dataclass
class OpenRows:
    """Rows that may change without an event: their ids, the earliest `created`, and all rows created since then."""

    ids: list[str]
    earliest: int
    since: int

    @property
    def listed(self) -> bool:
        """Whether listing the time since the earliest costs no more requests than reading each of them."""
        return self.since // 100 + 1 <= len(self.ids)


@dataclass
class Standing:
    """Cursors by object; ids of events in the time that is polled again; fingerprints of rows that are read again."""

    cursors: dict[str, Cursor] = field(default_factory=dict)
    event_ids: set[str] = field(default_factory=set)
    open_rows: dict[str, OpenRows] = field(default_factory=dict)
    fingerprints: dict[str, dict[str, bytes]] = field(default_factory=dict)


def standing(con: duckdb.DuckDBPyConnection, key: Key, names: Sequence[str]) -> Standing:
    """An object whose cursor is `stale` (its last reading failed, so that announced changes were missed) counts as
    never read."""
    cursors = {name: found[key] for name in names if key in (found := read_cursors(con, name))}
    known = Standing({name: cursor for name, cursor in cursors.items() if not cursor.get("stale")})
    if "events" in known.cursors:
        since = known.cursors["events"]["until"] - EVENT_OVERLAP
        rows = con.execute(
            # Events that another run landed since then have not been followed yet.
            f"select id from stripe.events where {_OWN} "
            "and created >= to_timestamp(?) and _observed_at <= to_timestamp(?)",
            [*key, since, known.cursors["events"]["until"]],
        ).fetchall()
        known.event_ids = {row[0] for row in rows}
    for name, cursor in known.cursors.items():
        row = CATALOGUE[name]
        if row.strategy == "window" and name != "events":
            if row.open_sql and (waiting := _open_rows(con, row, key)):
                known.open_rows[name] = waiting
            since = cursor.get("high", 0) - overlap(row)
            if (opened := known.open_rows.get(name)) and opened.listed:
                since = min(since, opened.earliest)
            known.fingerprints[name] = _fingerprints(con, row, key, since, known.open_rows.get(name))
        elif row.strategy in ("chain", "singleton"):
            known.fingerprints[name] = _fingerprints(con, row, key, None, None)
    return known


def _open_rows(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key) -> OpenRows | None:
    ids, earliest = con.execute(
        f"select list(id), epoch(min({row.created_field}))::bigint from stripe.{row.name} "
        f"where {_OWN} and _deleted_at is null and ({row.open_sql})",
        [*key],
    ).fetchone() or (None, None)
    if not ids:
        return None
    since = con.execute(
        f"select count(*) from stripe.{row.name} where {_OWN} and {row.created_field} >= to_timestamp(?)",
        [*key, earliest or 0],
    ).fetchone()
    return OpenRows(ids, int(earliest or 0), int(since[0]) if since else 0)


def _fingerprints(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, since: int | None, opened: OpenRows | None
) -> dict[str, bytes]:
    """Without deleted rows: one that shows up again must be landed again."""
    where, values = "true", list[Any](key)
    if since is None:
        found = con.execute(f"select count(*) from stripe.{row.name}").fetchone()
        if found and found[0] > _WORTH_COMPARING:
            return {}
    else:
        where = f"({row.created_field} >= to_timestamp(?) or id in (select unnest(?::varchar[])))"
        values += [since, [*(opened.ids if opened else []), key[0]]]  # the account itself is read every time
    rows = con.execute(
        f"select id, _payload::varchar from stripe.{row.name} where {_OWN} and _deleted_at is null and {where}",
        values,
    ).fetchall()
    return {one: digest(payload.encode()) for one, payload in rows}


def unseen(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, seen: Collection[str], start: int) -> list[str]:
    """Rows of the warehouse that a complete listing from `start` on did not show."""
    made = f"and {row.created_field} >= to_timestamp({start})" if row.strategy == "window" else ""
    return [
        one
        for (one,) in con.execute(
            f"select id from stripe.{row.name} where {_OWN} and _deleted_at is null {made} "
            "and id not in (select unnest(?::varchar[]))",
            [*key, list(seen)],
        ).fetchall()
    ]


def observed_after(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, moment: int) -> set[str]:
    """Rows that were read since `moment`, which a run that did not end may have done."""
    rows = con.execute(
        f"select id from stripe.{row.name} where {_OWN} and _observed_at > to_timestamp(?)", [*key, moment]
    )
    return {row[0] for row in rows.fetchall()}


def parents(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key) -> list[tuple[str, dict[str, Any]]]:
    """Parents that show that they have rows of this object: id and further query parameters."""
    result = con.execute(f"select * from ({row.parents_sql}) where {_OWN}", [*key])
    columns = [column[0] for column in result.description or []]
    found = []
    for values in result.fetchall():
        fields = dict(zip(columns, values, strict=True))
        extra = {name: value for name, value in fields.items() if name not in ("account_id", "livemode", "id")}
        found.append((fields["id"], extra))
    return found


def unlisted_payouts(con: duckdb.DuckDBPyConnection, key: Key) -> list[str]:
    """Automatic payouts whose batch Stripe has finished and that was not read yet
    (https://docs.stripe.com/payouts/reconciliation)."""
    rows = con.execute(
        f"""
        select p.id from stripe.payouts as p
        where {_OWN} and p.automatic and p.reconciliation_status = 'completed' and p._deleted_at is null
            and not exists (select 1 from sync.payout_transactions as t
                where t.account_id = p.account_id and t.livemode = p.livemode and t.payout = p.id)
        """,
        [*key],
    )
    return [row[0] for row in rows.fetchall()]
