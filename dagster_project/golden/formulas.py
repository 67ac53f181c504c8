"""Metric cases: the macros that the marts use, evaluated on given numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import jinja2

from dagster_project.golden.format import Json, MetricRun
from dagster_project.orchestration.dbt_project import DBT_FOLDER

_MACROS = ("money.sql", "ratio.sql", "metric_formulas.sql")
Call = Callable[..., str]


def formula_differences(con: duckdb.DuckDBPyConnection, run: MetricRun) -> Iterator[str]:
    """One line per difference: key, expected, actual. Decimals are compared by value, to the digits that are given."""
    for key, wanted in run.asked.items():
        expressions = _expressions(run, key, wanted if isinstance(wanted, list) else [wanted])
        if expressions is None:
            yield f"{key}: no formula of {run.metric} gives it"
            continue
        found = [_value(con, expression) for expression in expressions]
        for number, (one, actual) in enumerate(
            zip(wanted if isinstance(wanted, list) else [wanted], found, strict=True)
        ):
            if (None if one is None else Decimal(str(one))) != actual:
                place = f"{key}[{number}]" if isinstance(wanted, list) else key
                yield f"{place}: expected {one}, actual {actual}"


def _value(con: duckdb.DuckDBPyConnection, expression: str) -> Decimal | None:
    text = "".join((DBT_FOLDER / "macros" / name).read_text(encoding="utf-8") for name in _MACROS)
    sql = jinja2.Environment(autoescape=False).from_string(f"{text}select {{{{ {expression} }}}}").render()  # noqa: S701
    found = con.execute(sql.strip()).fetchall()[0][0]
    return None if found is None else Decimal(found)


def _expressions(run: MetricRun, key: str, wanted: list[Any]) -> list[str] | None:
    """The calls of macros that give the values of a key."""
    i, keys = run.inputs, run.policy.keys

    def places(value: Any) -> int:
        return len(str(value).partition(".")[2]) if isinstance(value, str) else 6

    def call(macro: str, *arguments: Any, digits: bool = True, value: Any = wanted[0]) -> str:
        shown = ", ".join(repr(str(argument)) for argument in arguments)
        return f"{macro}({shown}{f', places={places(value)}' if digits else ''})"

    losses = i.get("contraction", 0), i.get("churn", 0)
    gains = i.get("expansion", 0), i.get("reactivation", 0)
    text = {name: f"'{keys[name]}'" for name in ("logo_churn.formula", "trial_conversion.success",
                                                   "trial_conversion.denominator")}  # fmt: skip
    net = f"{i.get('new', 0)} + {sum(gains)} + {sum(losses)}"
    match key:
        case "net_new_mrr":
            return [repr(net)]
        case "closing_mrr":
            return [repr(f"{i['opening_mrr']} + {net}")]
        case "arr":
            return [repr(f"12 * ({i['opening_mrr']} + {net})")]
        case "quick_ratio":
            include = str(keys["quick_ratio.include_reactivation"]).lower()
            return [call("quick_ratio", i.get("new", 0), *gains, *losses, include)]
        case "gross_mrr_churn_rate":
            return [call("gross_churn_rate", *losses, i["opening_mrr"])]
        case "net_mrr_churn_rate":
            return [call("net_churn_rate", *losses, *gains, i["opening_mrr"])]
        case "nrr" | "grr":
            start, end = i["start"], i["end"]
            kept = [end.get(name, 0) if key == "nrr" else min(end.get(name, 0), value) for name, value in start.items()]
            return [call("ratio", sum(kept), sum(start.values()))]
        case "logo_churn_rate":
            names = ("churned_of_start", "customers_start", "churned_of_new", "new_in_period")
            return [call("logo_churn_rate", *(i.get(name, 0) for name in names), text["logo_churn.formula"])]
        case "arpa":
            return [call("arpa", i["closing_mrr"], i["customers"], digits=False)]
        case "ltv":
            return [_lifetime_value(i, keys.get("ltv.gross_margin"), call)]
        case "logo_retention":
            shares = zip(i["active_by_month"], wanted, strict=True)
            return [call("ratio", active, i["size"], value=one) for active, one in shares]
        case "revenue_retention":
            shares = zip(i["mrr_by_month"], wanted, strict=True)
            return [call("ratio", mrr, i["mrr_by_month"][0], value=one) for mrr, one in shares]
        case "trial_conversion_rate":
            names = ("trials_ended", "trials_started_same_window", "converted_active", "converted_with_paid_invoice")
            return [
                call("trial_conversion_rate", *(i.get(name, 0) for name in names), text["trial_conversion.success"],
                     text["trial_conversion.denominator"])
            ]  # fmt: skip
    return None


def _lifetime_value(inputs: Json, margin: Fraction | None, call: Call) -> str:
    lost = Fraction(str(inputs["logo_churn_rate"]))
    margin = Fraction(str(inputs["gross_margin"])) if inputs.get("gross_margin") is not None else margin
    share = (margin.numerator, margin.denominator) if margin else ("null", "null")
    return call(
        "lifetime_value", inputs["closing_mrr"], inputs["customers"], lost.numerator, lost.denominator, *share,
        digits=False,
    )  # fmt: skip
