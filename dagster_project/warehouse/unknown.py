"""What Stripe sent and the pinned API version does not know: fields, kept in `_payload`, and types of events, kept in
`stripe.events`. Nothing of it is dropped; a newer version of Ledgerline gives it a place of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from dagster_project.stripe_api.catalog import is_known_event


@dataclass(frozen=True)
class Unknown:
    """`what` is a field or a type of event, of `object`; `rows` is how many had it, `example` the id of one."""

    object: str
    what: str
    rows: int
    first_seen: datetime
    last_seen: datetime
    example: str


def unknown(con: duckdb.DuckDBPyConnection) -> list[Unknown]:
    """Everything unknown so far, over all accounts, by object and name."""
    return [*_fields(con), *_events(con)]


def _fields(con: duckdb.DuckDBPyConnection) -> list[Unknown]:
    if not _there(con, "sync", "drift"):
        return []  # a version published before fields were compared
    rows = con.execute(
        'select object, field, sum("rows")::bigint, min(first_seen), max(last_seen), arg_max(example, last_seen) '
        "from sync.drift group by object, field order by object, field"
    ).fetchall()
    return [Unknown(object, f"field {field}", *rest) for object, field, *rest in rows]


def _events(con: duckdb.DuckDBPyConnection) -> list[Unknown]:
    if not _there(con, "stripe", "events"):
        return []
    rows = con.execute(
        "select type, count(*), min(created), max(created), arg_max(id, created) "
        "from stripe.events where type is not null group by type order by type"
    ).fetchall()
    return [Unknown("events", f"type {type_}", *rest) for type_, *rest in rows if not is_known_event(type_)]


def _there(con: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    found = con.execute(
        "select 1 from duckdb_tables() where schema_name = ? and table_name = ? and database_name = current_database()",
        [schema, table],
    ).fetchone()
    return found is not None
