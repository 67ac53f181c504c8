"""What a change in the middle of a period costs: a credit for the time not used, a debit for the time that remains.

Rules: https://docs.stripe.com/billing/subscriptions/prorations (to the second, of the discounted amount) and
https://docs.stripe.com/billing/subscriptions/billing-mode (a credit is a share of what was debited, not of the price).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from dagster_project.simulator.engine.discounts import coupon_of, take_off
from dagster_project.simulator.engine.lines import invoice_item_of
from dagster_project.simulator.engine.pricing import amount_of, pricing, product_name, unit_amount
from dagster_project.simulator.engine.subscriptions import full_period
from dagster_project.simulator.engine.wording import counted
from dagster_project.simulator.engine.world import Object, World

_INVOICES_LOOKED_AT = 20


def share(amount: int, part: int, whole: int) -> int:
    """`amount * part / whole` in minor units, rounded half away from zero."""
    doubled = 2 * abs(amount) * part
    rounded = (doubled + whole) // (2 * whole)
    return rounded if amount >= 0 else -rounded


def credit_unused(world: World, sub: Object, item: Object, at: int, until: int | None = None) -> Object | None:
    """Give back what was debited for an item from `at` to the end of its period; waits for the next invoice.

    Nothing is given back for metered items, for what was free and for what was never debited.
    """
    until = item["current_period_end"] if until is None else until
    if _metered(item) or sub["status"] == "trialing" or at >= until:
        return None
    debit = _debited(world, sub, item, at)
    if debit is None:
        return None
    amount = -share(debit["amount"], until - at, debit["end"] - debit["start"])
    return _wait(
        world, sub, item, amount, at, until, f"Unused time on {_named(world, sub, item)} after {_day(at)}",
        debit["credited"], [],
    )  # fmt: skip


def debit_remaining(world: World, sub: Object, item: Object, at: int, until: int | None = None) -> Object | None:
    """Charge for an item from `at` to the end of its period; waits for the next invoice."""
    until = item["current_period_end"] if until is None else until
    if _metered(item) or sub["status"] == "trialing" or at >= until:
        return None
    start, end = full_period(sub, item["price"], at)
    net, parts = net_amount(world, sub, item)
    amount = share(net, until - at, end - start)
    taken = [part | {"amount": share(part["amount"], until - at, end - start)} for part in parts]
    return _wait(
        world, sub, item, amount, at, until, f"Remaining time on {_named(world, sub, item)} after {_day(at)}", None,
        taken,
    )  # fmt: skip


def charge_usage(world: World, sub: Object, line: Object) -> Object:
    """Let the usage line of a metered item that goes away wait for the next invoice."""
    item = next(item for item in sub["items"]["data"] if item["id"] == _subscription_item(line))
    start, end = line["period"]["start"], line["period"]["end"]
    return _wait(world, sub, item, line["amount"], start, end, line["description"], None, [], line["quantity"], False)


def net_amount(world: World, sub: Object, item: Object) -> tuple[int, list[Object]]:
    """(what a whole period of an item costs after discounts, in minor units; what each discount takes off).

    A coupon that works once is left for the invoice that it was given for.
    """
    lines = [
        {
            "amount": amount_of(world, each["price"], each.get("quantity"), sub["currency"]), "discountable": True,
            "discounts": _lasting(world, each["discounts"]), "discount_amounts": [],
            "pricing": pricing(each["price"]), "item": each["id"],
        }
        for each in sub["items"]["data"]
        if not _metered(each)
    ]  # fmt: skip
    discounts = sub["discounts"]
    if not discounts and not any(line["discounts"] for line in lines):
        whole = world.store.get(sub["customer"], "customer") or {}
        discounts = [whole["discount"]["id"]] if whole.get("discount") else []
    if discounts or any(line["discounts"] for line in lines):
        take_off(world, {"discounts": _lasting(world, discounts), "currency": sub["currency"]}, lines)
    line = next(line for line in lines if line["item"] == item["id"])
    return line["amount"] - sum(part["amount"] for part in line["discount_amounts"]), line["discount_amounts"]


def partial(world: World, sub: Object, lines: list[Object]) -> list[Object]:
    """Lines of periods that are shorter than their price's, such as the first one before the anchor, cost less."""
    for line in lines:
        id = _subscription_item(line)
        item = next((item for item in sub["items"]["data"] if item["id"] == id), None)
        start, end = line["period"]["start"], line["period"]["end"]
        if item is None or _metered(item) or not line["amount"]:
            continue
        first, last = full_period(sub, item["price"], start)
        if (start, end) != (first, last):
            line["amount"] = line["subtotal"] = share(line["amount"], end - start, last - first)
            line["parent"]["subscription_item_details"]["proration"] = True
    return lines


def _lasting(world: World, discounts: list[str]) -> list[str]:
    return [id for id in discounts if (coupon_of(world, id) or {}).get("duration") != "once"]


def _metered(item: Object) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "metered")


def _named(world: World, sub: Object, item: Object) -> str:
    return counted(item.get("quantity"), product_name(world, item["price"]))


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%d %b %Y}"


def _wait(
    world: World, sub: Object, item: Object, amount: int, start: int, end: int, description: str,
    credited: Object | None, discounted: list[Object], quantity: int | None = None, proration: bool = True,
) -> Object:  # fmt: skip
    quantity = item.get("quantity", 0) if quantity is None else quantity
    made = world.add(
        "invoiceitem", "ii", amount=amount, currency=sub["currency"], customer=sub["customer"], date=world.now,
        description=description, discountable=False, discounts=[], metadata={}, net_amount=amount,
        parent={
            "subscription_details": {"subscription": sub["id"], "subscription_item": item["id"]},
            "type": "subscription_details",
        },
        period={"start": start, "end": end}, proration=proration, quantity=quantity, quantity_decimal=str(quantity),
        pricing=pricing(item["price"], unit_amount(world, item["price"], sub["currency"])),
        tax_rates=[*(item["tax_rates"] or [])],
    )  # fmt: skip
    if proration:
        made["proration_details"] = {"credited_items": credited, "discount_amounts": discounted}
    world.emit("invoiceitem.created", made)
    world.meta.setdefault("waiting", {}).setdefault(sub["id"], []).append(made["id"])
    return made


# ---- what was debited ------------------------------------------------------------------------------------------
def _debited(world: World, sub: Object, item: Object, at: int) -> Object | None:
    """The last debit of an item for a time that holds `at`: its net amount, its period, and what it is called.

    Of several the one that begins last: those before it were given back when it was made.
    """
    waiting = [world.the(id, "invoiceitem") for id in world.meta.get("waiting", {}).get(sub["id"], [])]
    found = _last(at, [made for made in waiting if _is_debit(made, item)])
    if found:
        return _debit(found, found["amount"], {"type": "invoice_item", "invoice_item": found["id"]})
    for invoice in _invoices(world, sub):
        found = _last(at, [line for line in _lines(world, invoice) if _debits(world, line, item)])
        if found:
            net = found["amount"] - sum(part["amount"] for part in found["discount_amounts"])
            named = {"invoice": invoice["id"], "invoice_line_items": [found["id"]]}
            return _debit(found, net, {"type": "invoice_line_items", "invoice_line_item_details": named})
    return None


def _last(at: int, debits: list[Any]) -> Any:
    """The debit that begins last, and of those the one made last, among those that hold an instant."""
    held = [each for each in debits if each["period"]["start"] <= at < each["period"]["end"]]
    return max(reversed(held), key=lambda each: each["period"]["start"], default=None)


def _debit(found: Object, amount: int, credited: Object) -> Object:
    period = found["period"]
    return {"amount": amount, "start": period["start"], "end": period["end"], "credited": credited}


def _invoices(world: World, sub: Object) -> Iterator[Object]:
    """The invoices of a subscription, newest first, that were not voided; mostly the first of them is enough."""
    latest = world.store.get(sub["latest_invoice"] or "", "invoice")
    if latest and latest["status"] != "void":
        yield latest
    where = {"customer": sub["customer"], "subscription": sub["id"], "not status": "void"}
    for body in world.store.page("invoice", where=where, limit=_INVOICES_LOOKED_AT)[0]:
        invoice = msgspec.json.decode(body)
        if invoice["id"] != sub["latest_invoice"]:
            yield invoice


def _lines(world: World, invoice: Object) -> list[Any]:
    if not invoice["lines"]["has_more"]:
        return list(invoice["lines"]["data"])
    rows = world.store.page("line_item", parent=invoice["id"], limit=1_000)[0]
    return [msgspec.json.decode(row) for row in reversed(rows)]


def _debits(world: World, line: Object, item: Object) -> bool:
    id = invoice_item_of(line)
    if id is None:
        return _subscription_item(line) == item["id"]
    made = world.store.get(id, "invoiceitem")
    return made is not None and _is_debit(made, item)


def _is_debit(made: Object, item: Object) -> bool:
    parent = made["parent"]
    of = parent["subscription_details"].get("subscription_item") if parent else None
    credit = (made.get("proration_details") or {}).get("credited_items") is not None
    return bool(of == item["id"] and made["proration"] and not credit)


def _subscription_item(line: Object) -> str | None:
    details = line["parent"]["subscription_item_details"]
    return details["subscription_item"] if details else None
