"""Subscription schedules, as callers make, change, release and cancel them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.calls import subscription_terms as terms
from dagster_project.simulator.engine import schedules, shapes
from dagster_project.simulator.engine.subscriptions import ENDED, after
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError, invalid_parameter, required_parameter
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]
_LONGEST = 1_200  # periods of a phase: a hundred years of months lie beyond every limit


def create(world: World, params: Params) -> Object:
    fields: Object = {
        "end_behavior": params.get("end_behavior") or "release",
        "metadata": merged({}, params.get("metadata", {})),
    }
    sub = params.get("from_subscription")
    if sub is not None:
        return _from_subscription(world, params, sub, fields)
    customer = params.get("customer")
    if customer is None:
        raise required_parameter("customer")
    if not params.get("phases"):
        raise required_parameter("phases")
    fields["default_settings"] = _settings(world, params.get("default_settings"), customer, None)
    begin = params.get("start_date", "now")
    if begin == "now":
        begin = world.now
    elif not world.now <= begin <= terms.LATEST:
        raise invalid_parameter("start_date", "The simulator starts schedules now or later, before 2100.")
    phases = _phases(world, params["phases"], begin, customer)
    with terms.coupons_checked("phases"):
        return schedules.create(world, customer, phases, **fields)


def _from_subscription(world: World, params: Params, sub: Object, fields: Object) -> Object:
    for name in ("customer", "start_date", "phases", "default_settings"):
        if name in params:
            raise ApiError(400, f"You cannot set `{name}` if `from_subscription` is set.", param=name)
    if sub["schedule"] or sub["status"] in (*ENDED, "incomplete"):
        raise ApiError(
            400, f"You cannot migrate a subscription that is `{sub['status']}` or already attached to a schedule: "
            f"{sub['id']}", param="from_subscription",
        )  # fmt: skip
    defaults: Params = {"collection_method": sub["collection_method"]}
    fields["default_settings"] = _settings(world, defaults, world.the(sub["customer"], "customer"), None)
    return schedules.take_over(world, sub, **fields)


def update(world: World, params: Params, schedule: Object) -> Object:
    _open(schedule)
    customer = world.the(schedule["customer"], "customer")
    changes: Object = {}
    if params.get("end_behavior"):
        changes["end_behavior"] = params["end_behavior"]
    if "metadata" in params:
        changes["metadata"] = merged(schedule["metadata"], params["metadata"])
    if params.get("default_settings"):
        settings = _settings(world, params["default_settings"], customer, schedule["default_settings"])
        changes["default_settings"] = settings
    world.change(schedule, "subscription_schedule.updated", **changes)
    if params.get("phases"):
        phases = _phases(world, params["phases"], _first_start(schedule, params["phases"][0]), customer)
        over = [phase for phase in schedule["phases"] if phase["end_date"] <= phases[0]["start_date"]]
        if schedule["current_phase"]:
            _keeps_current(schedule, phases)
        with terms.coupons_checked("phases"):
            behavior = params.get("proration_behavior") or "create_prorations"
            schedules.set_phases(world, schedule, [*over, *phases], behavior)
    return schedule


def _first_start(schedule: Object, first: Params) -> int:
    if first.get("start_date") not in (None, "now"):
        return int(first["start_date"])
    current = schedule["current_phase"] or schedule["phases"][0]
    return int(current["start_date"])


def _keeps_current(schedule: Object, phases: list[Object]) -> None:
    if all(phase["start_date"] != schedule["current_phase"]["start_date"] for phase in phases):
        raise invalid_parameter(
            "phases", "The current phase must be among the phases, with its start date: it can be changed, not removed."
        )


def release(world: World, params: Params, schedule: Object) -> Object:
    _open(schedule)
    return schedules.release(world, schedule)


def cancel(world: World, params: Params, schedule: Object) -> Object:
    _open(schedule)
    prorate, invoice_now = params.get("prorate", True), params.get("invoice_now", True)
    return schedules.cancel(world, schedule, prorate=prorate, invoice_now=invoice_now)


def _open(schedule: Object) -> None:
    if schedule["status"] not in schedules.OPEN:
        raise ApiError(
            400, f"You cannot change a subscription schedule that is currently in the `{schedule['status']}` status."
        )


def _settings(world: World, given: Params | None, customer: Object, before: Object | None) -> Object:
    settings: Object = before or shapes.new("subscription_schedule", "")["default_settings"]
    given = {**(given or {})}
    if "default_payment_method" in given:
        given["default_payment_method"] = terms.method_of_customer(
            given["default_payment_method"], customer, "default_settings[default_payment_method]"
        )
    if given.get("invoice_settings"):
        given["invoice_settings"] = {**settings["invoice_settings"], **given["invoice_settings"]}
    return {**settings, **given}


def _phases(world: World, given: list[Params], begin: int, customer: Object) -> list[Object]:
    """Phases that follow each other without a gap."""
    phases: list[Object] = []
    for place, row in enumerate(given):
        name = f"phases[{place}]"
        if phases and row.get("start_date") not in (None, begin):
            raise invalid_parameter(f"{name}[start_date]", "A phase begins when the one before it ends.")
        phases.append(_phase(world, row, name, begin, customer))
        begin = phases[-1]["end_date"]
    return phases


def _phase(world: World, row: Params, name: str, begin: int, customer: Object) -> Object:
    items, currency = terms.items_of(world, row.get("items") or [], row.get("currency"), f"{name}[items]")
    fields: Object = {
        each: row[each] for each in ("billing_cycle_anchor", "collection_method", "default_tax_rates", "description")
        if each in row
    }  # fmt: skip
    if row.get("proration_behavior"):
        fields["proration_behavior"] = row["proration_behavior"]
    if "default_payment_method" in row:
        method = row["default_payment_method"]
        fields["default_payment_method"] = terms.method_of_customer(method, customer, f"{name}[default_payment_method]")
    if row.get("invoice_settings"):
        fields["invoice_settings"] = {
            "account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "issuer": None,
            "days_until_due": None, **row["invoice_settings"],
        }  # fmt: skip
    if "trial" in row:
        fields["trial"] = row["trial"]
    if row.get("trial_end") not in (None, "now"):
        fields["trial_end"] = row["trial_end"]
    extras = []
    for place, each in enumerate(row.get("add_invoice_items") or []):
        if each.get("price") is None:
            raise required_parameter(f"{name}[add_invoice_items][{place}][price]")
        terms.fits(world, each["price"], currency, f"{name}[add_invoice_items][{place}][price]")
        extras.append(
            {
                "discountable": None, "discounts": _discounts(world, each, f"{name}[add_invoice_items]"),
                "metadata": merged({}, each.get("metadata", {})), "price": each["price"]["id"],
                "quantity": each.get("quantity", 1), "tax_rates": each.get("tax_rates", []),
                "period": {"start": {"type": "phase_start"}, "end": {"type": "min_item_period_end"}},
            }
        )  # fmt: skip
    return schedules.phase_of(
        items=[_item(world, item, each, name) for item, each in zip(items, row["items"], strict=True)],
        start_date=begin, end_date=_end(world, row, items, begin, name), currency=currency,
        discounts=_discounts(world, row, name), metadata=merged({}, row.get("metadata", {})),
        add_invoice_items=extras, **fields,
    )  # fmt: skip


def _item(world: World, item: Any, row: Params, name: str) -> Object:
    return {
        "billing_thresholds": None, "discounts": _discounts(world, row, f"{name}[items]"),
        "metadata": item.fields.get("metadata", {}), "plan": item.price["id"], "price": item.price["id"],
        "tax_rates": item.fields.get("tax_rates", []),
        **({} if item.quantity is None else {"quantity": item.quantity}),
    }  # fmt: skip


def _discounts(world: World, row: Params, name: str) -> list[Object]:
    terms.redeemed(world, row.get("discounts"), f"{name}[discounts]")
    return [
        {kind: each[kind]["id"] if each.get(kind) else None for kind in ("coupon", "discount", "promotion_code")}
        for each in row.get("discounts") or []
    ]


def _end(world: World, row: Params, items: list[Any], begin: int, name: str) -> int:
    """When a phase ends: as it says, or after one period of its first price."""
    end, duration = row.get("end_date"), row.get("duration")
    if end is not None and duration is not None:
        raise invalid_parameter(f"{name}[end_date]", "You may only specify one of: duration, end_date.")
    if end == "now":
        end = world.now
    if end is None:
        recurring = duration or items[0].price["recurring"]
        count = min(recurring.get("interval_count", 1), _LONGEST)
        end = after(begin, recurring["interval"], count, begin)
    if not begin < end <= terms.LATEST:
        raise invalid_parameter(f"{name}[end_date]", "A phase must end after it begins, before 2100.")
    return int(end)
