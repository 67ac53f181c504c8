"""What the marts say about each case, beside what it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb

from dagster_project.golden.format import Json, Run

_OWN = "account_id = ? and livemode"


def differences(con: duckdb.DuckDBPyConnection, run: Run) -> Iterator[str]:
    """One line per difference: key, expected, actual."""
    for customer, wanted in run.asked.get("expected", {}).items():
        yield from _customer(con, run, customer, wanted)
    for item, amount in run.asked.get("item_expected", {}).items():
        found = _rows(
            con, "select month, mrr_net from marts.fct_mrr_item_month where item_id = ? and basis = 'reporting'",
            run, item,
        )  # fmt: skip
        yield from _differ(f"item {item}", dict.fromkeys(run.facts["months"], amount), _by_month(found))
    for customer, currencies in run.asked.get("local_expected", {}).items():
        for currency, amounts in currencies.items():
            found = _rows(
                con, "select month, mrr_net from marts.fct_mrr_customer_month "
                f"where customer_id = ? and currency = '{currency}' and basis = 'local'", run, customer,
            )  # fmt: skip
            wanted = dict(zip(run.facts["months"], amounts, strict=True))
            yield from _differ(f"{customer} {currency}", wanted, _by_month(found))
    for month, wanted in run.asked.get("portfolio_expected", {}).items():
        found = _rows(
            con, "select opening, new_amount, expansion, contraction, churn, reactivation, fx, closing, "
            "customers_closing from marts.rpt_mrr_rollforward where strftime(month, '%Y-%m') = ? "
            "and basis = 'reporting'", run, month,
        )  # fmt: skip
        names = ("opening", "new", "expansion", "contraction", "churn", "reactivation", "fx", "closing", "customers")
        yield from _differ(f"portfolio {month}", wanted, dict(zip(names, found[0] if found else (), strict=False)))
    for month, text in run.asked.get("expected_major", {}).items():
        found = con.execute(
            f"""
            select sum(r.closing)::bigint, any_value(c.exponent) from marts.rpt_mrr_rollforward as r
            join seeds.stripe_currency as c on c.code = r.currency
            where r.{_OWN} and strftime(r.month, '%Y-%m') = ? and r.basis = 'reporting'
            """,
            [run.account_id, month],
        ).fetchall()
        amount, exponent = found[0]
        shown = None if amount is None else f"{Decimal(amount).scaleb(-exponent):.{exponent}f}"
        yield from _differ("major units", {month: text}, {month: shown})


def _customer(con: duckdb.DuckDBPyConnection, run: Run, customer: str, wanted: Json) -> Iterator[str]:
    months = _rows(
        con, "select month, mrr_net, movement_type, movement_amount, fx_amount from marts.fct_mrr_customer_month "
        "where customer_id = ? and basis = 'reporting'", run, customer,
    )  # fmt: skip
    yield from _differ(f"{customer} mrr", wanted.get("mrr", {}), _by_month([row[:2] for row in months]))
    if "movements" not in wanted:
        return
    found: Counter[str] = Counter()
    for month, _, kind, amount, fx in months:
        if run.policy.keys["movement_grain"] == "month_snapshot" and kind:
            found[f"{month:%Y-%m} {kind}"] += amount
        found[f"{month:%Y-%m} fx"] += fx
    if run.policy.keys["movement_grain"] == "event":
        for month, kind, amount in _rows(
            con, "select month, movement_type, amount from marts.fct_mrr_customer_event "
            "where customer_id = ? and basis = 'reporting'", run, customer,
        ):  # fmt: skip
            found[f"{month:%Y-%m} {kind}"] += amount
    asked: Counter[str] = Counter()
    for month, movements in wanted["movements"].items():
        for movement in movements:
            asked[f"{month} {movement['type']}"] += movement["amount"]
    inside = {key: amount for key, amount in found.items() if amount and key[:7] in run.facts["months"]}
    yield from _differ(f"{customer} movement", dict.fromkeys(inside, 0) | asked, inside)


def _rows(con: duckdb.DuckDBPyConnection, sql: str, run: Run, value: str) -> list[tuple[Any, ...]]:
    return con.execute(f"{sql} and {_OWN}", [value, run.account_id]).fetchall()


def _by_month(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {f"{month:%Y-%m}": amount for month, amount in rows}


def _differ(key: str, wanted: Json, found: Json) -> Iterator[str]:
    for name, value in wanted.items():
        if (actual := found.get(name, 0)) != value:
            yield f"{key} {name}: expected {value}, actual {actual}"
