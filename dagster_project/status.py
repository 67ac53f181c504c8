"""The one screen of `ledgerline status`: how old, how complete, what ties, what could not be read, what waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.errors import WarehouseLocked
from dagster_project.settings import Settings
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.permissions import how_to_permit
from dagster_project.summary import HEADLINE, connect, exponents, money, rows_of
from dagster_project.terminal import say, table
from dagster_project.warehouse.connection import Warehouse, open_file
from dagster_project.warehouse.state import read_cursors
from dagster_project.warehouse.unknown import unknown

STATES = ("proven", "open", "different", "gapped", "not_permitted")
_SHOWN = 10  # objects or fields that the screen names; `--json` has all

_COMPLETENESS = f"""
    select object, {
    ", ".join(
        f"coalesce(sum(greatest(coalesce(rows_stripe, 0), coalesce(rows_warehouse, 0)))"
        f" filter (state = '{state}'), 0)::bigint as {state}"
        for state in STATES
    )
},
        count(*) filter (state in ('different', 'gapped', 'not_permitted'))::bigint as bad_days
    from marts.mon_completeness group by object order by object"""


def read_status(settings: Settings) -> dict[str, Any]:
    """Everything that the screen shows, as one value; `ok` is False when something needs a person."""
    from dagster_project.activation.overview import overview
    from dagster_project.ops.database import open_ops
    from dagster_project.receiver.inbox import pending
    from dagster_project.warehouse.publish import current

    warehouse = Warehouse(settings.data_dir)
    engine = open_ops(settings)
    waiting: dict[str, Any] = {"webhooks": len(pending(engine)), "effects": overview(engine)}
    publication = current(warehouse)
    if publication is None:
        return {"ok": False, "publication": None, "owed": owed(warehouse), "waiting": waiting}
    with connect(settings) as con:
        objects = rows_of(
            con,
            "select object, state, message, checked_at from sync.object_state where state in ('not_permitted', "
            "'failed') order by object",
        )
        completeness = rows_of(con, _COMPLETENESS)
        ties = rows_of(con, HEADLINE["balance"])
        report = {
            "accounts": rows_of(
                con, "select account_id, livemode, name, synced_until from sync.accounts order by account_id, livemode"
            ),
            "completeness": completeness,
            "balance": ties,
            "reads": _allocations(con),
            "objects": [{**row, "next_step": _next_step(row)} for row in objects],
            "unknown": [asdict(one) for one in unknown(con)],
            "exceptions": rows_of(con, HEADLINE["exceptions"]),
        }  # fmt: skip
    stuck = [row for row in waiting["effects"] if row.get("dead") or row.get("unsure")]
    wrong = any(row["different"] or row["gapped"] for row in completeness)
    return {
        "ok": not objects and not stuck and not wrong and all(row["difference"] == 0 for row in ties),
        "publication": {
            "number": publication.number,
            "published_at": publication.published_at,
            "data_until": publication.data_until,
            "path": str(publication.path),
        },
        **report,
        "owed": owed(warehouse),
        "waiting": waiting,
        "exponents": exponents(settings),
    }


def _allocations(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """What was used of Stripe's read allocations."""
    from dagster_project.stripe_api.allocation import standings

    return [
        {"who": one.who, "livemode": one.livemode, "used": one.used, "allowed": one.allowed, "projected": one.projected}
        for one in standings(con)
    ]


def _next_step(row: dict[str, Any]) -> str:
    return how_to_permit(row["message"] or "") if row["state"] == "not_permitted" else "Run `ledgerline refresh`."


def owed(warehouse: Warehouse) -> list[dict[str, Any]]:
    """What of each object is still to be read: an interrupted run, or one that could not read an object, left it.

    From the build, or while a run writes there, from the published version.
    """
    found = []
    with _newest(warehouse) as con:
        if con is None:
            return []
        tables = {name for (name,) in con.execute("select table_name from duckdb_tables() where schema_name = 'sync'")
                  .fetchall()}  # fmt: skip
        for name in CATALOGUE:
            if f"cursor_{name}" not in tables:
                continue
            for (account, livemode), cursor in read_cursors(con, name).items():
                kept = cursor.get("owed") or {}
                ranges, ids = kept.get("ranges", []), len(kept.get("ids", {}))
                if ranges or ids or kept.get("after") is not None:
                    found.append(
                        {"object": name, "account_id": account, "livemode": livemode, "ranges": ranges, "ids": ids,
                         "rest_of_list": kept.get("after") is not None}
                    )  # fmt: skip
    return found


@contextmanager
def _newest(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection | None]:
    for path in (warehouse.build, Path(warehouse.published).resolve()):
        if path.exists():
            try:
                with open_file(path, read_only=True, wait=0) as con:
                    yield con
                    return
            except WarehouseLocked:
                continue
    yield None


# ---- the screen ------------------------------------------------------------------------------------------------
def show_status(report: dict[str, Any]) -> None:
    """Print what `read_status` found."""
    publication = report["publication"]
    if publication is None:
        say("Nothing is published yet. Next: `ledgerline refresh`.")
        _show_owed(report["owed"])
        return
    say(
        f"Version {publication['number']}, published {ago(publication['published_at'])}, "
        f"data until {publication['data_until']:%Y-%m-%d %H:%M} UTC"
    )
    _show_accounts(report)
    _show_completeness(report["completeness"])
    say("\nBalance")
    places = report["exponents"]
    table(
        ("booked", "Stripe says", "difference"),
        [
            tuple(money(r[column], r["currency"], places) for column in ("closing", "stripe_reported", "difference"))
            for r in report["balance"]
        ],
    )
    _show_unreadable(report["objects"])
    _show_owed(report["owed"])
    if report["unknown"]:
        say("\nUnknown at the pinned API version (kept; nothing is lost)")
        table(
            ("object", "what", "seen", "first", "last", "example"),
            [
                (u["object"], u["what"], u["rows"], _day(u["first_seen"]), _day(u["last_seen"]), u["example"])
                for u in report["unknown"][:_SHOWN]
            ],
        )
        _more(report["unknown"])
    if report["exceptions"]:
        say("\nOpen exceptions")
        table(("code", "severity", "count"), [(r["code"], r["severity"], r["n"]) for r in report["exceptions"]])
    _show_waiting(report["waiting"])
    say("\nAll is well." if report["ok"] else "\nSomething needs a person: see above.")


def _show_accounts(report: dict[str, Any]) -> None:
    reads = {(one["who"], one["livemode"]): one for one in report["reads"]}
    lines: list[tuple[object, ...]] = []
    for account in report["accounts"]:
        one = reads.pop((account["account_id"], account["livemode"]), None)
        mode = "live" if account["livemode"] else "test"
        lines.append((account["account_id"], mode, f"{account['synced_until']:%Y-%m-%d %H:%M} UTC", *_reads(one)))
    lines += [(one["who"], "live" if one["livemode"] else "test", None, *_reads(one)) for one in reads.values()]
    table(("account", "mode", "read until", "reads in 30 days", "allowed", "at this pace"), lines)


def _reads(one: dict[str, Any] | None) -> tuple[int | None, int | None, int | None]:
    return (one["used"], one["allowed"], one["projected"]) if one else (None, None, None)


def _show_completeness(objects: list[dict[str, Any]]) -> None:
    """Shares of all rows, then the objects that are not proven whole, worst first."""
    total = {state: sum(row[state] for row in objects) for state in STATES}
    rows = sum(total.values())
    say("\nCompleteness: " + ", ".join(f"{_share(total[state], rows)} {_words(state)}" for state in STATES))
    doubtful = [row for row in objects if row["bad_days"] or row["open"]]
    doubtful.sort(key=lambda row: (-row["different"] - row["gapped"], -row["bad_days"], -row["open"]))
    if doubtful:
        table(
            ("object", "rows", *map(_words, STATES)),
            [
                (row["object"], sum(row[state] for state in STATES), *(
                    _share(row[state], sum(row[s] for s in STATES)) if row[state] else "" for state in STATES
                ))
                for row in doubtful[:_SHOWN]
            ],
        )  # fmt: skip
        _more(doubtful)


def _share(part: int, whole: int) -> str:
    """Never 100 % or 0 % of what is not all or nothing."""
    if part in (0, whole):
        return "100 %" if part else "0 %"
    return f"{min(99.9, max(0.1, 100 * part / whole)):.1f} %"


def _words(state: str) -> str:
    return state.replace("_", " ")


def _show_unreadable(objects: list[dict[str, Any]]) -> None:
    by_step: dict[tuple[str, str], list[str]] = {}
    for row in objects:
        by_step.setdefault((row["state"], row["next_step"]), []).append(row["object"])
    for (state, step), names in by_step.items():
        say(
            f"\n{'Not permitted' if state == 'not_permitted' else 'Could not be read'}: {', '.join(sorted(set(names)))}"
        )
        if state == "failed":
            for row in objects:
                if row["state"] == "failed":
                    say(f"  {row['object']}: {row['message']}")
        say(f"  Next: {step}")


def _show_owed(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    say("\nStill to be read (the next refresh does)")
    table(
        ("object", "account", "created in", "single objects"),
        [(row["object"], row["account_id"], _ranges(row), row["ids"]) for row in rows[:_SHOWN]],
    )
    _more(rows)


def _ranges(row: dict[str, Any]) -> str:
    if row["rest_of_list"]:
        return "the rest of its list"
    if not row["ranges"]:
        return "–"
    low, high = min(r[0] for r in row["ranges"]), max(r[1] for r in row["ranges"])
    until = "now" if high >= 2**33 else f"{datetime.fromtimestamp(high, UTC):%Y-%m-%d}"
    parts = f" in {len(row['ranges'])} parts" if len(row["ranges"]) > 1 else ""
    return f"{datetime.fromtimestamp(low, UTC):%Y-%m-%d} to {until}{parts}"


def _show_waiting(waiting: dict[str, Any]) -> None:
    if waiting["webhooks"]:
        say(f"\n{waiting['webhooks']:,} webhooks wait for the next refresh.")
    if waiting["effects"]:
        say("\nEffects")
        table(tuple(waiting["effects"][0]), [tuple(row.values()) for row in waiting["effects"]])


def _more(rows: list[dict[str, Any]]) -> None:
    if len(rows) > _SHOWN:
        say(f"and {len(rows) - _SHOWN} more: --json has all")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def ago(moment: datetime) -> str:
    """`just now`, `12 minutes ago`, `3 hours ago`, `5 days ago`."""
    minutes = (datetime.now(UTC) - moment).total_seconds() / 60
    for size, unit in ((2 * 1440, "day"), (2 * 60, "hour"), (1, "minute")):
        if minutes >= size:
            number = int(minutes / {"day": 1440, "hour": 60, "minute": 1}[unit])
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"
