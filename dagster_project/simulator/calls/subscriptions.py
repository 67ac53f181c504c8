"""Subscriptions, as callers start, change, pause and cancel them. The billing rules are the engine's."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import subscription_terms as terms
from dagster_project.simulator.engine import billing, changing, discounts, ending, starting
from dagster_project.simulator.engine import business as b
from dagster_project.simulator.engine.subscriptions import ENDED, after, payment_method
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, missing
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_PLAIN = ("description", "collection_method", "days_until_due", "default_tax_rates")
_LONGEST_TRIAL = 730 * b.DAY
_LONGEST_WAIT = 3650


def create(world: World, params: Params) -> Object:
    behavior = params.get("payment_behavior") or "allow_incomplete"
    with terms.undone_when_declined(world, behavior), terms.coupons_checked():
        sub = starting.start(world, params["customer"], terms_of(world, params["customer"], params))
        if behavior == "error_if_incomplete" and sub["status"] == "incomplete":
            raise terms.declined(world, world.the(sub["latest_invoice"], "invoice"))
    return world.the(sub["id"], "subscription")


def terms_of(world: World, customer: Object, params: Params) -> starting.Terms:
    """The parameters of a new subscription. Raises ApiError 400 for what Stripe refuses."""
    items, currency = terms.items_of(world, params.get("items") or [], params.get("currency"))
    if customer["currency"] not in (None, currency):
        raise ApiError(
            400, f"You cannot combine currencies on a single customer. This customer is billed in "
            f"{customer['currency']}.",
        )  # fmt: skip
    found = starting.Terms(items, currency, _fields(world, params, {}, customer))
    found.discounts = terms.redeemed(world, params.get("discounts"), "discounts")
    found.extras = terms.extras_of(world, params.get("add_invoice_items"), currency)
    found.trial_end = _trial_end(world, params)
    found.anchor = _anchor(world, params, items, found.trial_end)
    found.end = _end(world, params)
    found.prorated = params.get("proration_behavior") != "none"
    found.collected = params.get("payment_behavior") != "default_incomplete"
    fields = found.fields
    if fields.get("collection_method") == "send_invoice":
        if fields.get("days_until_due") is None:
            raise invalid_parameter(
                "days_until_due", "You must provide a `days_until_due` parameter when using `send_invoice`."
            )
    elif fields.get("days_until_due") is not None:
        raise invalid_parameter("days_until_due", "`days_until_due` is only allowed with `send_invoice`.")
    elif found.collected and found.trial_end is None and not _can_pay(world, customer, fields):
        costs = [item for item in items if item.price["unit_amount"] != 0 and item.quantity]
        if costs or found.extras:
            raise ApiError(
                400, "This customer has no attached payment source or default payment method. Please consider adding "
                "a default payment method.", code="resource_missing",
            )  # fmt: skip
    return found


def update(world: World, params: Params, subscription: Object) -> Object:
    if subscription["status"] in ENDED:
        if set(params) - {"metadata", "cancellation_details"}:
            raise missing("subscription", subscription["id"])
    elif subscription["status"] == "incomplete" and set(params) - _WHILE_INCOMPLETE:
        raise ApiError(400, "A subscription that is incomplete can only have its metadata and payment method updated.")
    elif subscription["status"] == "paused" and set(params) & {"trial_end", "billing_cycle_anchor"}:
        raise ApiError(400, "A paused subscription must be resumed before its cycle can be changed.")
    behavior = params.get("payment_behavior")
    with terms.undone_when_declined(world, behavior), terms.coupons_checked():
        invoice = changing.change(world, subscription, change_of(world, subscription, params))
        if behavior == "error_if_incomplete" and invoice is not None and invoice["status"] == "open":
            raise terms.declined(world, invoice)
    return world.the(subscription["id"], "subscription")


_WHILE_INCOMPLETE = {"metadata", "default_payment_method", "description", "payment_settings", "cancellation_details"}


def change_of(world: World, sub: Object, params: Params) -> changing.Change:
    """The parameters of an update. Raises ApiError 400 for what Stripe refuses."""
    customer = world.the(sub["customer"], "customer")
    what = changing.Change(
        items=terms.item_changes(world, sub, params.get("items", []), customer) if params.get("items") else [],
        fields=_fields(world, params, sub, customer),
        prorations=params.get("proration_behavior") or "create_prorations",
        at=_proration_date(world, sub, params),
        anchor_now=(params.get("billing_cycle_anchor") or {}).get("type") == "now",
        trial_end=_trial_end(world, params) or (world.now if params.get("trial_end") == "now" else None),
        end=_end(world, params),
        collected=params.get("payment_behavior") != "default_incomplete",
    )
    if "discounts" in params:
        what.discounts = terms.redeemed(world, params["discounts"], "discounts")
    what.extras = terms.extras_of(world, params.get("add_invoice_items"), sub["currency"])
    if what.end:
        if sub["schedule"]:
            raise ApiError(
                400, f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any "
                "cancelation behavior directly is not allowed. Please update the schedule instead.",
            )  # fmt: skip
        if not ends_otherwise(sub, what.end):
            what.end = {}
        elif "cancellation_details" in params or what.end.get("cancel_at") or what.end.get("cancel_at_period_end"):
            what.fields["cancellation_details"] = cancellation(params, "cancellation_requested")
        else:
            what.fields["cancellation_details"] = cancellation({}, None)
    elif "cancellation_details" in params:
        before = sub["cancellation_details"] or {}
        what.fields["cancellation_details"] = cancellation(params, before.get("reason"))
    return what


def ends_otherwise(sub: Object, end: Object) -> bool:
    """Whether it would end at another time than it does already."""
    if "cancel_at_period_end" in end:
        return bool(end["cancel_at_period_end"] != sub["cancel_at_period_end"])
    return bool(end["cancel_at"] != sub["cancel_at"])


def cancel(world: World, params: Params, subscription: Object) -> Object:
    """Ends now; stays in the list as canceled."""
    if subscription["status"] in ENDED:
        raise missing("subscription", subscription["id"])
    return ending.cancel(
        world, subscription, prorate=bool(params.get("prorate")), invoice_now=bool(params.get("invoice_now")),
        details=cancellation(params, "cancellation_requested"),
    )  # fmt: skip


def resume(world: World, params: Params, subscription: Object) -> Object:
    if subscription["status"] != "paused":
        raise ApiError(400, "Only a subscription with the status `paused` can be resumed.")
    anchor = (params.get("billing_cycle_anchor") or {}).get("type") or "now"
    prorated = params.get("proration_behavior") != "none"
    return ending.resume(world, subscription, anchor_now=anchor == "now", prorated=prorated)


def pause(world: World, params: Params, subscription: Object) -> Object:
    if subscription["status"] not in ("active", "trialing", "past_due"):
        raise ApiError(400, f"A subscription with the status `{subscription['status']}` cannot be paused.")
    bill_for = params.get("bill_for") or {}
    return ending.pause_now(
        world, subscription, credit=(bill_for.get("unused_time_from") or {}).get("type") or "now",
        usage=(bill_for.get("outstanding_usage_through") or {}).get("type") != "none",
        invoice=params.get("invoicing_behavior") == "invoice",
    )  # fmt: skip


def delete_discount(world: World, params: Params, subscription: Object) -> Object:
    """Takes away all coupons of the subscription; those of its items stay."""
    if not subscription["discounts"]:
        raise ApiError(404, f"No active discount for subscription: {subscription['id']}", code="resource_missing")
    last = world.the(subscription["discounts"][-1], "discount")
    discounts.drop_discounts(world, subscription, [*subscription["discounts"]])
    return discounts.tombstone(last)


def cancellation(params: Params, reason: str | None) -> Object:
    given = params.get("cancellation_details") or {}
    return {"comment": None, "feedback": None, **given, "feedback_option": None, "reason": reason}


def _fields(world: World, params: Params, sub: Object, customer: Object) -> Object:
    """What is kept as it was given."""
    fields: Object = {name: params[name] for name in _PLAIN if name in params}
    if "collection_method" in fields:
        fields["collection_method"] = fields["collection_method"] or "charge_automatically"
        if fields["collection_method"] == "charge_automatically" and sub.get("days_until_due") is not None:
            fields.setdefault("days_until_due", None)
    if (fields.get("days_until_due") or 0) > _LONGEST_WAIT:
        raise invalid_parameter("days_until_due", f"`days_until_due` can be at most {_LONGEST_WAIT}.")
    if "metadata" in params:
        fields["metadata"] = merged(sub.get("metadata"), params["metadata"])
    if "default_payment_method" in params:
        method = params["default_payment_method"]
        fields["default_payment_method"] = terms.method_of_customer(method, customer, "default_payment_method")
    if params.get("payment_settings"):
        fields["payment_settings"] = {
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off",
            **(sub.get("payment_settings") or {}), **params["payment_settings"],
        }  # fmt: skip
    if params.get("trial_settings"):
        behavior = params["trial_settings"]["end_behavior"]
        fields["trial_settings"] = {"end_behavior": {"billing_cycle_anchor": None, **behavior}}
    if params.get("billing_mode"):
        mode = params["billing_mode"]["type"]
        fields["billing_mode"] = {"type": mode, "flexible": None}
        if mode == "flexible":
            fields["billing_mode"] = {
                "type": mode, "flexible": {"proration_discounts": "included"}, "updated_at": world.now,
            }  # fmt: skip
    if "pause_collection" in params:
        paused = params["pause_collection"]
        fields["pause_collection"] = paused and {"resumes_at": None, **paused}
        if paused and paused.get("resumes_at") is not None and paused["resumes_at"] <= world.now:
            raise invalid_parameter("pause_collection[resumes_at]", "resumes_at must be in the future.")
    return fields


def _can_pay(world: World, customer: Object, fields: Object) -> bool:
    own = {"default_payment_method": fields.get("default_payment_method"), "customer": customer["id"]}
    return payment_method(world, own) is not None


def _trial_end(world: World, params: Params) -> int | None:
    end, days = params.get("trial_end"), params.get("trial_period_days")
    if end is not None and days is not None:
        raise invalid_parameter("trial_period_days", "You may only specify one of: trial_end, trial_period_days.")
    if days is not None:
        if days > 730:
            raise invalid_parameter("trial_period_days", "The maximum number of trial period days is 730 (2 years).")
        return int(world.now + days * b.DAY)
    if end is None or end == "now":
        return None
    if end <= world.now:
        raise invalid_parameter("trial_end", "Invalid timestamp: must be an integer Unix timestamp in the future.")
    if end > world.now + _LONGEST_TRIAL:
        raise invalid_parameter("trial_end", "Invalid timestamp: trial_end can be at most two years in the future.")
    return int(end)


def _anchor(world: World, params: Params, items: list[starting.Item], trial_end: int | None) -> int | None:
    """The anchor lies in the future, at most one period after the start or the end of the trial."""
    anchor: int | None = params.get("billing_cycle_anchor")
    if anchor is None:
        return None
    begin = trial_end or world.now
    if anchor < begin:
        raise invalid_parameter(
            "billing_cycle_anchor", "billing_cycle_anchor must be in the future, and not before the end of the trial."
        )
    for item in items:
        recurring = item.price["recurring"]
        latest = after(begin, recurring["interval"], recurring["interval_count"], begin)
        if anchor > latest:
            raise invalid_parameter(
                "billing_cycle_anchor", f"billing_cycle_anchor cannot be later than next natural billing date "
                f"({latest}) for plan",
            )  # fmt: skip
    return anchor


def _end(world: World, params: Params) -> Object:
    end = {name: params[name] for name in ("cancel_at", "cancel_at_period_end") if name in params}
    if len(end) == 2 and end["cancel_at_period_end"]:
        raise invalid_parameter("cancel_at", "You may only specify one of: cancel_at, cancel_at_period_end.")
    if isinstance(end.get("cancel_at"), int) and not world.now < end["cancel_at"] <= terms.LATEST:
        raise invalid_parameter("cancel_at", "Invalid timestamp: cancel_at must be in the future, before 2100.")
    if "cancel_at" in end:
        end.pop("cancel_at_period_end", None)
    return end


def _proration_date(world: World, sub: Object, params: Params) -> int | None:
    at: int | None = params.get("proration_date")
    if at is not None:
        start = min(item["current_period_start"] for item in sub["items"]["data"])
        if not start <= at < billing.period_end(sub):
            raise invalid_parameter("proration_date", "proration_date must lie within the current billing period.")
    return at
