"""What the warehouse holds of one account: asked before Stripe is, so that only differences are read and landed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb

from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.stripe_api.owed import Range
from dagster_project.stripe_api.plan import Place

Key = tuple[str, bool]  # account id, livemode
Touched = Mapping[str, Collection[str]]  # column -> values that events named
# A list without `created` filter that is longer is landed as it is when it is read again.
_WORTH_COMPARING = 20_000
_DAY = 86_400
_REPORTED_LATE = 36 * _DAY  # https://docs.stripe.com/api/billing/meter-event/create: usage of the last 35 days
_OWN = "account_id = ? and livemode = ?"


def events_since(con: duckdb.DuckDBPyConnection, key: Key, since: int) -> set[str]:
    """Ids of events in the time that is polled again."""
    rows = con.execute(f"select id from stripe.events where {_OWN} and created >= to_timestamp(?)", [*key, since])
    return {row[0] for row in rows.fetchall()}


def rows_by_rule(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, rule: str, now: int, *, touched: Touched | None = None
) -> dict[str, int]:
    """Rows for which a rule of the catalogue holds, with their `created`; those of them that an event touched."""
    condition, values = rule.replace("{now}", f"to_timestamp({now})"), list[Any](key)
    if touched is not None:
        each = [f"{column} in (select unnest(?::varchar[]))" for column in touched]
        condition = f"({condition}) and ({' or '.join(each)})"
        values += [list(found) for found in touched.values()]
    rows = con.execute(
        f"select id, epoch({row.created_field})::bigint from stripe.{row.name} "
        f"where {_OWN} and _deleted_at is null and ({condition})",
        values,
    )
    return dict(rows.fetchall())


def named(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, since: int) -> list[str]:
    """Ids that rows read since `since` name, that the warehouse has not and that were never asked for."""
    rule = (row.named_sql or "").replace("{since}", f"to_timestamp({since})")
    rows = con.execute(
        f"select distinct id from ({rule}) as n where {_OWN} and id is not null "
        f"and id not in (select id from stripe.{row.name} where {_OWN}) "
        f"and id not in (select parent from sync.asked where {_OWN} and object = ?)",
        [*key, *key, *key, row.name],
    )
    return [id for (id,) in rows.fetchall()]


def places(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, ids: Mapping[str, int | None]
) -> dict[str, Place]:
    """Where rows stand in Stripe's list, newest first; new ones by their `created`, those without it nowhere."""
    found = con.execute(
        f"""
        with asked as (select unnest(?::varchar[]) as id, unnest(?::bigint[]) as made),
        known as (
            select id, epoch({row.created_field})::bigint as made from stripe.{row.name}
            where {_OWN} and _deleted_at is null
        ),
        every as (
            select id, made from known
            union all
            select id, made from asked where made is not null and id not in (select id from known)
        ),
        seconds as (select made, count(*) as n from every where made is not null group by made),
        placed as (select made, n, (sum(n) over (order by made desc))::bigint as last from seconds)
        select id, last - n + 1, made, last from every join placed using (made) semi join asked using (id)
        """,
        [list(ids), list(ids.values()), *key],
    )
    return {id: Place(at, made, last) for id, at, made, last in found.fetchall()}


def values_of(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, ids: Collection[str]) -> dict[str, str]:
    """Of rows the values of the filter that, with their second, shows them alone."""
    rows = con.execute(
        f"select id, {row.alone_by} from stripe.{row.name} where {_OWN} and {row.alone_by} is not null "
        "and id in (select unnest(?::varchar[]))",
        [*key, list(ids)],
    )
    return dict(rows.fetchall())


def known_ids(con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, ids: Collection[str]) -> set[str]:
    """Those of `ids` that the warehouse has."""
    rows = con.execute(
        f"select id from stripe.{row.name} where {_OWN} and id in (select unnest(?::varchar[]))", [*key, list(ids)]
    )
    return {row[0] for row in rows.fetchall()}


def fingerprints(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, ranges: Sequence[Range] | None, ids: Collection[str]
) -> dict[str, str]:
    """Of rows in `ranges` (None: all, unless there are too many) and of `ids`, as `sink.digest` makes them.

    Without deleted rows: one that shows up again must be landed again.
    """
    own = f"from stripe.{row.name} where {_OWN} and _deleted_at is null"
    if ranges is None:
        found = con.execute(f"select count(*) from stripe.{row.name}").fetchone()
        if found and found[0] > _WORTH_COMPARING:
            return {}
        return dict(con.execute(f"select id, md5(_payload::varchar) {own}", [*key]).fetchall())
    # The rows first, by their times alone: a join that carried the payloads would unpack the whole table.
    con.execute(
        f"""
        create or replace temp table again as
        with asked as (select unnest(?::bigint[]) as low, unnest(?::bigint[]) as high),
        own as (select rowid as _at, id, epoch({row.created_field})::bigint as made {own})
        select own._at from own asof left join asked on own.made >= asked.low
        where own.made <= asked.high or own.id in (select unnest(?::varchar[]))
        """,
        [[low for low, _ in ranges], [high for _, high in ranges], *key, list(ids)],
    )
    rows = con.execute(
        f"select id, md5(_payload::varchar) from stripe.{row.name} where rowid in (select _at from temp.again)"
    )
    return dict(rows.fetchall())


def unseen(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, unchanged: Collection[str], since: int, start: int
) -> list[str]:
    """Rows that a complete listing, begun at `since`, of everything created from `start` on did not show."""
    made = f"and {row.created_field} >= to_timestamp({start})" if row.strategy == "window" else ""
    return [
        one
        for (one,) in con.execute(
            f"select id from stripe.{row.name} where {_OWN} and _deleted_at is null and _observed_at < to_timestamp(?) "
            f"{made} and id not in (select unnest(?::varchar[]))",
            [*key, since, list(unchanged)],
        ).fetchall()
    ]


def parents_to_ask(
    con: duckdb.DuckDBPyConnection, row: StripeObject, key: Key, now: int | None
) -> list[tuple[str, str, dict[str, Any]]]:
    """Parents that show that they have rows of this object and were never asked for them, were read since, or were
    asked too long before `now` (None: all): (key under which that is remembered, id, further query parameters).

    A parent with a window of time is asked when that has grown, and only for what may be new in it.
    """
    asked = dict(
        con.execute(
            f"select parent, epoch(asked_at) from sync.asked where {_OWN} and object = ?", [*key, row.name]
        ).fetchall()
    )
    result = con.execute(
        f"select p.*, epoch(r._observed_at) as _read from ({row.parents_sql}) as p left join stripe.{row.parent} as r "
        "on r.account_id = p.account_id and r.livemode = p.livemode and r.id = p.id "
        "where p.account_id = ? and p.livemode = ?",
        [*key],
    )
    columns = [column[0] for column in result.description or []]
    found = []
    hours = float("inf") if row.again_hours is None else row.again_hours
    for values in result.fetchall():
        fields = dict(zip(columns, values, strict=True))
        own = ("account_id", "livemode", "id", "_read")
        extra = {name: value for name, value in fields.items() if name not in own}
        # A time that moves on is no other question.
        words = [str(value) for name, value in extra.items() if not name.endswith("_time")]
        remembered = "|".join([fields["id"], *words])
        last = asked.get(remembered) if now is not None else None
        if last is not None and "end_time" in extra:
            if extra["end_time"] <= last:
                continue
            extra["start_time"] = max(extra["start_time"], int(last - _REPORTED_LATE) // _DAY * _DAY)
        elif last is not None and now is not None and max(fields["_read"] or 0, now - hours * 3600) <= last:
            continue
        found.append((remembered, fields["id"], extra))
    return found


def asked(con: duckdb.DuckDBPyConnection, object: str, key: Key) -> set[str]:
    """Parents whose lists of `object` were read."""
    rows = con.execute(f"select parent from sync.asked where {_OWN} and object = ?", [*key, object])
    return {row[0] for row in rows.fetchall()}
