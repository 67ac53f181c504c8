"""The format of a file of MRR cases, and what each case and variant asks for.

An unknown field or policy key is an error that names it: a case that is only half understood would pass for nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dagster_project.errors import UsageError
from dagster_project.metrics.policies import Policy

Json = dict[str, Any]
_TOP = {"schema_version", "generated", "description", "default_policy", "cases", "metric_cases"}
_CASE = {
    "id", "title", "tags", "notes", "sources", "months", "reporting_currency", "fx_rates", "prices", "coupons",
    "customers", "expected", "variants", "policy", "item_expected", "local_expected", "portfolio_expected",
    "expected_major", "schedule", "invoice_items", "metered_invoices", "refunds", "customer_balance_transactions",
}  # fmt: skip
_PARTS: dict[str, set[str]] = {
    "price": {
        "product", "currency", "type", "billing_scheme", "recurring", "unit_amount", "unit_amount_decimal",
        "tiers_mode", "tiers", "transform_quantity", "currency_options", "tax_behavior", "effective_tax_rate_percent",
    },
    "coupon": {
        "duration", "percent_off", "amount_off", "currency", "duration_in_months", "applies_to_products",
    },
    "customer": {"id", "discount", "subscriptions"},
    "discount": {"coupon", "start", "end"},
    "subscription": {"id", "currency", "livemode", "start_date", "created", "first_paid_at", "timeline", "customer"},
    "state": {
        "at", "status", "items", "discounts", "cancel_at_period_end", "canceled_at", "ended_at",
        "current_period_start", "current_period_end", "pause_collection", "trial_end",
    },
    "item": {"id", "price", "quantity", "discounts"},
    "variant": {
        "policy", "expected", "sources", "notes", "fx_rates", "item_expected", "local_expected", "portfolio_expected",
        "expected_major",
    },
    "expected": {"mrr", "movements"},
    "metered invoice": {"subscription_item", "invoice_created", "amount"},
    "invoice item": {"price", "amount", "invoice_created"},
}  # fmt: skip
_METRIC = {"id", "metric", "title", "tags", "inputs", "expected", "notes", "sources", "variants", "policy"}
EXPECTATIONS = ("expected", "item_expected", "local_expected", "portfolio_expected", "expected_major")


@dataclass(frozen=True)
class Run:
    """A case under one policy: `facts` are the case, `asked` what must come out. It is an account of its own."""

    case: str
    variant: str
    account_id: str
    facts: Json
    policy: Policy
    asked: Json
    until: datetime

    @property
    def label(self) -> str:
        return f"{self.case} {self.variant}".strip()


@dataclass(frozen=True)
class MetricRun:
    """A formula with its inputs under one policy."""

    case: str
    variant: str
    metric: str
    inputs: Json
    policy: Policy
    asked: Json

    @property
    def label(self) -> str:
        return f"{self.case} {self.variant}".strip()


def read(path: Path) -> tuple[list[Run], list[MetricRun]]:
    """The cases of a file, each variant by itself. Raises UsageError that names file, case and field."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path}: {error}.", "Give a JSON file of worked cases.") from error
    if not isinstance(data, dict) or "cases" not in data:
        raise UsageError(f"{path} holds no `cases`.", "Give a JSON file of worked cases.")
    if any("balance_transactions" in case for case in data["cases"]):
        raise UsageError(f"{path} holds reconciliation cases, which are not there yet.", "Give a file of MRR cases.")
    _known(data, _TOP, str(path))
    base = _policy(Policy.named("default").override({"timezone": "UTC"}), data.get("default_policy", {}), str(path))
    runs = [run for case in data["cases"] for run in _runs(case, base, f"{path}: {case.get('id')}")]
    metrics = [run for case in data.get("metric_cases", []) for run in _metric_runs(case, base, str(path))]
    names = [run.account_id for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{path}: {', '.join(sorted(twice))} come twice.", "Give every case an id of its own.")
    return runs, metrics


def _runs(case: Json, base: Policy, where: str) -> Iterator[Run]:
    _check(case, where)
    own = _policy(base, case.get("policy", {}), where)
    asked = {name: case[name] for name in EXPECTATIONS if name in case}
    for number, variant in enumerate([{}, *case.get("variants", [])]):
        policy = _policy(own, variant.get("policy", {}), where)
        facts = case | ({"fx_rates": variant["fx_rates"]} if "fx_rates" in variant else {})
        shown = ", ".join(f"{key}={value}" for key, value in variant.get("policy", {}).items())
        wanted = {name: variant[name] for name in EXPECTATIONS if name in variant} if number else asked
        account = "acct_" + re.sub(r"[^A-Za-z0-9]", "_", str(case["id"])) + (f"_v{number}" if number else "")
        yield Run(str(case["id"]), f"[{shown}]" if number else "", account, facts, policy, wanted,
                  _end(case["months"][-1], policy))  # fmt: skip


def _metric_runs(case: Json, base: Policy, where: str) -> Iterator[MetricRun]:
    where = f"{where}: {case.get('id')}"
    _known(case, _METRIC, where)
    own = _policy(base, case.get("policy", {}), where)
    for number, variant in enumerate([{}, *case.get("variants", [])]):
        _known(variant, {"policy", "inputs", "expected", "sources", "notes"}, f"{where}, a variant")
        shown = ", ".join(f"{key}={value}" for key, value in variant.get("policy", {}).items())
        yield MetricRun(
            str(case["id"]), f"[{shown}]" if number else "", case["metric"], case["inputs"] | variant.get("inputs", {}),
            _policy(own, variant.get("policy", {}), where), variant["expected"] if number else case["expected"],
        )  # fmt: skip


def _policy(base: Policy, changes: Mapping[str, Any], where: str) -> Policy:
    try:
        return base.override(changes)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.next_step) from error


def _end(month: str, policy: Policy) -> datetime:
    """The last instant of a month in the time zone of the policy."""
    year, number = (int(part) for part in month.split("-"))
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZoneInfo(policy.keys["timezone"] or "UTC"))
    return following - timedelta(microseconds=1)


def _known(part: Mapping[str, Any], fields: set[str], where: str) -> None:
    if not isinstance(part, Mapping):
        raise UsageError(f"{where}: {part!r} is no object.", "Correct the file.")
    if unknown := sorted(set(part) - fields):
        raise UsageError(f"{where}: unknown field {', '.join(unknown)}.", f"Known are {', '.join(sorted(fields))}.")


def _check(case: Json, where: str) -> None:
    """Every field at every depth is known, and what others name is there."""
    _known(case, _CASE, where)
    for needed in ("id", "months", "reporting_currency", "prices", "customers"):
        if needed not in case:
            raise UsageError(f"{where}: lacks {needed}.", "Correct the file.")
    for name, part in _parts(case):
        _known(part, _PARTS[name], f"{where}, {name} {part.get('id', '')}".rstrip())
    for _, part in _parts(case):
        for field, known in (("price", case["prices"]), ("coupon", case.get("coupons", {}))):
            if isinstance(part.get(field), str) and part[field] not in known:
                raise UsageError(f"{where}: {field} {part[field]!r} is not described.", "Add it to the case.")
        for field in ("unit_amount_decimal", "effective_tax_rate_percent", "percent_off"):
            try:
                Decimal(str(part.get(field) or 0))
            except InvalidOperation:
                raise UsageError(f"{where}: {field} {part[field]!r} is no number.", "Correct the file.") from None


def _parts(case: Json) -> Iterator[tuple[str, Json]]:
    yield from (("price", price) for price in case["prices"].values())
    yield from (("coupon", coupon) for coupon in case.get("coupons", {}).values())
    yield from (("metered invoice", one) for one in case.get("metered_invoices", []))
    yield from (("invoice item", one) for one in case.get("invoice_items", []))
    for variant in case.get("variants", []):
        yield "variant", variant
        yield from (("expected", one) for one in variant.get("expected", {}).values())
    yield from (("expected", one) for one in case.get("expected", {}).values())
    for customer in case["customers"]:
        yield "customer", customer
        if customer.get("discount"):
            yield "discount", customer["discount"]
        for subscription in customer["subscriptions"]:
            yield "subscription", subscription
            for state in subscription["timeline"]:
                yield "state", state
                yield from (("discount", one) for one in state.get("discounts", []))
                for item in state["items"]:
                    yield "item", item
                    yield from (("discount", one) for one in item.get("discounts", []))
