"""Fields that Stripe sends and the pinned version does not know: kept in `_payload`, and reported in `sync.drift`."""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import StripeObject, columns
from dagster_project.warehouse.stage import count

# `livemode` is part of the key; `deleted` stands in the stub of an object that is gone.
_NOT_COLUMNS = {"livemode", "deleted"}


def known_fields(row: StripeObject) -> set[str]:
    """Top-level fields of an object that have a place of their own in its table."""
    return {column.name for column in columns(row.name)} | _NOT_COLUMNS


def record(con: duckdb.DuckDBPyConnection, row: StripeObject, lines: str) -> None:
    """Add the unknown top-level fields of the objects in `temp.<lines>` to `sync.drift`.

    Lines are grouped by the hash of their field names first, because there are few such shapes and many lines.
    """
    con.execute(
        f"""
        create or replace temp table shape as
        select account_id, livemode, hash(json_keys(_payload)) as shape, count(*) as lines, min(rowid) as line,
               min(_observed_at) as first_seen, max(_observed_at) as last_seen
        from temp.{lines} group by all
        """
    )
    known = ", ".join(f"'{name}'" for name in sorted(known_fields(row)))
    con.execute(
        f"""
        create or replace temp table unknown as
        select s.account_id, s.livemode, f.field, min(s.first_seen) as first_seen, max(s.last_seen) as last_seen,
               sum(s.lines)::bigint as lines, arg_min(f.id, s.line) as example
        from temp.shape as s
        join (
            select rowid as line, id, unnest(json_keys(_payload)) as field from temp.{lines}
            where rowid in (select line from temp.shape)
        ) as f using (line)
        where f.field not in ({known})
        group by all
        """
    )
    if not count(con, "select count(*) from temp.unknown"):
        return
    con.execute(
        f"""
        create or replace temp table drifted as
        select account_id, livemode, '{row.name}' as object, field, min(first_seen) as first_seen,
               max(last_seen) as last_seen, sum(lines)::bigint as rows, arg_max(example, last_seen) as example
        from (
            from temp.unknown
            union all by name
            select account_id, livemode, field, first_seen, last_seen, rows as lines, example
            from sync.drift where object = '{row.name}' and field in (select field from temp.unknown)
        )
        group by all
        """
    )
    con.execute(
        "delete from sync.drift as d using temp.drifted as n where d.account_id = n.account_id "
        "and d.livemode = n.livemode and d.object = n.object and d.field = n.field"
    )
    con.execute("insert into sync.drift by name from temp.drifted")
