"""Read-only copies of effects, attempts and approvals in the warehouse, so that delivery is modelled like the rest.

Payloads stay behind: they hold what a person wrote or is called, and the effect's key leads to them.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Column, Engine, Table, select
from sqlalchemy.types import JSON, BigInteger, Boolean, Integer

from dagster_project.ops.tables import Utc, approval, attempt, effect

_LEFT_OUT = {"payload", "lease_by", "lease_until", "seq", "lane"}
_COPIES: dict[str, tuple[Table, str]] = {
    "effects": (effect, "What left or is to leave, one row per effect. A copy: the ops database decides."),
    "attempts": (attempt, "Every try to send an effect. A copy of the ops database."),
    "approvals": (approval, "Who was asked to approve which effect. A copy of the ops database."),
}
_COMMENTS = {
    "id": "Identifier.", "effect_id": "The effect it belongs to.", "n": "1 for the first try.",
    "route": "Route that planned it.", "route_hash": "SHA-256 of the route and its templates when it was planned.",
    "account_id": "Stripe account.", "livemode": "Live or test data.", "key": "Key of the outcome.",
    "version": "How often the outcome's key has made effects.", "step": "Step of the route, from 1.",
    "gen": "1, or more for a replay.", "replay_of": "The effect that this one replaces.", "dest": "Destination.",
    "payload_sha": "SHA-256 of what is sent.", "while_source": "Outcome that is read again before sending.",
    "while_column": "Column of it that must be true.", "occurred_at": "When it happened, by Stripe's clock.",
    "created_at": "When it was planned.", "not_before": "Not to be sent earlier.",
    "state": "ready, waiting, held, sending, delivered, dead, unsure, cancelled, superseded or replaced; of an "
    "approval: pending, approved, rejected or expired.",
    "attempt": "How many tries.", "next_at": "When it is due; empty when a person decides.",
    "first_sent_at": "First try.", "done_at": "When the destination acknowledged it.",
    "remote_id": "What it is called there.", "error_class": "not_applied, permanent, unknown, parked or cancelled.",
    "error": "Why it was not delivered, without secrets.", "started": "When the try began.", "ended": "When it ended.",
    "outcome": "delivered, not_applied, permanent, unknown, parked or cancelled.",
    "retry_after_s": "Seconds that the destination asked to wait.", "policy": "Who may approve.",
    "digest": "SHA-256 of what is approved.", "quorum": "How many have to approve.",
    "requested_by": "Who or what asked.", "requested_at": "When it was asked.", "expires_at": "Until when it is valid.",
}  # fmt: skip


def copy_to_warehouse(con: duckdb.DuckDBPyConnection, engine: Engine) -> None:
    """Replace ops.effects, ops.attempts and ops.approvals of an open build file."""
    con.execute("create schema if not exists ops")
    with tempfile.TemporaryDirectory() as folder:
        for name, (table, comment) in _COPIES.items():
            columns = [column for column in table.c if column.name not in _LEFT_OUT]
            file = Path(folder) / f"{name}.jsonl"
            # Through a file: DuckDB inserts row by row a thousand times slower than it reads.
            with engine.connect() as connection, file.open("w", encoding="utf-8") as out:
                for row in connection.execute(select(*columns)):
                    values = zip(columns, row, strict=True)
                    out.write(json.dumps({column.name: _text(value) for column, value in values}) + "\n")
            types = {column.name: _type(column) for column in columns}
            source = "read_json(?, format = 'newline_delimited', columns = ?)"
            listed = ", ".join(f'"{each}"' for each in types)
            con.execute(f"create or replace table ops.{name} as select {listed} from {source}", [str(file), types])
            con.execute(f"comment on table ops.{name} is '{_quoted(comment)}'")
            for each in types:
                con.execute(f"comment on column ops.{name}.\"{each}\" is '{_quoted(_COMMENTS[each])}'")


def _type(column: Column[Any]) -> str:
    match column.type:
        case Utc():
            return "TIMESTAMPTZ"
        case Boolean():
            return "BOOLEAN"
        case BigInteger() | Integer():
            return "BIGINT"
        case JSON():
            return "JSON"
        case _:
            return "VARCHAR"


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _quoted(text: str) -> str:
    return text.replace("'", "''")
