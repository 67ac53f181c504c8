"""What a finance person asks first, from the published warehouse.

Money is shown in major units with the currency's own number of decimals; everything is counted in minor units.
"""

from __future__ import annotations

from typing import Any

import duckdb

from dagster_project.errors import WarehouseError
from dagster_project.settings import Settings
from dagster_project.terminal import say, table
from dagster_project.warehouse.connection import Warehouse

HEADLINE = {
    "mrr": """
        select currency, month, closing as mrr, customers_closing as customers, opening, new_amount as new,
               expansion, contraction, churn, reactivation, fx
        from marts.rpt_mrr_rollforward
        where basis = 'local' and month = (select max(month) from marts.rpt_mrr_rollforward)
        order by closing desc""",
    "retention": """
        select currency, nrr, grr, logo_churn
        from marts.rpt_retention
        where window_months = 12 and basis = 'local' and month = (select max(month) from marts.rpt_retention)
        order by currency""",
    "balance": """
        select currency, closing, available, pending, stripe_reported, difference
        from marts.fct_stripe_balance_daily
        qualify row_number() over (partition by account_id, livemode, currency order by day desc) = 1
        order by currency""",
    "payouts": """
        select currency, count(*)::bigint as payouts, count(*) filter (recon_status = 'matched')::bigint as matched,
               count(*) filter (recon_status = 'mismatch')::bigint as mismatched,
               count(*) filter (recon_status in ('pending'))::bigint as pending,
               count(*) filter (recon_status = 'failed_reversed')::bigint as failed
        from marts.fct_payout group by currency order by currency""",
    "disputes": """
        select dispute_id, amount, currency, reason, status, due_by
        from marts.fct_dispute where status in ('needs_response', 'warning_needs_response')
        order by due_by nulls last limit 10""",
    "exceptions": "select code, severity, count(*)::bigint as n from marts.mon_recon_exceptions "
    "where resolved_at is null group by all order by n desc",
}


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """The published warehouse, read-only. Raises WarehouseError when nothing was published yet."""
    file = Warehouse(settings.data_dir).published
    if not file.exists():
        raise WarehouseError("Nothing is published yet.", "Run `ledgerline refresh`.")
    return duckdb.connect(str(file.resolve()), read_only=True)


def headline(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """The answers as rows, by topic."""
    with connect(settings) as con:
        return {topic: rows_of(con, sql) for topic, sql in HEADLINE.items()}


def rows_of(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    cursor = con.execute(sql)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def exponents(settings: Settings) -> dict[str, int]:
    with connect(settings) as con:
        return dict(con.execute("select code, exponent from seeds.stripe_currency").fetchall())


def money(amount: int | None, currency: str, exponent: dict[str, int]) -> str:
    """`1234567, usd` as `12,345.67 USD`."""
    if amount is None:
        return "–"
    places = exponent.get(currency.lower(), 2)
    sign, digits = ("-" if amount < 0 else ""), f"{abs(amount):0{places + 1}d}"
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
    return f"{sign}{int(whole):,}{'.' + part if part else ''} {currency.upper()}"


def show_headline(settings: Settings) -> bool:
    """Print the answers; True when everything ties."""
    answers = headline(settings)
    places = exponents(settings)

    def cash(row: dict[str, Any], column: str) -> str:
        return money(row[column], row["currency"], places)

    if answers["mrr"]:
        say(f"\nMRR in {answers['mrr'][0]['month']:%B %Y}, per currency")
        retention = {row["currency"]: row for row in answers["retention"]}
        movements = ("new", "expansion", "contraction", "churn", "reactivation")
        table(
            ("MRR", "customers", "opening", *movements, "NRR 12 m"),
            [
                (
                    cash(row, "mrr"),
                    row["customers"],
                    cash(row, "opening"),
                    *(cash(row, m) for m in movements),
                    _percent(retention.get(row["currency"], {}).get("nrr")),
                )
                for row in answers["mrr"]
            ],
        )
    say("\nBalance, as booked and as Stripe reports it")
    table(
        ("booked", "Stripe says", "difference", "ties"),
        [
            (
                cash(row, "closing"),
                cash(row, "stripe_reported"),
                cash(row, "difference"),
                row["difference"] == 0,
            )
            for row in answers["balance"]
        ],
    )
    say("\nPayouts against their batches")
    table(
        ("currency", "payouts", "matched", "mismatched", "pending", "failed and returned"),
        [
            (r["currency"].upper(), r["payouts"], r["matched"], r["mismatched"], r["pending"], r["failed"])
            for r in answers["payouts"]
        ],
    )
    say(f"\nOpen disputes that need an answer: {len(answers['disputes'])}")
    if answers["disputes"]:
        table(
            ("dispute", "amount", "reason", "answer by"),
            [
                (
                    r["dispute_id"],
                    cash(r, "amount"),
                    r["reason"],
                    f"{r['due_by']:%Y-%m-%d}" if r["due_by"] else None,
                )
                for r in answers["disputes"]
            ],
        )
    return all(row["difference"] == 0 for row in answers["balance"]) and not any(
        row["mismatched"] for row in answers["payouts"]
    )


def _percent(value: Any) -> str:
    return "–" if value is None else f"{float(value) * 100:.1f} %"


def show_effects(settings: Settings) -> None:
    from dagster_project.activation.overview import overview
    from dagster_project.ops.database import open_ops

    rows = overview(open_ops(settings))
    say("\nSent")
    if rows:
        table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    else:
        say("  nothing yet")
