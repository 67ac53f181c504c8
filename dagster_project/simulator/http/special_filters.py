"""Filters that mean more than the value of one field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.http import forms
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing, not_one_of
from dagster_project.simulator.http.forms import Params
from dagster_project.simulator.http.lists import Query

# (store, what to narrow, all parameters of the request, events that no endpoint took)
Special = Callable[[Store, Query, Params, set[str]], None]
OPERATORS: dict[str, Callable[[Any, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
    "eq": lambda value, bound: value == bound,
}
_SUBSCRIPTION_STATUSES = (
    "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing",
    "unpaid",
)  # fmt: skip


def _subscription_status(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    status = forms.text(params, "status")
    if status not in _SUBSCRIPTION_STATUSES:
        raise not_one_of("status", _SUBSCRIPTION_STATUSES)
    if status == "ended":
        asked.where["status"] = ["canceled", "incomplete_expired"]
    elif status != "all":
        asked.where["status"] = status


def _invoices_of_subscription(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    id = forms.text(params, "subscription") or ""
    subscription = store.get(id, "subscription")
    if subscription is None:
        raise missing("subscription", id, param="subscription")
    asked.where.setdefault("customer", subscription["customer"])  # an indexed attribute, so few rows are read

    def belongs(obj: dict[str, Any]) -> bool:
        details = (obj.get("parent") or {}).get("subscription_details") or {}
        return bool(details.get("subscription") == id)

    asked.predicates.append(belongs)


def _items_of_subscription(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    id = forms.text(params, "subscription") or ""
    if store.get(id, "subscription") is None:
        raise missing("subscription", id, param="subscription")
    asked.where["subscription"] = id


def _pending_items(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    pending = forms.boolean(params["pending"], "pending")
    asked.predicates.append(lambda obj: (obj.get("invoice") is None) == pending)


def _scheduled(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    scheduled = forms.boolean(params["scheduled"], "scheduled")
    asked.predicates.append(lambda obj: (obj["status"] == "not_started") == scheduled)


def _bound(name: str, attribute: str, operator: str) -> Special:
    """A parameter that is one end of a range of another attribute."""

    def narrow(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
        bound = forms.integer(params[name], name)
        asked.predicates.append(lambda obj: OPERATORS[operator](obj[attribute], bound))

    return narrow


def _event_type(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    if "types" in params:
        raise ApiError(400, "You may only specify one of these parameters: type, types.")
    wanted = forms.text(params, "type") or ""
    if wanted.endswith("*"):
        asked.predicates.append(lambda obj: obj["type"].startswith(wanted[:-1]))
    else:
        asked.where["type"] = wanted


def _event_types(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    types = forms.texts(params, "types")
    if len(types) > 20:
        raise invalid_parameter("types", "Array must have at most 20 elements.")
    asked.where["type"] = types


def _delivery_success(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    delivered = forms.boolean(params["delivery_success"], "delivery_success")
    asked.predicates.append(lambda obj: (obj["id"] not in failed) == delivered)


def _rows_of_payout(store: Store, asked: Query, params: Params, failed: set[str]) -> None:
    """What a payout that was made on request consists of is not known."""
    id = forms.text(params, "payout") or ""
    payout = store.get(id, "payout")
    if payout is None:
        raise missing("payout", id, param="payout")
    if not payout["automatic"]:
        raise ApiError(
            400, "Balance transaction history can only be filtered on automatic transfers, not manual.", param="payout"
        )
    asked.where["payout"] = id


SPECIAL: dict[tuple[str, str], Special] = {
    ("balance_transactions", "payout"): _rows_of_payout,
    ("subscriptions", "status"): _subscription_status,
    ("invoices", "subscription"): _invoices_of_subscription,
    ("subscription_items", "subscription"): _items_of_subscription,
    ("invoice_items", "pending"): _pending_items,
    ("subscription_schedules", "scheduled"): _scheduled,
    ("billing_meter_event_summaries", "start_time"): _bound("start_time", "start_time", "gte"),
    ("billing_meter_event_summaries", "end_time"): _bound("end_time", "end_time", "lte"),
    ("payment_records", "created_after"): _bound("created_after", "created", "gt"),
    ("payment_records", "created_before"): _bound("created_before", "created", "lt"),
    ("events", "type"): _event_type,
    ("events", "types"): _event_types,
    ("events", "delivery_success"): _delivery_success,
}
