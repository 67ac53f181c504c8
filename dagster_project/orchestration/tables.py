"""How a sync report becomes what the UI shows of `stripe.*`: materializations, their metadata, and checks.

Numbers are typed, so that Dagster plots them from run to run. Requests are shown in one place for all objects: on the
first object of the catalogue, the accounts, because Stripe's limits are per account.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.stripe_api.catalog import CATALOGUE, columns
from dagster_project.stripe_api.permissions import how_to_permit
from dagster_project.stripe_api.report import ObjectReport, SyncReport
from dagster_project.warehouse.unknown import Unknown, unknown

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READABLE = "readable"
UNIQUE_KEY = "unique_key"
PREVIEW_ROWS = 5


def stripe_key(name: str) -> dg.AssetKey:
    """The asset of an object."""
    return dg.AssetKey(["stripe", name])


@dataclass(frozen=True)
class Table:
    """`duplicates` is None where nothing changed, so that a refresh costs what changed and not what exists. `unknown`
    is what the pinned API version does not know of it."""

    rows: int
    duplicates: int | None
    preview: list[dict[str, Any]]
    unknown: list[Unknown] = field(default_factory=list)


def look(con: "DuckDBPyConnection", names: Iterable[str], report: SyncReport) -> dict[str, Table]:
    """Each table as it is now, with its newest few rows without anything about a person."""
    found = {}
    strange = unknown(con)
    for name in names:
        row = report.objects.get(name)
        changed = row is None or row.inserted or row.changed or row.deleted
        key = "count(*) - count(DISTINCT (account_id, livemode, id))" if changed else "NULL"
        rows, duplicates = con.execute(f'SELECT count(*), {key} FROM stripe."{name}"').fetchone() or (0, None)
        shown = [c.name for c in columns(name) if _harmless(c.name, c.duckdb_type)]
        listed = ", ".join('"' + column + '"' for column in shown)
        newest = con.execute(
            f'SELECT {listed} FROM stripe."{name}" ORDER BY _observed_at DESC, id LIMIT {PREVIEW_ROWS}'
        ).fetchall()
        preview = [dict(zip(shown, (_cell(value) for value in values), strict=True)) for values in newest]
        found[name] = Table(rows, duplicates, preview, [one for one in strange if one.object == name])
    return found


def _harmless(name: str, type_: str) -> bool:
    return type_ in ("BIGINT", "TIMESTAMPTZ") or name in ("id", "currency", "status", "type")


def _cell(value: Any) -> str | int:
    return value if isinstance(value, int) else "" if value is None else str(value)


def materialized(name: str, row: ObjectReport | None, table: Table, extra: dict[str, Any]) -> dg.MaterializeResult:
    """An object's table as it stands, with what its reading did."""
    metadata = {"dagster/row_count": table.rows, **_numbers(row), "unknown": len(table.unknown), **extra}
    if table.unknown:
        metadata["unknown at the pinned version"] = _records(_strange(one) for one in table.unknown)
    if table.preview:
        metadata["preview"] = _records(table.preview)
    unique = dg.AssetCheckResult(
        asset_key=stripe_key(name),
        check_name=UNIQUE_KEY,
        passed=not table.duplicates,
        metadata={"duplicates": table.duplicates or 0, "counted": table.duplicates is not None},
    )
    return dg.MaterializeResult(
        asset_key=stripe_key(name), metadata=metadata, check_results=[readable(name, row), unique]
    )


def _strange(one: Unknown) -> dict[str, Any]:
    seen = {"first seen": _cell(one.first_seen), "last seen": _cell(one.last_seen)}
    return {"unknown": one.what, "objects": one.rows, **seen, "example": one.example}


def _numbers(row: ObjectReport | None) -> dict[str, Any]:
    if row is None:
        return {}
    found: dict[str, Any] = {
        "state": row.state, "received": row.received, "inserted": row.inserted, "changed": row.changed,
        "deleted": row.deleted, "requests": row.requests, "429s": row.refused.total(), "seconds": round(row.seconds, 1),
    }  # fmt: skip
    found |= {f"429s {reason}": number for reason, number in row.refused.items()}
    if row.seconds > 0 and row.received:
        found["objects per second"] = round(row.received / row.seconds, 1)
    if row.share is not None:
        found["share of the limit (%)"] = round(row.share * 100, 1)
    if row.read_from and row.read_until:
        found["read from"] = dg.MetadataValue.timestamp(row.read_from)
        found["read until"] = dg.MetadataValue.timestamp(row.read_until)
    return found


def readable(name: str, row: ObjectReport | None) -> dg.AssetCheckResult:
    """Whether the key may read an object, and Stripe answered; the failed check says what to do."""
    text = row.message if row is not None else ""
    if row is not None and row.state == "not_permitted":
        text = f"{text} {how_to_permit(text)}"
    return dg.AssetCheckResult(
        asset_key=stripe_key(name),
        check_name=READABLE,
        passed=not unreadable(row),
        description=text or None,
        metadata={"state": row.state if row is not None else "read with its parent"},
    )


def unreadable(row: ObjectReport | None) -> bool:
    """Whether the last reading of an object failed."""
    return row is not None and row.state in ("not_permitted", "failed")


def whole_run(report: SyncReport) -> dict[str, Any]:
    """The run in numbers, and a table of requests, 429s by reason and objects per object type."""
    rows = [row for name in CATALOGUE if (row := report.objects.get(name)) and (row.requests or row.received)]
    received = sum(row.received for row in rows)
    found: dict[str, Any] = {
        "all: objects": received, "all: requests": report.requests, "all: 429s": report.refused.total(),
        "all: seconds": round(report.seconds, 1),
    }  # fmt: skip
    found |= {f"all: 429s {reason}": number for reason, number in report.refused.items()}
    if report.seconds > 0:
        found["all: objects per second"] = round(received / report.seconds, 1)
        found["all: requests per second"] = round(report.requests / report.seconds, 1)
    if report.share is not None:
        found["all: share of the limit (%)"] = round(report.share * 100, 1)
    reasons = sorted(report.refused)
    rows.sort(key=lambda row: (-row.requests, -row.received))
    if rows:
        found["requests by object"] = _records([_line(row, reasons) for row in rows])
    return found


def _line(row: ObjectReport, reasons: list[str]) -> dict[str, Any]:
    return {
        "object": row.name,
        "objects": row.received,
        "requests": row.requests,
        "429s": row.refused.total(),
        **{f"429 {reason}": row.refused[reason] for reason in reasons},
        "objects/s": round(row.received / row.seconds, 1) if row.seconds > 0 else 0.0,
        "limit used (%)": "" if row.share is None else f"{row.share * 100:.0f}",
        "seconds": round(row.seconds, 1),
        "inserted": row.inserted,
        "changed": row.changed,
        "deleted": row.deleted,
    }


def _records(rows: Iterable[dict[str, Any]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])
