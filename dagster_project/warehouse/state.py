"""What the sync knows about itself, in the warehouse's own transaction: accounts, object states, versions, cursors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, EVENT_RETENTION_DAYS

Cursor = dict[str, Any]


def record_account(
    con: duckdb.DuckDBPyConnection, account_id: str, livemode: bool, name: str, country: str | None,
    default_currency: str | None, created: datetime | None, synced_until: datetime, error: str | None = None,
) -> None:  # fmt: skip
    """The account as last seen; `synced_until` (Stripe's clock) is what the models take for now."""
    con.execute("delete from sync.accounts where account_id = ? and livemode = ?", [account_id, livemode])
    con.execute(
        "insert into sync.accounts values (?, ?, ?, ?, ?, ?, ?, ?)",
        [account_id, livemode, name, country, default_currency, created, synced_until, error],
    )


def read_until(con: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Account id -> until when (Unix seconds) it was read, in the mode that was read longest ago."""
    rows = con.execute("select account_id, epoch(min(synced_until)) from sync.accounts group by 1").fetchall()
    return {account: float(until) for account, until in rows}


def record_object_state(
    con: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, bool, str, str, str | None, datetime]]
) -> None:
    """Rows of (account_id, livemode, object, state ok|not_permitted|failed, message, checked_at)."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not columns:
        return
    con.execute(
        "delete from sync.object_state as t using (select unnest(?::varchar[]) as account_id, "
        "unnest(?::boolean[]) as livemode, unnest(?::varchar[]) as object) as s "
        "where t.account_id = s.account_id and t.livemode = s.livemode and t.object = s.object",
        columns[:3],
    )
    con.execute(
        "insert into sync.object_state select unnest(?::varchar[]), unnest(?::boolean[]), unnest(?::varchar[]), "
        "unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::timestamptz[])",
        columns,
    )


def record_gap(con: duckdb.DuckDBPyConnection, key: tuple[str, bool], since: int, now: int) -> None:
    """Nobody can tell any more what changed from `since` on (Unix seconds): every row may have, and some events are
    lost for good."""
    forgotten = now - EVENT_RETENTION_DAYS * 86_400
    con.execute("delete from sync.gaps where account_id = ? and livemode = ? and object <> 'events'", [*key])
    con.executemany(
        "insert into sync.gaps select ?, ?, ?, (to_timestamp(?) at time zone 'UTC')::date, "
        "(to_timestamp(?) at time zone 'UTC')::date, to_timestamp(?)",
        [
            [*key, row.name, *((since, forgotten) if row.name == "events" else (0, now)), now]
            for row in CATALOGUE.values()
            if row.events or row.name == "events"
        ],
    )


def forget_gaps(con: duckdb.DuckDBPyConnection, key: tuple[str, bool], objects: Sequence[str]) -> None:
    """These objects have been read again as a whole."""
    con.execute(
        "delete from sync.gaps where account_id = ? and livemode = ? and object in (select unnest(?::varchar[]))",
        [*key, list(objects)],
    )


def read_cursors(con: duckdb.DuckDBPyConnection, object: str) -> dict[tuple[str, bool], Cursor]:
    """How far each account's object was read, by (account_id, livemode)."""
    rows = con.execute(f"select account_id, livemode, cursor from sync.cursor_{object}").fetchall()
    return {(account, livemode): json.loads(cursor) for account, livemode, cursor in rows}


def cursors_of(
    con: duckdb.DuckDBPyConnection, objects: Iterable[str], account_id: str, livemode: bool
) -> dict[str, Cursor]:
    """How far each object of one account was read; without those that never were."""
    each = " union all ".join(
        f"select '{object}' as object, cursor from sync.cursor_{object} where account_id = $id and livemode = $live"
        for object in objects
    )
    rows = con.execute(each, {"id": account_id, "live": livemode}).fetchall()
    return {object: json.loads(cursor) for object, cursor in rows}


def write_cursor(con: duckdb.DuckDBPyConnection, object: str, account_id: str, livemode: bool, cursor: Cursor) -> None:
    """Replace the one row of an account; it is also the fence against a second writer."""
    table = f"sync.cursor_{object}"
    found = con.execute(
        f"update {table} set cursor = ?, updated_at = now() where account_id = ? and livemode = ?",
        [json.dumps(cursor), account_id, livemode],
    ).fetchone()
    if not found or not found[0]:
        con.execute(f"insert into {table} values (?, ?, ?, now())", [account_id, livemode, json.dumps(cursor)])


def loaded_files(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Keys of the landed files that are in the warehouse."""
    return {row[0] for row in con.execute("select file from sync.loads").fetchall()}


def load_version(con: duckdb.DuckDBPyConnection) -> int:
    """Grows by one with every load that changed a row."""
    return _number(con, "version")


def built_version(con: duckdb.DuckDBPyConnection) -> int:
    """The load that the last successful build of the models saw; -1 before the first."""
    return _number(con, "built")


def mark_built(con: duckdb.DuckDBPyConnection, version: int) -> None:
    """Remember which load a successful build of the models saw."""
    con.execute("update sync.built set version = ?", [version])


def _number(con: duckdb.DuckDBPyConnection, table: str) -> int:
    found = con.execute(
        "select 1 from duckdb_tables() "
        "where schema_name = 'sync' and table_name = ? and database_name = current_database()",
        [table],
    ).fetchone()
    if not found:
        return -1
    row = con.execute(f"select version from sync.{table}").fetchone()
    return int(row[0]) if row else -1
